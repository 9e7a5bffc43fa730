"""Gradients of 1x1 convolutions by one matrix product, which CPUs do faster.

oneDNN's and Eigen's own kernels for a filter's gradient reach a fifth (in
bfloat16) to three quarters (in float32) of the speed of the same product as a
MatMul: benchmarks/README.md.
"""

import contextlib
import functools

import tensorflow as tf

tf1 = tf.compat.v1

_NAME = "NonLocalTfConv2D"


@contextlib.contextmanager
def by_matrix_product():
    """Convolutions made within, in a graph, have these gradients.

    The operations themselves are unchanged. Gradients of other kernel sizes
    are TensorFlow's own.
    """
    _register()
    with tf1.get_default_graph().gradient_override_map({"Conv2D": _NAME}):
        yield


@functools.lru_cache(maxsize=None)
def _register():
    tf.RegisterGradient(_NAME)(_gradients)


def _gradients(operation, dy):
    """Gradients of a Conv2D's input [B, H, W, C] and kernel [k, k, C, K]."""
    x, kernel = operation.inputs
    strides = operation.get_attr("strides")
    padding = operation.get_attr("padding")
    dx = tf1.nn.conv2d_backprop_input(
        tf.shape(x), kernel, dy, strides, padding)
    size, _, channels, outputs = kernel.shape.as_list()
    if size != 1:
        return dx, tf1.nn.conv2d_backprop_filter(
            x, tf.shape(kernel), dy, strides, padding)
    if strides != [1, 1, 1, 1]:
        # The pixels that the convolution reads: a window of one, which is
        # quicker than StridedSlice.
        x = tf.nn.max_pool2d(x, 1, strides, "VALID")
    dkernel = tf.matmul(tf.reshape(x, [-1, channels]),
                        tf.reshape(dy, [-1, outputs]), transpose_a=True)
    return dx, tf.reshape(dkernel, kernel.shape)
