"""Conv, BatchNorm and Dense as `tf.Module`s: the only place of variables.

All are NHWC, and run unchanged on TensorFlow 1.15, 2.6 and later: in a graph,
and on TensorFlow 2 also eagerly and in `tf.function`. Variables are float32;
`Conv` and `BatchNorm` compute in the type of their input, the statistics of
the latter in float32 (arXiv:1710.03740, Sec. 3). Variable names come from the
modules' name scopes; they are a checkpoint's keys.
"""

import contextlib

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1

# Batch norm's epsilon and the limit of its momentum: those of the known
# MNIST network. `fused_batch_norm` raises the former to 1.001e-5, for cuDNN.
EPSILON = 1e-5
MOMENTUM = 0.99
_LEAST_EPSILON = 1.001e-5       # of `fused_batch_norm`, in most versions
_across = []                    # the newest last: see `statistics_across`


def variable(initial_value, name, trainable=True, collections=None):
    """A resource variable on every TensorFlow.

    TensorFlow 1.15 would make a reference variable, whose buffer an optimizer
    overwrites while another operation may still read it.
    """
    return tf1.Variable(
        initial_value, name=name, trainable=trainable, use_resource=True,
        collections=collections)


def sizes(x):
    """The shape as a list: an int where it is known, else a scalar tensor."""
    static = x.shape.as_list()
    if None not in static:
        return static
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size
            for axis, size in enumerate(static)]


def warm_up_momentum(step):
    """Momentum of the moving statistics after `step` updates.

    min(0.99, (1 + step) / (10 + step)): early statistics average the last
    steps alone, so that they follow weights that change fast; from step 890
    on it is the usual one. A plain 0.99 still holds 64 % of its start value
    after 45 steps.

    Args:
      step: updates so far, an integer scalar (tensor or variable).
    Returns:
      float32 scalar.
    """
    step = tf.cast(step, tf.float32)
    return tf.minimum(MOMENTUM, (1.0 + step) / (10.0 + step))


def max_pool(images, frames, windows):
    """Max over windows of frames, rows and columns; an odd rest is dropped.

    Args:
      images: [B T, H, W, K].
      frames: T.
      windows: one number for each of T, H and W; None: no pooling.
    Returns:
      [B T', H', W', K]; by rows and columns first, then by frames.
    """
    if windows is None:
        return images
    images = _pool_pair(images, windows[1:])
    if windows[0] == 1:
        return images
    _, height, width, channels = sizes(images)
    clips = tf.reshape(images, [-1, frames, height * width, channels])
    return tf.reshape(_pool_pair(clips, (windows[0], 1)),
                      [-1, height, width, channels])


def _pool_pair(x, windows):
    """Max over windows of the axes 1 and 2, each no larger than its axis."""
    rests = [[0, 0]]
    for size, window in zip(sizes(x)[1:3], windows):
        static = isinstance(size, int)
        rests.append([0, 0 if static or window == 1 else
                      tf.maximum(window - size, 0)])
    windows = [min(window, size or window) for window, size in zip(
        windows, x.shape.as_list()[1:3])]
    if windows == [1, 1]:
        return x
    if any(not isinstance(rest, int) for _, rest in rests):
        x = tf.pad(x, rests + [[0, 0]], constant_values=x.dtype.min)
    return tf1.nn.max_pool(x, [1] + windows + [1], [1] + windows + [1], "VALID")


def log_mean_softmax(logits):
    """Logarithm of the mean of softmaxes, also where fp16 has no such share.

    Args:
      logits: [B, N, classes].
    Returns:
      [B, classes].
    """
    logs = tf.nn.log_softmax(logits)
    most = tf.reduce_max(logs, 1, keepdims=True)
    return tf.math.log(tf.reduce_mean(tf.exp(logs - most), 1)) + (
        tf.squeeze(most, 1))


