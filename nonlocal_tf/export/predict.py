"""What a frozen graph answers, as it is and rounded to fp16."""

import concurrent.futures
import contextlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf.data import batches
from nonlocal_tf.export import graphdef, interface

tf1 = tf.compat.v1

_FLOAT = tf.float32.as_datatype_enum
IMAGES = 32                     # of a batch, where the graph leaves it open


class Comparison(NamedTuple):
    """A live network and its file on the same samples."""

    difference: float                   # largest, of a logit
    largest: float                      # largest logit of the live network
    classes: np.ndarray                 # int [N], by the file
    flips: int                          # classes that differ


def logits_name(graph_def, output):
    """The tensor whose largest entry is the class: what an ArgMax reads."""
    node = graphdef.by_name(graph_def)[output]
    return node.input[0] if node.op == "ArgMax" else output


def cpu_session():
    """A session that runs the default graph as it is, and leaves a GPU alone.

    A GPU may compute in TF32, and another process may be training on it.
    Rewriting a graph of 150 MB takes longer than what runs here.
    """
    config = tf1.ConfigProto(device_count={"GPU": 0})
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf1.Session(config=config)


@contextlib.contextmanager
def interruptible():
    """Yields `run` of a `cpu_session`.

    Python acts on a signal between its own steps: a graph that waits for ever
    is run in a thread, and closing its session ends it.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread, \
            cpu_session() as session:
        yield lambda fetches, feed: thread.submit(
            session.run, fetches, feed).result()


def predict(graph_def, feeds, fetches):
    """Runs a frozen graph on batches.

    Args:
      graph_def: a GraphDef.
      feeds: yields {tensor name: array}, a batch each.
      fetches: tensor names.
    Yields:
      The list of fetched arrays of each batch.
    """
    with tf.Graph().as_default(), cpu_session() as session:
        graphdef.load(graph_def, "the frozen graph")
        names = [name if ":" in name else name + ":0" for name in fetches]
        for feed in feeds:
            yield session.run(names, feed)


def batches_of(samples, face):
    """Batches for the input.

    Args:
      samples: uint8 [N, S, S, 1] of digits; of clips [N * views, T, S, S, 3].
      face: an `interface.Interface`.
    Yields:
      An array of its shape, and how many answers to it count.
    """
    for batch, _, valid in batches.test_batches(
            samples, np.zeros(len(samples), np.int32),
            face.shape[0] or IMAGES):
        yield interface.prepared(batch, face), valid // face.views


def answers(graph_def, samples, face, feed=lambda batch: batch):
    """Logits [N, classes] and the classes [N] of a frozen graph of ours."""
    return joined(predict(
        graph_def, ({face.name + ":0": feed(batch)}
                    for batch, _ in batches_of(samples, face)),
        [logits_name(graph_def, face.output), face.output]),
                  len(samples) // face.views)


def joined(results, count):
    """Pairs of logits and classes, or of logits twice, of batches.

    Returns:
      Logits [count, classes] and the classes; the rest fills up.
    """
    logits, classes = (np.concatenate(each)[:count] for each in zip(*results))
    return logits, classes if classes.ndim == 1 else classes.argmax(axis=1)


def compare(found, live):
    """A `Comparison` of a file's `answers` with the live network's logits."""
    logits, classes = found
    return Comparison(
        float(np.abs(logits - live).max()), float(np.abs(live).max()), classes,
        int(np.sum(classes != live.argmax(axis=1))))


def rounded_to_fp16(graph_def):
    """A graph that computes in float32 on values that fp16 can hold.

    Every float32 constant and every float32 result is rounded to the nearest
    fp16 value: what an fp16 unit that adds up in float32 would read and write.
    The four parameters of a batch norm stay float32, as its operation has
    them.

    Args:
      graph_def: a frozen GraphDef.
    Returns:
      A new GraphDef with the same node names.
    """
    parameters = {
        graphdef.source(name) for node in graph_def.node
        if node.op in graphdef.BATCH_NORMS for name in node.input[1:]}
    rounded = tf1.GraphDef(versions=graph_def.versions)
    for node in graph_def.node:
        kind = graphdef.result_type(node)
        copy = rounded.node.add()
        copy.CopyFrom(node)
        if kind != _FLOAT or node.name in parameters:
            continue
        if node.op == "Const":
            with np.errstate(over="ignore"):        # becomes infinite
                half = graphdef.array_of(node).astype(np.float16)
            copy.CopyFrom(graphdef.const_node(
                node.name, half.astype(np.float32)))
        else:
            _round_results(rounded, copy)
    return rounded


def _round_results(graph_def, node):
    """Puts casts to fp16 and back behind each result that is read."""
    count = node.attr["num_split"].i if (
        node.op in ("Split", "SplitV")) else 1
    name = node.name
    node.name = name + "/float32"
    for index in range(count):
        half = graph_def.node.add(
            op="Cast", name="{}/half_{}".format(name, index),
            input=["{}:{}".format(node.name, index)])
        _set_cast(half, tf.float32, tf.float16)
        back = graph_def.node.add(
            op="Cast", input=[half.name],
            name=name if count == 1 else "{}/back_{}".format(name, index))
        _set_cast(back, tf.float16, tf.float32)
    if count > 1:                                   # name:k for its readers
        joint = graph_def.node.add(
            op="IdentityN", name=name,
            input=["{}/back_{}".format(name, index) for index in range(count)])
        joint.attr["T"].list.type.extend(
            [tf.float32.as_datatype_enum] * count)


def _set_cast(node, source, target):
    node.attr["SrcT"].type = source.as_datatype_enum
    node.attr["DstT"].type = target.as_datatype_enum
