"""Gradients by a matrix product, against NumPy and TensorFlow's own."""

import functools
import re

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, tf1, thin_config

from nonlocal_tf.layers import conv2d
from nonlocal_tf.platforms.gpu import Platform
from nonlocal_tf.training.gradients import by_matrix_product
from nonlocal_tf.training.graph import TrainGraph


def gradients(size, stride):
    """Of a convolution's input and kernel: ours, TensorFlow's, the arrays."""
    random = np.random.RandomState(size + stride)
    rows = -(-5 // stride)
    arrays = [random.randn(*shape).astype(np.float32) for shape in (
        (2, 5, 5, 3), (size, size, 3, 4), (2, rows, rows, 4))]
    with graph_session() as session:
        x, kernel, dy = [tf.constant(a) for a in arrays]
        with by_matrix_product():
            ours = conv2d(x, kernel, stride=stride)
        plain = conv2d(x, kernel, stride=stride)
        ours = tf1.gradients(ours, [x, kernel], dy)
        assert size > 1 or "MatMul" in {
            op.type for op in session.graph.get_operations()}
        return session.run(
            [ours, tf1.gradients(plain, [x, kernel], dy)]) + [arrays]


@pytest.mark.parametrize("stride", [1, 2])
def test_of_a_1x1_convolution_equal_numpy(stride):
    (dx, dkernel), _, (x, kernel, dy) = gradients(1, stride)
    expected = np.zeros_like(x)
    expected[:, ::stride, ::stride] = dy @ kernel[0, 0].T
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        dkernel[0, 0], x[:, ::stride, ::stride].reshape(-1, 3).T
        @ dy.reshape(-1, 4), rtol=1e-5, atol=1e-5)


@functools.lru_cache(maxsize=None)
def training_graph(plain):
    config = thin_config("", "x", plain=plain, non_local="0")
    with tf.Graph().as_default() as graph:
        TrainGraph(config, 10, Platform(config))
    return graph


def test_a_step_has_fewer_control_edges_than_operations(shallow):
    """Each update before each of Adam's operations would be many more."""
    operations = training_graph(False).get_operations()
    assert sum(len(op.control_inputs) for op in operations) < len(operations)


@pytest.mark.parametrize("plain", [False, True])
def test_of_a_strided_1x1_filter_are_never_by_onednn(shallow, plain):
    """Where it would write beyond its memory: oneDNN's issue 6035."""
    graph = training_graph(plain)
    strided = {op.name for op in graph.get_operations()
               if op.type == "Conv2D" and max(op.get_attr("strides")) > 1
               and op.inputs[1].shape.as_list()[:2] == [1, 1]}
    found = {re.search("gradients/(.*)_grad/", op.name).group(1)
             for op in graph.get_operations()
             if op.type == "Conv2DBackpropFilter"}
    assert strided and found and not strided & found
    assert found < {op.name for op in graph.get_operations()}


def test_of_other_kernels_are_tensorflows_own():
    ours, plain, _ = gradients(3, 2)
    for a, b in zip(ours, plain):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_of_an_open_batch():
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [None, 4, 4, 3])
        kernel = tf.ones([1, 1, 3, 2])
        with by_matrix_product():
            y = conv2d(x, kernel, stride=2)
        dx, dkernel = session.run(tf1.gradients(y, [x, kernel]),
                                  {x: np.ones([2, 4, 4, 3])})
    np.testing.assert_array_equal(dkernel, np.full((1, 1, 3, 2), 8.0))
    assert dx.shape == (2, 4, 4, 3)


def test_convolutions_made_outside_keep_theirs():
    with tf.Graph().as_default() as graph:
        with by_matrix_product():
            pass
        conv2d(tf.zeros([1, 2, 2, 3]), tf.ones([1, 1, 3, 2]))
        assert not any(b"NonLocalTf" in op.node_def.SerializeToString()
                       for op in graph.get_operations())