class Conv(tf.Module):
    """Convolution with even zero padding, k // 2 on every side.

    TensorFlow's "SAME" pads unevenly at stride 2; this pads as PyTorch and
    Caffe2 do. The output has ceil(H / stride) rows for odd k.

    Args:
      in_channels, out_channels: widths.
      kernel_size: k of the square kernel; odd.
      stride: in both directions.
      bias: whether to add one; it starts at 0.
      stddev: of the normal initializer; He's sqrt(2 / (k k in_channels)) by
        default (arXiv:1502.01852).
    """

    def __init__(self, in_channels, out_channels, kernel_size=1, stride=1,
                 bias=False, stddev=None, name="conv"):
        super().__init__(name=name)
        self.stride = stride
        if stddev is None:
            stddev = (2.0 / (kernel_size * kernel_size * in_channels)) ** 0.5
        shape = [kernel_size, kernel_size, in_channels, out_channels]
        with self.name_scope:
            self.kernel = variable(
                tf.random.normal(shape, stddev=stddev), "kernel")
            self.bias = (
                variable(tf.zeros([out_channels]), "bias") if bias else None)

    def __call__(self, x):
        """[B, H, W, in_channels] -> [B, ceil(H / s), ceil(W / s), out]."""
        with self.name_scope:
            return conv2d(x, self.kernel, self.bias, self.stride)


class TemporalConv(tf.Module):
    """A k x 1 x 1 convolution over the frames of clips, zero padded evenly.

    Args:
      in_channels, out_channels: widths.
      taps: k, odd.
    """

    def __init__(self, in_channels, out_channels, taps, name="conv"):
        super().__init__(name=name)
        stddev = (2.0 / (taps * in_channels)) ** 0.5
        with self.name_scope:
            self.kernel = variable(tf.random.normal(
                [taps, 1, in_channels, out_channels], stddev=stddev), "kernel")

    def __call__(self, x):
        """[B, T, P, in_channels] -> [B, T, P, out]; P: positions, H W."""
        with self.name_scope:
            return tf1.nn.conv2d(
                x, tf.cast(self.kernel, x.dtype), [1, 1, 1, 1], "SAME")


def conv2d(x, kernel, bias=None, stride=1):
    """The product of `Conv`, for a kernel [k, k, C, K] that is given."""
    kernel = tf.cast(kernel, x.dtype)
    pad = int(kernel.shape[0]) // 2
    if pad and stride > 1:
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    padding = "SAME" if stride == 1 else "VALID"       # SAME is even here
    x = tf1.nn.conv2d(x, kernel, [1, stride, stride, 1], padding)
    return x if bias is None else tf.nn.bias_add(x, tf.cast(bias, x.dtype))


