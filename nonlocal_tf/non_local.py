"""The non-local block of Wang et al., CVPR 2018 (arXiv:1711.07971)."""

import math

import tensorflow as tf

from nonlocal_tf.architecture import INSTANTIATIONS, linear_is_cheaper
from nonlocal_tf.attention import attend, attend_in_chunks
from nonlocal_tf.layers import (
    EPSILON,
    MOMENTUM,
    Affine,
    BatchNorm,
    Conv,
    conv2d,
    max_pool,
    sizes,
)

tf1 = tf.compat.v1

# Start of theta, phi and g in the authors' released code. He's would make the
# scores of a ResNet's large activations so wide that the softmax is one-hot.
EMBEDDING_STDDEV = 0.01
# Of `cosine`: a key whose cosine is 1 outweighs all M - 1 others, where theirs
# is -1, by exp(4.5) M / (M - 1): 98.9 % of many keys, 99.2 % of four.
_COSINE_MARGIN = 4.5


class NonLocalBlock(tf.Module):
    """Adds to each position a weighted sum over all positions.

    z_i = W_z y_i + x_i,  y_i = 1/C(x) sum_j f(x_i, x_j) g(x_j)  (Eq. 1, 6),
    with f by `instantiation` (Sec. 3.2), M the number of keys j:

      gaussian           exp(x_i . x_j)                 C = sum_j f   (Eq. 2)
      embedded_gaussian  exp(theta_i . phi_j)           C = sum_j f   (Eq. 3)
      dot_product        theta_i . phi_j                C = M         (Eq. 4)
      concatenation      ReLU(w_f . [theta_i, phi_j])   C = M         (Eq. 5)

    theta, phi, g and out (W_z) are 1x1 convolutions with bias. Batch norm
    follows `out`; its gamma starts at 0, so that z equals x (Sec. 4.1). The
    defaults are the paper's; the other arguments are what known systems do.

    Args:
      channels: C of the input.
      inner_channels: K, width of theta, phi and g; C // 2 by default.
      instantiation: one of `INSTANTIATIONS`.
      sub_sample: max-pool the keys and values by 2 in H and W, or in T for
        [B, T, C] (Sec. 3.3); or windows for each axis between B and C, such
        as (1, 2, 2). An odd rest is dropped, as all known systems do; a
        window is no larger than its axis.
      pool_first: pool x, before phi and g, in place of their outputs: the
        authors' code and Paddle.
      scale: multiply the scores by 1/sqrt(width of the compared vectors):
        K, and C for `gaussian`. Not in the paper; the authors' code has it
        for the embedded Gaussian.
      pre_norm: batch norm of x before theta, phi and g, as a bottleneck of
        arXiv:1603.05027 has it; the sum is with x itself. Not in the paper.
      cosine: compare directions, not lengths: cos(theta_i, phi_j) in place
        of their product, times (log M + 4.5) / 2, so that no key of a softmax
        takes more than 98.9 % of many keys, or 99.2 % of four. Scores are
        bounded whatever the weights are; see arXiv:2010.04245, whose factor
        learns. `concatenation` has no product and stays as it is.
      out_bias: whether `out` has a bias; mmaction2 and MindSpore: no.
      norm: after `out`: "batch"; "affine", a batch norm that is frozen to a
        scale and a shift; or None.
      zero_start: what starts at 0: "gamma" of the batch norm, the "kernel" of
        `out`, or None.
      epsilon: of the batch norms.
      group_frames: of [B, T, H, W, C]: positions attend within that many
        frames alone; T is a multiple. The authors' long clips: 4.
      fused: read x once, by one convolution with kernels side by side; False
        makes one for each.
      momentum: of the batch norms; see `layers.BatchNorm`.
      affinity_limit: bytes. Where the float32 affinity [B, N, M] would take
        more, or sizes are unknown, it is computed for some queries at a time,
        and once more for the gradient: exact, in memory that is linear in N.
        None: always the whole matrix.
    Raises:
      ValueError: a choice is none of those named, a width or window is not
        positive, or gamma is to start at 0 without a batch norm.
    """

    def __init__(self, channels, inner_channels=None,
                 instantiation="embedded_gaussian", sub_sample=False,
                 scale=False, fused=True, momentum=MOMENTUM,
                 affinity_limit=None, pool_first=False, pre_norm=False,
                 cosine=False, out_bias=True, norm="batch", zero_start="gamma",
                 epsilon=EPSILON, group_frames=None, name="non_local"):
        super().__init__(name=name)
        if inner_channels is None:
            inner_channels = max(1, channels // 2)
        _check_choice("instantiation", instantiation, INSTANTIATIONS)
        _check_choice("norm", norm, ("batch", "affine", None))
        _check_choice("zero_start", zero_start, ("gamma", "kernel", None))
        if zero_start == "gamma" and norm != "batch":
            raise ValueError("zero_start=\"gamma\" needs norm=\"batch\", not "
                             "{!r}; give \"kernel\" or None".format(norm))
        if cosine and scale and instantiation != "concatenation":
            raise ValueError("scale and cosine exclude each other")
        if not isinstance(sub_sample, (bool, list, tuple)):
            raise ValueError("sub_sample must be True, False or a window for "
                             "each axis, not {!r}".format(sub_sample))
        windows = () if isinstance(sub_sample, bool) else tuple(sub_sample)
        for size in (channels, inner_channels) + windows + (
                () if group_frames is None else (group_frames,)):
            if size < 1:
                raise ValueError(
                    "channels, inner_channels, group_frames and windows must "
                    "be positive, not {}".format(size))
        self.channels = channels
        self.inner_channels = inner_channels
        self.instantiation = instantiation
        self.sub_sample = windows or sub_sample
        self.pool_first = pool_first
        self.scale = scale
        self.cosine = cosine and instantiation != "concatenation"
        self.group_frames = group_frames
        self.fused = fused
        self.affinity_limit = affinity_limit
        with self.name_scope:
            self._make_parts(pre_norm, out_bias, norm, zero_start,
                             dict(momentum=momentum, epsilon=epsilon))

    def _make_parts(self, pre_norm, out_bias, norm, zero_start, settings):
        inner, form = self.inner_channels, self.instantiation

        def embedding(name):
            return Conv(self.channels, inner, bias=True,
                        stddev=EMBEDDING_STDDEV, name=name)

        self.pre_norm = BatchNorm(
            self.channels, name="pre_norm", **settings) if pre_norm else None
        self.g = embedding("g")
        if form != "gaussian":
            self.theta = embedding("theta")
            self.phi = embedding("phi")
        if form == "concatenation":
            # w_f in two halves: w_f . [theta_i, phi_j] is a sum of two terms.
            stddev = (2 * inner) ** -0.5
            self.theta_score = Conv(inner, 1, stddev=stddev, name="theta_score")
            self.phi_score = Conv(inner, 1, stddev=stddev, name="phi_score")
        self.out = Conv(inner, self.channels, bias=out_bias, name="out",
                        stddev=0.0 if zero_start == "kernel" else None)
        self.norm = None
        if norm == "batch":
            self.norm = BatchNorm(self.channels, name="norm",
                                  zero_gamma=zero_start == "gamma", **settings)
        elif norm == "affine":
            self.norm = Affine(self.channels, name="norm")

    def __call__(self, x, *, is_training, return_affinity=False, watch=None,
                 frames=None):
        """Applies the block.

        Args:
          x: [B, T, C], [B, H, W, C] or [B, T, H, W, C]; any size but C may be
            unknown. float32; or bfloat16 or float16, in which all but the
            softmax, the mean over keys and batch norm's statistics is
            computed then.
          is_training: whether batch norm uses the batch's statistics.
          return_affinity: also return f / C(x).
          watch: a list to which the block appends itself, its queries
            [B, N, A] and its keys [B, M, A], for `compare`; of groups those
            of each clip's first.
          frames: T, of x as [B T, H, W, C], which is how images of clips go
            through two-dimensional operations.
        Returns:
          z, of x's shape; with `return_affinity` the pair of z and the
          affinity [B, N, M], whose queries N and keys M run over T, H, W in
          row-major order. With `group_frames` B counts the groups.
        Raises:
          ValueError: the rank is not 3, 4 or 5, or C is another; windows or
            groups do not fit the rank, or groups T.
        """
        rank = x.shape.rank if frames is None else 5
        if rank not in (3, 4, 5) or x.shape.as_list()[-1] != self.channels:
            raise ValueError(
                "x must be [B, T, C], [B, H, W, C] or [B, T, H, W, C] with "
                "C = {}, not {}".format(self.channels, x.shape))
        windows = self._windows(rank)
        with self.name_scope:
            images, total = _as_images(x, frames)
            frames = total
            if self.group_frames is not None:
                images, frames = self._group(rank, images, frames)
            queries, keys, values = self._embed(
                images if self.pre_norm is None else
                self.pre_norm(images, is_training=is_training),
                frames, windows)
            if watch is not None:               # of groups the first
                step = 1 if self.group_frames is None else (
                    total // frames)
                watch.append((self, queries[::step], keys[::step]))
            y, affinity = self._attend(queries, keys, values, return_affinity)
            y = tf.reshape(y, [-1] + sizes(images)[1:3]
                           + [self.inner_channels])
            z = self.out(y)
            if self.norm is not None:
                z = self.norm(z, is_training=is_training)
            z = x + tf.reshape(z, _inferred(sizes(x)))
            return (z, affinity) if return_affinity else z

    def _windows(self, rank):
        """Of the pooling over frames, rows and columns; None without it."""
        if not self.sub_sample:
            return None
        windows = self.sub_sample
        if windows is True:
            windows = (2,) if rank == 3 else (1, 2, 2)[5 - rank:]
        if len(windows) != rank - 2:
            raise ValueError(
                "sub_sample needs a window for each of {} axes, not {}".format(
                    rank - 2, windows))
        if rank == 3:
            return (1,) + windows + (1,)        # [B, T, 1, C], as images are
        return (1,) * (5 - rank) + windows

    def _group(self, rank, images, frames):
        """The images, and the frames in which their positions attend."""
        size = self.group_frames
        if rank != 5 or isinstance(frames, int) and frames % size:
            raise ValueError("group_frames needs [B, T, H, W, C] with a "
                             "multiple of {} frames, not rank {} and {}".format(
                                 size, rank, frames))
        if not isinstance(frames, int):         # else two clips would mix
            with tf.control_dependencies([tf1.assert_equal(
                    frames % size, 0, message="T must be a multiple of "
                    "group_frames")]):
                images = tf.identity(images)
        return images, size

    def _embed(self, images, frames, windows):
        """Tokens of the queries, keys and values: theta, phi (or x), g."""
        source = images
        if self.pool_first:
            source = max_pool(images, frames, windows)
        if self.instantiation == "gaussian":
            queries, keys, (values,) = images, source, self._linear(
                source, self.g)
        elif self.pool_first:
            queries, = self._linear(images, self.theta)
            keys, values = self._linear(source, self.phi, self.g)
        else:
            queries, keys, values = self._linear(
                images, self.theta, self.phi, self.g)
        if not self.pool_first:
            keys, values = [
                max_pool(part, frames, windows) for part in (keys, values)]
        return (_tokens(queries, frames),) + tuple(
            _tokens(part, _pooled_size(frames, windows and windows[0]))
            for part in (keys, values))

    def _linear(self, images, *parts):
        """What each of the 1x1 convolutions `parts` makes of the images."""
        if not self.fused or len(parts) == 1:
            return [part(images) for part in parts]
        joint = conv2d(images, tf.concat([part.kernel for part in parts], 3),
                       tf.concat([part.bias for part in parts], 0))
        return tf.split(joint, len(parts), axis=3)

    def compare(self, queries, keys):
        """Scores and affinity of queries and keys that `watch` has got.

        Args:
          queries: [B, N, A]; keys: [B, M, A]; some samples are enough.
        Returns:
          scores, f's logarithm where there is a softmax, else f / M; and the
          affinity f / C(x); both [B, N, M] and float32.
        """
        with self.name_scope:
            scores = tf.cast(self._scores(
                *self._compared(queries, keys)), tf.float32)
            return scores, (
                tf.nn.softmax(scores) if self._has_softmax() else scores)

    def _compared(self, queries, keys):
        """What `_scores` takes."""
        if self.cosine:
            factor = _cosine_factor(sizes(keys)[1])
            queries, keys = _unit(queries, factor), _unit(keys)
        if self.instantiation == "dot_product":
            keys = _over_their_number(keys)
        if self.instantiation == "concatenation":
            queries = self.theta_score(tf.expand_dims(queries, 2))
            keys = self.phi_score(tf.expand_dims(keys, 2))  # [B, M, 1, 1]
            queries, keys = tf.squeeze(queries, 3), tf.squeeze(keys, 3)
        return queries, keys

    def _attend(self, queries, keys, values, need_affinity):
        """y [B, N, K] and, where it was computed, the affinity [B, N, M]."""
        queries, keys = self._compared(queries, keys)
        if self.instantiation == "dot_product" and not need_affinity and (
                _linear_is_cheaper(queries, keys)):
            context = tf.matmul(keys, values, transpose_a=True)  # [B, K, K]
            return tf.matmul(self._scaled(queries), context), None
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


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError("{} must be one of {}, not {!r}".format(
            name, ", ".join(map(str, choices)), value))


def _unit(x, factor=1.0):
    """Vectors [B, N, A] of length 1 times a factor, computed in float32."""
    wide = tf.cast(x, tf.float32)
    length = tf.reduce_sum(tf.square(wide), 2, keepdims=True)
    return tf.cast(wide * (factor * tf.math.rsqrt(length + 1e-6)), x.dtype)


def _cosine_factor(keys):
    """(log M + 4.5) / 2 for M keys, a number or a scalar tensor."""
    log = math.log(keys) if isinstance(keys, int) else (
        tf.math.log(tf.cast(keys, tf.float32)))
    return (log + _COSINE_MARGIN) / 2


def _over_their_number(x, axis=1):
    """x over the number of keys, which lie along `axis`, in float32."""
    count = tf.cast(sizes(x)[axis], tf.float32)             # M
    return tf.cast(tf.cast(x, tf.float32) / count, x.dtype)


def _inferred(sizes):
    """`sizes` with -1 for the first: no Shape operation for a batch alone."""
    return [-1] + sizes[1:]


def _as_images(x, frames):
    """x as [B', H, W, C], and the number of images that make one sample."""
    if frames is not None:
        return x, frames
    if x.shape.rank == 3:
        return tf.expand_dims(x, 2), 1                      # [B, T, 1, C]
    if x.shape.rank == 4:
        return x, 1
    _, frames, height, width, channels = sizes(x)
    return tf.reshape(x, [-1, height, width, channels]), frames


def _pooled_size(size, window):
    """The windows that `_pool_pair` has along an axis of `size`."""
    if not window or window == 1:
        return size
    if isinstance(size, int):
        return max(1, size // window)
    return tf.maximum(1, size // window)


def _tokens(images, frames):
    """[B T, H, W, K] -> [B, T H W, K]."""
    _, height, width, channels = sizes(images)
    return tf.reshape(images, [-1, frames * height * width, channels])


def _linear_is_cheaper(queries, keys):
    """`linear_is_cheaper`; where N or M is unknown, memory linear in them."""
    _, n, width = queries.shape.as_list()
    m = keys.shape.as_list()[1]
    return None in (n, m) or linear_is_cheaper(width, n, m)
