"""Rates, decay, limits and recipes, against NumPy and published values."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, tf1

from nonlocal_tf.errors import UserError
from nonlocal_tf.layers import variable
from nonlocal_tf.training import optimizer
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import mean_loss


def rates(config, steps, total):
    with graph_session() as session:
        step = tf1.placeholder(tf.int64, [])
        rate = optimizer.learning_rate(config, step, total)
        return [float(session.run(tf.convert_to_tensor(rate), {step: each}))
                for each in steps]


def test_steps_divide_the_rate_by_ten():
    config = TrainConfig(lr_schedule="step", lr_steps="0.375,.75",
                         learning_rate=0.01)
    np.testing.assert_allclose(
        rates(config, [0, 374, 375, 749, 750, 999], 1000),
        [1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-6)


def test_cosine_after_a_warm_up():
    config = TrainConfig(lr_schedule="cosine", learning_rate=2.0, epoch=10,
                         warmup_epochs=2)
    cosine = [1 + np.cos(np.pi * step / 100) for step in (0, 10, 20, 50, 100)]
    np.testing.assert_allclose(
        rates(config, [0, 10, 20, 50, 100], 100),
        np.multiply(cosine, [0.1, 0.55, 1, 1, 1]), atol=1e-6)


@pytest.mark.parametrize("name", ["0.5,0.2", "1.5", "a", "0.5,", "0"])
def test_shares_that_are_none(name):
    with pytest.raises(UserError, match="--lr_steps must be rising shares"):
        TrainConfig(lr_schedule="step", lr_steps=name)


SHAPES = {"conv/kernel": [2, 3], "conv/bias": [3], "norm/gamma": [3],
          "norm/beta": [3], "dense/kernel": [3, 2], "dense/bias": [2]}
# Variable: factor of the rate, and whether it decays.
RULES = {
    "video-nonlocal-net": {name: (1, "norm" not in name) for name in SHAPES},
    "mmaction2": {
        "conv/kernel": (1, True), "conv/bias": (2, False),
        "norm/gamma": (1, False), "norm/beta": (1, False),
        "dense/kernel": (5, True), "dense/bias": (10, False)}}


@pytest.mark.parametrize("recipe, network, nesterov, limit", [
    ("video-nonlocal-net", "i3d", True, None), ("mmaction2", "tsm", False, 20)])
def test_three_steps_of_sgd(recipe, network, nesterov, limit):
    """PyTorch's SGD, whose momentum begins with the first gradient."""
    config = TrainConfig(network=network, recipe=recipe, weight_decay=0.01)
    random = np.random.RandomState(0)
    values = {name: random.randn(*shape).astype(np.float32)
              for name, shape in SHAPES.items()}
    gradients = [{name: 15 * random.randn(*shape).astype(np.float32)
                  for name, shape in SHAPES.items()} for _ in range(3)]
    with graph_session() as session:
        variables = [variable(tf.constant(values[name]), name)
                     for name in SHAPES]
        fed = [tf1.placeholder(tf.float32, shape) for shape in SHAPES.values()]
        step = optimizer.make(config, 0.1).apply_gradients(list(zip(
            optimizer.adjusted(config, fed, variables,
                               {"dense/kernel", "dense/bias"}), variables)))
        session.run(tf1.global_variables_initializer())
        for each in gradients:
            session.run(step, dict(zip(fed, each.values())))
        found = dict(zip(SHAPES, session.run(variables)))
    moving = dict.fromkeys(SHAPES, 0.0)
    for each in gradients:
        norm = np.sqrt(sum((value ** 2).sum() for value in each.values()))
        for name, (factor, decays) in RULES[recipe].items():
            gradient = each[name] * min(1, (limit or norm) / norm)
            gradient = gradient + decays * 0.01 * values[name]
            moving[name] = 0.9 * moving[name] + gradient
            values[name] = values[name] - factor * 0.1 * (
                gradient + 0.9 * moving[name] if nesterov else moving[name])
    for name in SHAPES:
        np.testing.assert_allclose(found[name], values[name], rtol=2e-5,
                                   err_msg=name)


def test_smoothed_labels():
    random = np.random.RandomState(0)
    logits, labels = random.randn(5, 7), np.array([0, 3, 6, 2, 2])
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = 0.9 * np.eye(7)[labels] + 0.1 / 7
    with graph_session() as session:
        found = session.run(mean_loss(
            tf.constant(logits, tf.float32), tf.constant(labels), 0.1))
    assert found == pytest.approx(-(target * log).sum(1).mean(), rel=1e-6)


@pytest.mark.parametrize("more, expected", [
    # Recipe of the protocol; 109 epochs of 3,666 steps are 399,600.
    ({"network": "i3d"}, (0.01, 64, 109, "0.375,0.75", 1e-4, 0, 0)),
    ({"network": "tsm"}, (0.02, 128, 50, "0.5,0.9", 1e-4, 20, 5)),
    ({"network": "tsm", "protocol": "mmaction2-0.x"},
     (0.01, 64, 50, "0.4,0.8", 1e-4, 20, 0)),
    ({"network": "i3d", "recipe": "mmaction2"},
     (0.01, 64, 100, "0.4,0.8", 1e-4, 40, 0)),
    ({"network": "c2d", "protocol": "paddle", "batch_size": 16},
     (0.0025, 16, 109, "0.375,0.75", 1e-4, 0, 0)),
    ({"network": "tsm", "optimizer": "adam", "epoch": 3},
     (1e-4, 128, 3, "0.5,0.9", 1e-4, 20, 5)),
    ({}, (1e-4, 128, 20, "", 0, 0, 0)),
])
def test_recipes_are_the_published_ones(more, expected):
    config = TrainConfig(**more)
    assert (config.learning_rate, config.batch_size, config.epoch,
            config.lr_steps, config.weight_decay, config.clip_norm,
            config.warmup_epochs) == expected


def test_a_settled_config_stays_as_it_is():
    config = TrainConfig(network="tsm", batch_size=8)
    assert config.learning_rate == 0.02 / 16
    assert dataclasses.replace(config, epoch=3).learning_rate == 0.02 / 16
