"""Convolution's padding and batch norm's statistics, by hand."""

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, set_values, tf1

from nonlocal_tf.layers import BatchNorm, Conv, Dense, warm_up_momentum


@pytest.mark.parametrize("size, kernel, stride", [
    (6, 3, 2), (7, 3, 2), (6, 7, 2), (5, 1, 2)])
def test_conv_pads_evenly(size, kernel, stride):
    random = np.random.RandomState(0)
    x = random.randn(1, size, size, 1).astype(np.float32)
    with graph_session() as session:
        conv = Conv(1, 1, kernel, stride, bias=True)
        weights = random.randn(kernel, kernel, 1, 1)
        set_values(session, {conv.kernel: weights, conv.bias: [0.5]})
        y = session.run(conv(tf.constant(x)))[0, :, :, 0]
    pad = kernel // 2
    padded = np.pad(x[0, :, :, 0], pad, "constant")
    count = -(-size // stride)
    expected = np.array([[
        (padded[i * stride:i * stride + kernel, j * stride:j * stride + kernel]
         * weights[:, :, 0, 0]).sum() + 0.5
        for j in range(count)] for i in range(count)])
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_dense_is_a_product_and_a_bias():
    with graph_session() as session:
        dense = Dense(2, 3)
        set_values(session, {dense.kernel: [[1, 2, 3], [4, 5, 6]],
                             dense.bias: [10, 20, 30]})
        y = session.run(dense(tf.constant([[1.0, 2.0]])))
    np.testing.assert_array_equal(y, [[19, 32, 45]])


@pytest.mark.parametrize("momentum", [0.75, lambda: tf.constant(0.75)])
def test_batch_norm_trains_on_the_batch_and_moves_its_statistics(momentum):
    x = np.random.RandomState(0).randn(3, 4, 5, 2).astype(np.float32) * 2 + 1
    with graph_session() as session:
        norm = BatchNorm(2, momentum=momentum)
        y = norm(tf.constant(x), is_training=True)
        session.run(tf1.global_variables_initializer())
        y, _ = session.run(
            [y, tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)])
        mean, variance = session.run([norm.moving_mean, norm.moving_variance])
    axes = (0, 1, 2)
    np.testing.assert_allclose(
        y, (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5), atol=1e-4)
    np.testing.assert_allclose(mean, 0.25 * x.mean(axes), atol=1e-5)
    np.testing.assert_allclose(
        variance, 0.75 + 0.25 * x.var(axes, ddof=1), atol=1e-5)


def test_batch_norm_infers_from_the_moving_statistics():
    x = np.random.RandomState(0).randn(3, 4, 5, 2).astype(np.float32)
    with graph_session() as session:
        norm = BatchNorm(2)
        set_values(session, {
            norm.gamma: [2, 3], norm.beta: [1, -1],
            norm.moving_mean: [0.5, 1.5], norm.moving_variance: [4, 9]})
        y = session.run(norm(tf.constant(x), is_training=False))
    expected = (x - [0.5, 1.5]) / np.sqrt(np.array([4, 9]) + 1e-5)
    np.testing.assert_allclose(y, expected * [2, 3] + [1, -1], atol=1e-5)


@pytest.mark.parametrize("step, expected", [
    (0, 0.1), (8, 0.5), (10 ** 6, 0.99)])
def test_momentum_warms_up(step, expected):
    with graph_session() as session:
        momentum = session.run(warm_up_momentum(tf.constant(step, tf.int64)))
    assert momentum == pytest.approx(expected, abs=1e-6)