class BatchNorm(tf.Module):
    """Batch normalisation over all axes but the last (arXiv:1502.03167).

    In training it normalises by the batch's own statistics and moves the
    moving ones: at once when eager or in a `tf.function`, with the operations
    in `UPDATE_OPS` in a graph. Otherwise it normalises by the moving ones.

    Args:
      channels: width of the last axis.
      zero_gamma: whether gamma starts at 0 rather than 1.
      momentum: share of the old moving statistics kept at an update: a
        float, a scalar tensor, or a function without arguments that returns
        one (see `warm_up_momentum`).
      epsilon: added to the variance; 1.001e-5 at least, cuDNN's limit.
    """

    def __init__(self, channels, zero_gamma=False, momentum=MOMENTUM,
                 epsilon=EPSILON, name="batch_norm"):
        super().__init__(name=name)
        self._momentum = momentum
        self._epsilon = epsilon
        first = tf.zeros if zero_gamma else tf.ones
        with self.name_scope:
            self.gamma = variable(first([channels]), "gamma")
            self.beta = variable(tf.zeros([channels]), "beta")
            self.moving_mean = variable(
                tf.zeros([channels]), "moving_mean", trainable=False)
            self.moving_variance = variable(
                tf.ones([channels]), "moving_variance", trainable=False)

    def __call__(self, x, *, is_training):
        """[B, H, W, C] -> the same shape."""
        with self.name_scope:
            if not is_training:
                return tf1.nn.fused_batch_norm(
                    x, self.gamma, self.beta, self.moving_mean,
                    self.moving_variance, self._epsilon, is_training=False)[0]
            if _across:
                return self._across_processes(x, _across[-1])
            x, mean, variance = tf1.nn.fused_batch_norm(
                x, self.gamma, self.beta, epsilon=self._epsilon,
                is_training=True)
            self._update(mean, variance)
            return x

    def _across_processes(self, x, gather):
        """By the statistics of all processes; see `statistics_across`."""
        values = tf.cast(x, tf.float32)
        own = tf.stack(tf.nn.moments(values, [0, 1, 2]))
        means, variances = tf.unstack(gather(own), axis=1)      # [N, C]
        mean = tf.reduce_mean(means, 0)
        variance = tf.reduce_mean(variances + tf.square(means - mean), 0)
        count = tf.cast(tf.size(x) // tf.shape(x)[-1], tf.float32) * (
            means.shape.as_list()[0])
        self._update(mean, variance * (
            count / tf.maximum(count - 1.0, 1.0)))
        scale = self.gamma * tf1.rsqrt(
            variance + max(self._epsilon, _LEAST_EPSILON))
        return tf.cast((values - mean) * scale + self.beta, x.dtype)

    def _update(self, mean, variance):
        momentum = self._momentum
        if callable(momentum):
            momentum = momentum()
        for moving, batch in [
                (self.moving_mean, mean), (self.moving_variance, variance)]:
            # A weight of Keras 3 (`nonlocal_tf.keras`) has no `read_value`.
            unread = {"read_value": False} if (
                isinstance(moving, tf.Variable)) else {}
            update = moving.assign_sub(
                (moving - batch) * (1.0 - momentum), **unread)
            if not tf.executing_eagerly():
                tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, update)


@contextlib.contextmanager
def statistics_across(sum_over_ranks, rank, size):
    """Batch norms that are called within take all processes' statistics.

    Args:
      sum_over_ranks: a tensor to its sum over them; its gradient is the same
        sum, since each process's loss depends on the tensors of all.
      rank, size: which of how many, each with as many images.
    """
    @tf.custom_gradient
    def summed(tensor):
        return sum_over_ranks(tensor), sum_over_ranks

    place = np.eye(size, dtype=np.float32)[rank].reshape([size, 1, 1])
    _across.append(lambda own: summed(place * own))     # [2, C] -> [N, 2, C]
    try:
        yield
    finally:
        _across.pop()


class Affine(tf.Module):
    """A batch norm that is frozen: gamma x + beta, neither of which learns.

    Args:
      channels: width of the last axis.
    """

    def __init__(self, channels, name="affine"):
        super().__init__(name=name)
        with self.name_scope:
            self.gamma = variable(
                tf.ones([channels]), "gamma", trainable=False)
            self.beta = variable(
                tf.zeros([channels]), "beta", trainable=False)

    def __call__(self, x, *, is_training):
        """[B, H, W, C] -> the same shape."""
        del is_training
        with self.name_scope:
            return x * tf.cast(self.gamma, x.dtype) + (
                tf.cast(self.beta, x.dtype))


class Dense(tf.Module):
    """x W + b, with W from N(0, stddev^2) and b = 0 at the start.

    Args:
      in_channels, out_channels: widths.
      stddev: in_channels ** -0.5 by default.
    """

    def __init__(self, in_channels, out_channels, stddev=None, name="dense"):
        super().__init__(name=name)
        with self.name_scope:
            self.kernel = variable(
                tf.random.normal(
                    [in_channels, out_channels],
                    stddev=stddev or in_channels ** -0.5), "kernel")
            self.bias = variable(tf.zeros([out_channels]), "bias")

    def __call__(self, x):
        """[B, in_channels] -> [B, out_channels]."""
        with self.name_scope:
            return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)
