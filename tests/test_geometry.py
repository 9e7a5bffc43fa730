"""Where maps lie on the input, against what moves the networks' maps."""

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, set_values, tf1

from nonlocal_tf import layers, tasks
from nonlocal_tf.architecture import DEPTHS, STAGES
from nonlocal_tf.networks import video
from nonlocal_tf.pages import geometry
from nonlocal_tf.training.config import TrainConfig

ALL = ";".join(stage + ":0" for stage in STAGES)
VIDEO = [                   # that differ in stem or pools: in space, in time
    ("video-nonlocal-net", "c2d", 16, 8, 96),
    ("mmaction2-1.x", "tsm", 16, 0, 96),
    ("video-nonlocal-net", "i3d", 128, 1, 32),
    ("mmaction2-1.x", "i3d", 64, 2, 32)]


def seen_by(config, inputs):
    """Stage, axes, index in T, H, W; first, last pixel: of queries, keys.

    The first and last pixel that move a middle position, by gradients under
    positive weights: all ReLUs are open, and means for max pools have none
    that loses.
    """
    random = np.random.RandomState(0)
    layout = geometry.maps(config, inputs.shape[1:4] if inputs.ndim == 5 else (
        (1,) + inputs.shape[1:3]))
    with graph_session() as session:
        network = tasks.make_network(config)
        x, watched = tf.constant(inputs), []
        network(x, is_training=False, watch=watched)
        session.run(tf1.global_variables_initializer())
        set_values(session, {
            each: random.uniform(0.5, 1, each.shape.as_list()).astype(
                np.float32) / np.sqrt(np.prod(each.shape.as_list()[:-1]))
            for each in network.variables if each.op.name.endswith("kernel")})
        set_values(session, {                   # blocks see everywhere
            block.norm.gamma: np.zeros(block.norm.gamma.shape.as_list())
            for block, _, _ in watched})
        found, gradients = [], []
        for stage, (_, *pair) in zip(STAGES, watched):
            for axes, tokens in zip(layout[stage], pair):
                size = [axis.count for axis in axes]
                assert tokens.shape.as_list()[1] == np.prod(size)
                index = [count // 2 for count in size]
                token = tokens[:, np.ravel_multi_index(index, size)]
                found.append((stage, axes, index))
                gradients.append(tf.gradients(token, x)[0])
        for known, moved in zip(found, session.run(gradients)):
            moved = np.abs(moved).max((0, -1))
            yield known + ([(at.min(), at.max()) for at in np.nonzero(
                moved if inputs.ndim == 5 else moved[None])],)


@pytest.fixture
def shallow_stages(monkeypatch):
    for module in (layers, video):      # TensorFlow 2.6 may give each its own
        monkeypatch.setattr(module.tf1.nn, "max_pool", tf1.nn.avg_pool)
    monkeypatch.setitem(DEPTHS, 50, (1, 1, 1, 1))


def check(config, inputs):
    """Where the input's ends are not seen: those cut what is."""
    shape, checked = (1,) * (5 - inputs.ndim) + inputs.shape[1:-1], set()
    for stage, axes, index, ends in seen_by(config, inputs):
        for name, axis, i, (first, last), size in zip(
                "tyx", axes, index, ends, shape):
            if size == 1 or 4 < first and last < size - 5:
                assert (first + last) / 2 == axis.centres()[i], stage
                checked.add((stage, name))
    assert stage == "res5"
    return checked


@pytest.mark.slow                       # gradients through whole networks
def test_maps_of_digits(shallow_stages):
    config = TrainConfig(data_url="x", train_url="x", image_size=128,
                         base_width=1, non_local=ALL, sub_sample=True,
                         instantiation="dot_product")      # quick
    checked = check(config, np.random.RandomState(1).rand(
        1, 128, 128, 1).astype(np.float32))
    assert {(stage, "y") for stage in STAGES} <= checked


@pytest.mark.slow
@pytest.mark.parametrize("protocol, network, frames, interval, side", VIDEO)
def test_maps_of_video(
        shallow_stages, protocol, network, frames, interval, side):
    config = TrainConfig(
        data_url="x", train_url="x", network=network, protocol=protocol,
        frames=frames, frame_interval=interval, image_size=side, base_width=1,
        non_local=ALL, sub_sample=True, classes=2,
        instantiation="dot_product")
    checked = check(config, np.random.RandomState(1).rand(
        1, frames, side, side, 3).astype(np.float32))
    assert ("res3", "t") in checked
    assert side < 96 or {
        ("res2", "x"), ("res2", "y"), ("res3", "x")} <= checked


def test_of_two_pixels_as_near_the_later_position_is_nearest():
    axis = geometry.Axis(3, 4, 2)                           # 2, 6, 10
    np.testing.assert_array_equal(
        axis.nearest([0, 3, 4, 5, 8, 99]), [0, 0, 1, 1, 2, 2])


def test_a_rest_that_a_pool_dropped_belongs_to_no_key():
    sides = geometry.Axis(56).through(8)                    # 0, 8, ... 48
    assert sides.end(56) == 56
    assert sides.pooled(2).centres().tolist() == [4, 20, 36]
    assert sides.pooled(2).end(56) == 44
