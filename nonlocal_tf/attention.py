"""A weighted sum over all positions whose weights are never held at once."""

import tensorflow as tf

from nonlocal_tf.layers import sizes

tf1 = tf.compat.v1

# Of the affinity of the queries that are taken at a time: about what a
# processor's caches hold.
CHUNK_BYTES = 16 * 2 ** 20


def attend(scores, softmax, queries, keys, values):
    """sum_j a_ij v_j, from the whole matrix a.

    Args:
      scores: from queries [B, n, A] and keys [B, M, A] to [B, n, M], each row
        from its own query alone, without variables.
      softmax: whether a is the scores' softmax over the keys, in float32;
        else the scores themselves.
      queries: [B, N, A].
      keys: [B, M, A].
      values: [B, M, K].
    Returns:
      y [B, N, K] and a [B, N, M], in the type of the values.
    """
    affinity = _affinity(scores(queries, keys), softmax)
    affinity = tf.cast(affinity, values.dtype)
    return tf.matmul(affinity, values), affinity


def attend_in_chunks(scores, softmax, queries, keys, values,
                     chunk_bytes=None):
    """`attend`, exactly, with memory that is linear in N.

    Some queries at a time have their rows of the matrix, and so has the
    gradient, which computes them once more. It is no approximation: a row
    needs all keys and no other row. Gradients of the gradient are not to be
    had.

    Args:
      scores, softmax, queries, keys, values: see `attend`.
      chunk_bytes: at most that many for the float32 rows at a time, by
        default `CHUNK_BYTES`; one query of every sample is the least.
    Returns:
      y [B, N, K].
    """
    @tf.custom_gradient
    def compute(queries, keys, values):
        rows = _Rows(queries, keys, chunk_bytes or CHUNK_BYTES)
        padded = rows.pad(queries)

        def step(index, chunks):
            y, _ = attend(
                scores, softmax, rows.take(padded, index), keys, values)
            return index + 1, chunks.write(index, y)

        _, chunks = _loop(rows.count, step, [_array(rows.count, values)])
        y = rows.join(chunks, values)

        def gradient(dy):
            padded_dy, padded_y = rows.pad(dy), rows.pad(y)

            def back(index, chunks, dkeys, dvalues):
                part, dy_part, y_part = [rows.take(x, index) for x in (
                    padded, padded_dy, padded_y)]
                dq, dk, dv = _gradients(
                    scores, softmax, part, keys, values, y_part, dy_part)
                return (index + 1, chunks.write(index, dq),
                        dkeys + tf.cast(dk, tf.float32),
                        dvalues + tf.cast(dv, tf.float32))

            # Sums over many chunks: in float32 whatever the type.
            start = [_array(rows.count, queries)] + [
                tf.zeros_like(x, tf.float32) for x in (keys, values)]
            _, chunks, dkeys, dvalues = _loop(rows.count, back, start)
            return (rows.join(chunks, queries), tf.cast(dkeys, keys.dtype),
                    tf.cast(dvalues, values.dtype))

        return y, gradient

    return compute(queries, keys, values)


def _affinity(scores, softmax):
    return tf.nn.softmax(tf.cast(scores, tf.float32)) if softmax else scores


def _gradients(scores, softmax, queries, keys, values, y, dy):
    """Of `attend` for some queries, from y and its gradient."""
    with tf.GradientTape() as tape:
        tape.watch([queries, keys])
        found = scores(queries, keys)                       # [B, n, M]
    affinity = _affinity(found, softmax)
    dfound = tf.matmul(dy, values, transpose_b=True)        # [B, n, M]
    if softmax:
        dfound = _softmax_gradient(affinity, dfound, y, dy)
    dqueries, dkeys = tape.gradient(
        found, [queries, keys], tf.cast(dfound, found.dtype))
    affinity = tf.cast(affinity, dy.dtype)
    return dqueries, dkeys, tf.matmul(affinity, dy, transpose_a=True)


def _softmax_gradient(affinity, daffinity, y, dy):
    """a (da - sum_j a da), in float32.

    The sum is y . dy, over K numbers in place of M (arXiv:2205.14135, App.
    B.2); not in lower precisions, where y is rounded apart from a and da, and
    what should cancel does not.
    """
    if y.dtype == tf.float32:
        mean = tf.reduce_sum(y * dy, 2, keepdims=True)
    else:
        daffinity = tf.cast(daffinity, tf.float32)
        mean = tf.reduce_sum(affinity * daffinity, 2, keepdims=True)
    return affinity * (daffinity - mean)


class _Rows:
    """N queries in chunks of equal length, zeros at the end of the last."""

    def __init__(self, queries, keys, chunk_bytes):
        self._batch, self._length = sizes(queries)[:2]
        at_most = _larger(
            chunk_bytes // (4 * self._batch * sizes(keys)[1]), 1)
        self.count = -(-self._length // at_most)
        self._rows = -(-self._length // self.count)

    def pad(self, x):
        """x [B, N, A] with the zeros that the last chunk needs."""
        rest = self._rows * self.count - self._length
        if isinstance(rest, int) and not rest:
            return x
        return tf.pad(x, [[0, 0], [0, rest], [0, 0]])

    def take(self, padded, index):
        """Chunk `index` of what `pad` returned: [B, rows, A]."""
        width = padded.shape.as_list()[-1]
        chunk = tf.slice(padded, tf.stack([0, index * self._rows, 0]),
                         tf.stack([self._batch, self._rows, width]))
        chunk.set_shape([None, None, width])
        return chunk

    def join(self, chunks, like):
        """Chunks of [B, rows, A] to [B, N, A], A as in `like`."""
        x = tf.transpose(chunks.stack(), [1, 0, 2, 3])  # [B, count, rows, A]
        x = tf.reshape(x, [self._batch, self.count * self._rows,
                           like.shape.as_list()[-1]])
        return x[:, :self._length]


def _loop(count, body, start):
    """The loop variables after `count` passes, index first, one at a time."""
    return tf1.while_loop(
        lambda index, *rest: index < count, body,
        [tf.constant(0)] + start, parallel_iterations=1, back_prop=False)


def _array(count, like):
    return tf.TensorArray(like.dtype, count, infer_shape=False)


def _larger(a, b):
    static = isinstance(a, int) and isinstance(b, int)
    return max(a, b) if static else tf.maximum(a, b)
