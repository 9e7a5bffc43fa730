"""The parts of the networks of clips, by formulas and finite differences."""

import numpy as np
import pytest
import rule
import tensorflow as tf
from support import graph_session, random_values, set_values
from video_support import mild_values

from nonlocal_tf.layers import TemporalConv
from nonlocal_tf.networks.video import Stem, VideoResNet, shifted
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training.config import TrainConfig

tf1 = tf.compat.v1
pytestmark = pytest.mark.usefixtures("shallow")


def test_a_step_along_the_gradient_changes_the_loss_by_its_length():
    config = TrainConfig(network="i3d", frames=4, frame_interval=1,
                         image_size=32, base_width=2, classes=3,
                         non_local="res3:0;res4:0")
    with graph_session() as session:
        net = make_network(config)
        clips = tf.constant(rule.clips(2, 4, 32))
        loss = tf.reduce_sum(tf.sin(net(clips, is_training=False)))
        values = mild_values(net, 1)
        set_values(session, values)
        trained = net.trainable_variables
        gradients = session.run(tf1.gradients(loss, trained))
        length = np.sqrt(sum((each ** 2).sum() for each in gradients))
        losses = []
        for sign in (1, -1):
            set_values(session, {
                each: values[each] + sign * 2e-4 / length * gradient
                for each, gradient in zip(trained, gradients)})
            losses.append(float(session.run(loss)))
    assert (losses[0] - losses[1]) / 4e-4 == pytest.approx(length, rel=0.03)


def test_larger_frames_have_the_mean_of_the_softmax_at_each_place():
    with graph_session() as session:
        net = VideoResNet("video-nonlocal-net", "c2d", classes=4, frames=2,
                          image_size=32, base_width=2, placement={})
        layers = []
        logits = net(tf.constant(rule.clips(1, 2, 64)), is_training=False,
                     layers=layers)
        set_values(session, random_values(net.variables, 0))
        found, features, kernel, bias = session.run(
            [logits, layers[-1][1], net.dense.kernel, net.dense.bias])
    scores = np.exp(features.mean(0) @ kernel + bias)       # [2, 2, classes]
    shares = scores / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(
        np.exp(found[0]), shares.mean((0, 1)), rtol=1e-4)


def test_paddles_features_are_halved_outside_training():
    with graph_session() as session:
        outcomes = []
        for protocol in ("video-nonlocal-net", "paddle"):
            net = VideoResNet(protocol, "c2d", classes=4, frames=2,
                              image_size=32, base_width=2, placement={})
            logits = net(tf.constant(rule.clips(1, 2, 32)), is_training=False)
            values = random_values(net.variables, 0)
            set_values(session, {
                each: np.ones(each.shape.as_list()) if "moving" in
                each.op.name else value for each, value in values.items()})
            session.run(net.dense.bias.initializer, {
                net.dense.bias.initializer.inputs[1]: np.zeros(4)})
            outcomes.append(session.run(logits))
    # PDL subtracts and divides by the same numbers.
    np.testing.assert_allclose(outcomes[1], outcomes[0] / 2, rtol=1e-4)


def test_channels_are_shifted_by_a_frame():
    x = np.random.RandomState(0).randn(2, 3, 4, 5, 16).astype(np.float32)
    want = np.zeros_like(x)
    want[:, :-1, ..., :2] = x[:, 1:, ..., :2]           # from the next
    want[:, 1:, ..., 2:4] = x[:, :-1, ..., 2:4]         # from the one before
    want[..., 4:] = x[..., 4:]
    with graph_session() as session:
        found = session.run(shifted(tf.constant(x.reshape(6, 4, 5, 16)), 3, 8))
    np.testing.assert_array_equal(found.reshape(want.shape), want)


@pytest.mark.parametrize("stride, frames", [(1, 6), (2, 6), (2, 5)])
def test_the_stem_is_a_convolution_in_three_dimensions(stride, frames):
    x = np.random.RandomState(0).randn(2, frames, 12, 10, 3).astype(np.float32)
    with graph_session() as session:
        stem = Stem(5, stride, 4, lambda *_: (lambda x, is_training: x))
        found, count = stem(tf.constant(x), is_training=False)
        kernel = tf.reshape(stem.conv.kernel, [7, 7, 5, 3, 4])
        padded = np.pad(x, [(0, 0), (2, 2), (3, 3), (3, 3), (0, 0)],
                        mode="constant")
        want = tf.nn.relu(tf.nn.conv3d(
            padded, tf.transpose(kernel, [2, 0, 1, 3, 4]),
            [1, stride, 2, 2, 1], "VALID"))
        session.run(tf1.global_variables_initializer())
        found, want = session.run([found, want])
    assert count == want.shape[1]
    np.testing.assert_allclose(found.reshape(want.shape), want, atol=1e-5)


def test_a_temporal_convolution_is_one_in_three_dimensions():
    x = np.random.RandomState(0).randn(2, 4, 3, 5, 6).astype(np.float32)
    with graph_session() as session:
        conv = TemporalConv(6, 7, 3)
        found = conv(tf.constant(x.reshape(2, 4, 15, 6)))
        want = tf.nn.conv3d(x, tf.expand_dims(conv.kernel, 2),
                            [1, 1, 1, 1, 1], "SAME")
        session.run(tf1.global_variables_initializer())
        found, want = session.run([found, want])
    np.testing.assert_allclose(found.reshape(want.shape), want, atol=1e-5)
