"""The non-local block of Wang et al., CVPR 2018 (arXiv:1711.07971)."""

import tensorflow as tf

from nonlocal_tf.architecture import INSTANTIATIONS
from nonlocal_tf.attention import attend, attend_in_chunks
from nonlocal_tf.layers import MOMENTUM, BatchNorm, Conv, conv2d, sizes

# Start of theta, phi and g in the authors' released code. He's would make the
# scores of a ResNet's large activations so wide that the softmax is one-hot.
EMBEDDING_STDDEV = 0.01


class NonLocalBlock(tf.Module):
    """Adds to each position a weighted sum over all positions.

    z_i = W_z y_i + x_i,  y_i = 1/C(x) sum_j f(x_i, x_j) g(x_j)  (Eq. 1, 6),
    with f by `instantiation` (Sec. 3.2), M the number of keys j:

      gaussian           exp(x_i . x_j)                 C = sum_j f   (Eq. 2)
      embedded_gaussian  exp(theta_i . phi_j)           C = sum_j f   (Eq. 3)
      dot_product        theta_i . phi_j                C = M         (Eq. 4)
      concatenation      ReLU(w_f . [theta_i, phi_j])   C = M         (Eq. 5)

    theta, phi, g and out (W_z) are 1x1 convolutions with bias. Batch norm
    follows `out`; its gamma starts at 0, so that z equals x (Sec. 4.1).

    Args:
      channels: C of the input.
      inner_channels: K, width of theta, phi and g; C // 2 by default.
      instantiation: one of `INSTANTIATIONS`.
      sub_sample: max-pool phi (x itself for `gaussian`) and g by 2 in H and
        W, or in T for [B, T, C] (Sec. 3.3). An odd rest is a smaller window.
      scale: multiply the scores by 1/sqrt(width of the compared vectors):
        K, and C for `gaussian`. Not in the paper.
      fused: read x once, by one convolution with the kernels of theta, phi
        and g side by side; False makes three.
      momentum: of the batch norm; see `layers.BatchNorm`.
      affinity_limit: bytes. Where the float32 affinity [B, N, M] would take
        more, or sizes are unknown, it is computed for some queries at a time,
        and once more for the gradient: exact, in memory that is linear in N.
        None: always the whole matrix.
    Raises:
      ValueError: `instantiation` is none of the four, or a width is not
        positive.
    """

    def __init__(self, channels, inner_channels=None,
                 instantiation="embedded_gaussian", sub_sample=False,
                 scale=False, fused=True, momentum=MOMENTUM,
                 affinity_limit=None, name="non_local"):
        super().__init__(name=name)
        if instantiation not in INSTANTIATIONS:
            raise ValueError("instantiation must be one of {}, not {!r}".format(
                ", ".join(INSTANTIATIONS), instantiation))
        if inner_channels is None:
            inner_channels = max(1, channels // 2)
        if channels < 1 or inner_channels < 1:
            raise ValueError(
                "channels and inner_channels must be positive, not {} and {}"
                .format(channels, inner_channels))
        self.channels = channels
        self.inner_channels = inner_channels
        self.instantiation = instantiation
        self.sub_sample = sub_sample
        self.scale = scale
        self.fused = fused
        self.affinity_limit = affinity_limit
        with self.name_scope:
            self._make_parts(momentum)

    def _make_parts(self, momentum):
        inner, form = self.inner_channels, self.instantiation

        def embedding(name):
            return Conv(self.channels, inner, bias=True,
                        stddev=EMBEDDING_STDDEV, name=name)

        self.g = embedding("g")
        if form != "gaussian":
            self.theta = embedding("theta")
            self.phi = embedding("phi")
        if form == "concatenation":
            # w_f in two halves: w_f . [theta_i, phi_j] is a sum of two terms.
            stddev = (2 * inner) ** -0.5
            self.theta_score = Conv(inner, 1, stddev=stddev, name="theta_score")
            self.phi_score = Conv(inner, 1, stddev=stddev, name="phi_score")
        self.out = Conv(inner, self.channels, bias=True, name="out")
        self.norm = BatchNorm(self.channels, zero_gamma=True,
                              momentum=momentum, name="norm")

    def __call__(self, x, *, is_training, return_affinity=False):
        """Applies the block.

        Args:
          x: [B, T, C], [B, H, W, C] or [B, T, H, W, C]; any size but C may be
            unknown. float32; or bfloat16 or float16, in which all but the
            softmax, the mean over keys and batch norm's statistics is
            computed then.
          is_training: whether batch norm uses the batch's statistics.
          return_affinity: also return f / C(x).
        Returns:
          z, of x's shape; with `return_affinity` the pair of z and the
          affinity [B, N, M], whose queries N and keys M run over T, H, W in
          row-major order.
        Raises:
          ValueError: the rank is not 3, 4 or 5, or C is another.
        """
        rank = x.shape.rank
        if rank not in (3, 4, 5) or x.shape.as_list()[-1] != self.channels:
            raise ValueError(
                "x must be [B, T, C], [B, H, W, C] or [B, T, H, W, C] with "
                "C = {}, not {}".format(self.channels, x.shape))
        with self.name_scope:
            images, frames = _as_images(x)
            queries, keys, values = self._embed(images)
            y, affinity = self._attend(
                _tokens(queries, frames), _tokens(keys, frames),
                _tokens(values, frames), return_affinity)
            y = tf.reshape(y, [-1] + sizes(images)[1:3]
                           + [self.inner_channels])
            z = self.norm(self.out(y), is_training=is_training)
            z = x + tf.reshape(z, _inferred(sizes(x)))
            return (z, affinity) if return_affinity else z

    def _embed(self, images):
        """Images of the queries, keys and values: theta, phi (or x), g."""
        if self.instantiation == "gaussian":
            queries, keys, values = images, images, self.g(images)
        elif self.fused:
            parts = [self.theta, self.phi, self.g]
            joint = conv2d(images, tf.concat([p.kernel for p in parts], 3),
                           tf.concat([p.bias for p in parts], 0))
            queries, keys, values = tf.split(joint, 3, axis=3)
        else:
            queries, keys, values = (
                self.theta(images), self.phi(images), self.g(images))
        if self.sub_sample:
            keys, values = [
                tf.nn.max_pool2d(part, 2, 2, "SAME") for part in (keys, values)]
        return queries, keys, values

    def _attend(self, queries, keys, values, need_affinity):
        """y [B, N, K] and, where it was computed, the affinity [B, N, M]."""
        if self.instantiation == "dot_product":
            keys = _over_their_number(keys)
            if not need_affinity and _linear_is_cheaper(queries, keys):
                context = tf.matmul(keys, values, transpose_a=True)  # [B, K, K]
                return tf.matmul(self._scaled(queries), context), None
        if self.instantiation == "concatenation":
            queries = self.theta_score(tf.expand_dims(queries, 2))
            keys = self.phi_score(tf.expand_dims(keys, 2))  # [B, M, 1, 1]
            queries, keys = tf.squeeze(queries, 3), tf.squeeze(keys, 3)
        parts = (self._scores, self._has_softmax(), queries, keys, values)
        if need_affinity or not self._is_too_large(queries, keys):
            return attend(*parts)
        return attend_in_chunks(*parts), None

    def _scores(self, queries, keys):
        """f / C(x) [B, N, M], before the softmax where there is one."""
        if self.instantiation == "concatenation":
            scores = tf.nn.relu(
                queries + tf.transpose(keys, [0, 2, 1]))    # Eq. 5
            if self.scale:
                scores *= self.inner_channels ** -0.5
            return _over_their_number(scores, axis=2)
        if self.instantiation == "gaussian" or (
                queries.dtype == tf.float16 and self._has_softmax()):
            # x . x is large, and 8 bits of it are no exponent; a product may
            # also be beyond float16's 65504.
            queries, keys = [tf.cast(x, tf.float32) for x in (queries, keys)]
        return tf.matmul(self._scaled(queries), keys, transpose_b=True)

    def _has_softmax(self):
        return "gaussian" in self.instantiation

    def _scaled(self, queries):
        width = queries.shape.as_list()[-1]
        return queries * width ** -0.5 if self.scale else queries

    def _is_too_large(self, queries, keys):
        """Whether the affinity exceeds its limit, or may do so."""
        if self.affinity_limit is None:
            return False
        batch, n = queries.shape.as_list()[:2]
        m = keys.shape.as_list()[1]
        return None in (batch, n, m) or (
            4 * batch * n * m > self.affinity_limit)


def _over_their_number(x, axis=1):
    """x over the number of keys, which lie along `axis`, in float32."""
    count = tf.cast(sizes(x)[axis], tf.float32)             # M
    return tf.cast(tf.cast(x, tf.float32) / count, x.dtype)


def _inferred(sizes):
    """`sizes` with -1 for the first: no Shape operation for a batch alone."""
    return [-1] + sizes[1:]


def _as_images(x):
    """x as [B', H, W, C], and the number of images that make one sample."""
    if x.shape.rank == 3:
        return tf.expand_dims(x, 2), 1                      # [B, T, 1, C]
    if x.shape.rank == 4:
        return x, 1
    _, frames, height, width, channels = sizes(x)
    return tf.reshape(x, [-1, height, width, channels]), frames


def _tokens(images, frames):
    """[B T, H, W, K] -> [B, T H W, K]."""
    _, height, width, channels = sizes(images)
    return tf.reshape(images, [-1, frames * height * width, channels])


def _linear_is_cheaper(queries, keys):
    """Whether theta (phi^T g) takes fewer products than (theta phi^T) g.

    K K (N + M) against 2 N M K. Where N or M is unknown, the one whose memory
    is linear in them.
    """
    _, n, width = queries.shape.as_list()
    m = keys.shape.as_list()[1]
    return n is None or m is None or width * (n + m) <= 2 * n * m
