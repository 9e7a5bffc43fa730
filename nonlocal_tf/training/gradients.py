"""Gradients of 1x1 convolutions by one matrix product, for CPUs.

Faster: oneDNN's and Eigen's own kernels for a filter's gradient reach a fifth
(in bfloat16) to three quarters (in float32) of the speed of the same product as
a MatMul: benchmarks/README.md.

And right: oneDNN's kernel for a strided one writes past its memory where the
input has fewer channels than a vector has numbers, 8 with AVX2 and 16 with
AVX-512 (https://github.com/uxlfoundation/oneDNN/issues/6035; seen with
TensorFlow 2.9.3 and 2.21).
"""

import contextlib
import functools

import tensorflow as tf

tf1 = tf.compat.v1

_NAMES = {False: "NonLocalTfConv2D", True: "NonLocalTfStridedConv2D"}


@contextlib.contextmanager
def by_matrix_product(strided_alone=False):
    """Convolutions made within, in a graph, have these gradients.

    The operations themselves are unchanged. Gradients of other kernel sizes
    are TensorFlow's own.

    Args:
      strided_alone: those of stride 1 are TensorFlow's own too.
    """
    _register()
    with tf1.get_default_graph().gradient_override_map(
            {"Conv2D": _NAMES[strided_alone]}):
        yield


@functools.lru_cache(maxsize=None)
def _register():
    for strided_alone, name in _NAMES.items():
        tf.RegisterGradient(name)(
            functools.partial(_gradients, strided_alone))


def _gradients(strided_alone, operation, dy):
    """Gradients of a Conv2D's input [B, H, W, C] and kernel [k, k, C, K]."""
    x, kernel = operation.inputs
    strides = operation.get_attr("strides")
    padding = operation.get_attr("padding")
    dx = tf1.nn.conv2d_backprop_input(
        tf.shape(x), kernel, dy, strides, padding)
    size, _, channels, outputs = kernel.shape.as_list()
    is_strided = strides != [1, 1, 1, 1]
    if size != 1 or strided_alone and not is_strided:
        return dx, tf1.nn.conv2d_backprop_filter(
            x, tf.shape(kernel), dy, strides, padding)
    if is_strided:
        # The pixels that the convolution reads: a window of one, which is
        # quicker than StridedSlice.
        x = tf.nn.max_pool2d(x, 1, strides, "VALID")
    dkernel = tf.matmul(tf.reshape(x, [-1, channels]),
                        tf.reshape(dy, [-1, outputs]), transpose_a=True)
    return dx, tf.reshape(dkernel, kernel.shape)
