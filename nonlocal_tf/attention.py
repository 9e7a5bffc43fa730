"""A weighted sum over all positions whose weights are never held at once."""

import tensorflow as tf

from nonlocal_tf.layers import sizes

tf1 = tf.compat.v1

# Of the affinity of the queries that are taken at a time: about what a
# processor's caches hold.
CHUNK_BYTES = 16 * 2 ** 20


def attend(affinity, queries, keys, values):
    """sum_j affinity(q, k)_ij v_j, from the whole matrix.

    Args:
      affinity: from queries [B, n, A] and keys [B, M, A] to [B, n, M], each
        row from its own query alone, without variables.
      queries: [B, N, A].
      keys: [B, M, A].
      values: [B, M, K].
    Returns:
      y [B, N, K] and the matrix [B, N, M].
    """
    matrix = affinity(queries, keys)
    return tf.matmul(matrix, values), matrix


def attend_in_chunks(affinity, queries, keys, values, chunk_bytes=None):
    """`attend`, exactly, with memory that is linear in N.

    Some queries at a time have their rows of the matrix, and so has the
    gradient, which computes them once more. It is no approximation: a row
    needs all keys and no other row. Gradients of the gradient are not to be
    had.

    Args:
      affinity, queries, keys, values: see `attend`.
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
            matrix = affinity(rows.take(padded, index), keys)
            return index + 1, chunks.write(index, tf.matmul(matrix, values))

        _, chunks = _loop(rows.count, step, [_array(rows.count, values)])

        def gradient(dy):
            dy = rows.pad(dy)

            def back(index, chunks, dkeys, dvalues):
                dq, dk, dv = _gradients(
                    affinity, rows.take(padded, index), keys, values,
                    rows.take(dy, index))
                return (index + 1, chunks.write(index, dq), dkeys + dk,
                        dvalues + dv)

            start = [_array(rows.count, queries), tf.zeros_like(keys),
                     tf.zeros_like(values)]
            _, chunks, dkeys, dvalues = _loop(rows.count, back, start)
            return rows.join(chunks, queries), dkeys, dvalues

        return rows.join(chunks, values), gradient

    return compute(queries, keys, values)


def _gradients(affinity, queries, keys, values, dy):
    """Of `attend` for some queries, from the gradient of their y."""
    with tf.GradientTape() as tape:
        tape.watch([queries, keys])
        matrix = affinity(queries, keys)                    # [B, n, M]
    dmatrix = tf.matmul(dy, values, transpose_b=True)       # [B, n, M]
    dqueries, dkeys = tape.gradient(matrix, [queries, keys], dmatrix)
    return dqueries, dkeys, tf.matmul(matrix, dy, transpose_a=True)


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
