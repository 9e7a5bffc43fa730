"""Whether the blocks attend: four numbers of each, from a few images.

A softmax that picks one key whatever the query, or weighs all keys alike,
makes a block that is right by its formula and of no use.
"""

import math

import numpy as np
import tensorflow as tf

SAMPLES = 8                     # images that are enough
FP16_LARGEST = 65504.0
_LEAST_ENTROPY = 0.01           # a block below either of these is dead
_LEAST_QUERY_DEPENDENCE = 0.1
_BYTES = 64 * 2 ** 20           # of a block's affinity here
_MEASURES = ("entropy", "largest_weight", "query_dependence", "largest_score")


def measure(watched):
    """Operations that measure blocks, on the first `SAMPLES` of a batch.

    Of the weights a_ij by which query i takes key j, of N and M:
    entropy, -sum_j p log p / log M with p = |a_ij| / sum_j |a_ij|, which is
    the affinity itself where there is a softmax, as a mean over queries; the
    largest p, as a mean over queries; query dependence, 1 less the share of
    an image's queries whose strongest key is the commonest one; and the
    largest |score|. Entropy and query dependence are not finite where there is
    one query or one key. A row without any weight has entropy 0. Of a map
    whose affinity would take more than 64 MiB, evenly spaced queries.

    Args:
      watched: what blocks appended to `watch`; see `NonLocalBlock`.
    Returns:
      float32 [blocks, images, 4].
    """
    return tf.stack([_of_block(*each) for each in watched]) if watched else (
        tf.zeros([0, SAMPLES, len(_MEASURES)]))


def _of_block(block, queries, keys):
    n, m = queries.shape.as_list()[1], keys.shape.as_list()[1]
    stride = -(-4 * SAMPLES * n * m // _BYTES)
    while math.gcd(stride, n) > 1:              # else of some columns alone
        stride += 1
    scores, affinity = block.compare(
        queries[:SAMPLES, ::stride], keys[:SAMPLES])        # [B, n, M]
    weights = tf.abs(affinity)
    shares = tf.math.divide_no_nan(
        weights, tf.reduce_sum(weights, 2, keepdims=True))
    entropy = -tf.reduce_sum(
        shares * tf.math.log(tf.maximum(shares, 1e-30)), 2)
    counts = tf.reduce_sum(tf.one_hot(tf.argmax(shares, 2), m), 1)  # [B, M]
    commonest = tf.reduce_max(counts, 1) / tf.reduce_sum(counts, 1)
    defined = 1.0 if min(n, m) > 1 else math.nan
    return tf.stack([
        defined * tf.reduce_mean(entropy, 1) / math.log(max(m, 2)),
        tf.reduce_mean(tf.reduce_max(shares, 2), 1),
        defined * (1.0 - commonest),
        tf.reduce_max(tf.abs(scores), [1, 2])], 1)


def summary(names, measured):
    """What metrics.jsonl holds of each block.

    Args:
      names: of the blocks; see `architecture.block_names`.
      measured: [blocks, images, 4], by `measure`.
    Returns:
      A list of dicts: block, entropy, largest_weight and query_dependence as
      means over the images, largest_score; None for what is not finite.
    """
    rows = []
    for name, values in zip(names, np.asarray(measured, np.float64)):
        found = np.append(values[:, :3].mean(0), values[:, 3].max())
        rows.append(dict({"block": name}, **{
            key: float(value) if math.isfinite(value) else None
            for key, value in zip(_MEASURES, found)}))
    return rows


def table(rows, samples, instantiation):
    """Lines for the console; none without blocks."""
    if not rows:
        return []
    lines = ["Attention in {} (entropy{}: 0 one key, 1 all keys alike):"
             .format(samples, "" if "gaussian" in instantiation
                     else " of |affinity| as shares"),
             "  block    entropy  largest weight  query dependence  "
             "largest score"]
    for row in rows:
        lines.append("  {:8} {:>7}  {:>14}  {:>16}  {:>13}".format(
            row["block"], *["-" if row[key] is None else form.format(row[key])
                            for key, form in zip(
                                _MEASURES, ["{:.3f}"] * 3 + ["{:.4g}"])]))
    return lines


def warnings(rows, instantiation, block):
    """One line for the blocks that are dead, one for scores beyond fp16.

    ReLU(a_i + b_j) is largest at the same key for every query, so that a
    concatenation is judged by its entropy alone.
    """
    least = 0.0 if instantiation == "concatenation" else (
        _LEAST_QUERY_DEPENDENCE)
    dead = [row["block"] for row in rows if row["entropy"] is not None and (
        row["entropy"] < _LEAST_ENTROPY or row["query_dependence"] < least)]
    large = [row["block"] for row in rows if row["largest_score"] is None
             or row["largest_score"] > FP16_LARGEST]
    remedy = "Lower --learning_rate." if block == "pre_norm_cosine" else (
        "Train with --block pre_norm_cosine or a lower --learning_rate.")
    lines = []
    if dead:
        lines.append(
            "WARNING: attention is dead in {} (entropy below {} or query "
            "dependence below {}): queries take one key each, or all "
            "the same one. {}".format(", ".join(
                dead), _LEAST_ENTROPY, _LEAST_QUERY_DEPENDENCE, remedy))
    if large:
        lines.append(
            "WARNING: scores are beyond fp16's {:.0f} in {}: where they are "
            "computed in fp16, as by allow_mix_precision, they overflow. {}"
            .format(FP16_LARGEST, ", ".join(large), remedy))
    return lines
