"""The training run: what it prints and records, and that it is true."""

import glob
import json
import os
import re
import types

import numpy as np
import pytest
import tensorflow as tf
from support import (
    graph_session,
    records,
    run_thin,
    tf1,
    thin_config,
)

from nonlocal_tf import tasks
from nonlocal_tf.data import augment, batches, datasets
from nonlocal_tf.networks.digits import ResNet
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.evaluate import evaluate
from nonlocal_tf.training.optimizer import learning_rate

pytestmark = pytest.mark.usefixtures("shallow")


def test_epoch_line_has_the_known_format(unbroken):
    lines = [line for line in unbroken[2].split("\n") if "Loss" in line]
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert re.match(
            r"^Epoch: {}\tLoss:\d+\.\d{{9}}\tAccuarcy: \d+\.\d\d%"
            r"\t sec:\d+\.\d\d$".format(number), line)


def test_existing_scripts_read_loss_and_accuracy(unbroken):
    """The field rules of ModelZoo's scripts: 5th field, text after Loss:."""
    last = [line for line in unbroken[2].split("\n") if "Accuarcy" in line][-1]
    epoch = records(unbroken[0], "epoch")[-1]
    assert float(last.split()[4].rstrip("%")) == pytest.approx(
        100 * epoch["train_accuracy"], abs=0.005)
    assert float(last.split("Loss:")[1][:11]) == pytest.approx(
        epoch["train_loss"], abs=1e-8)


def test_no_other_line_matches_existing_scripts(unbroken):
    for line in unbroken[2].split("\n"):
        if not line.startswith("Epoch: "):
            for word in ("Loss", "loss:", "Accuarcy", "global_step"):
                assert word not in line


def test_epoch_values_are_means_over_the_images_trained_on(unbroken):
    for epoch in records(unbroken[0], "epoch"):
        losses = [step["train_loss"] for step in records(unbroken[0], "step")
                  if step["epoch"] == epoch["epoch"]]
        assert len(losses) == 8
        assert epoch["train_images"] == 64
        assert epoch["train_loss"] == pytest.approx(np.mean(losses), rel=1e-9)


def test_test_accuracy_is_that_of_every_test_image_once(unbroken, tiny_set):
    """All 23 images in one batch, by a network of its own."""
    folder, result, _ = unbroken
    data = datasets.load("mnist", tiny_set)
    with graph_session() as session:
        network = network_at(session, result.checkpoint)
        logits = session.run(network(
            tf.constant(data.test_images), is_training=False))
    right = logits.argmax(1) == data.test_labels
    epoch = records(folder, "epoch")[-1]
    assert epoch["test_loss"] == pytest.approx(
        cross_entropy(logits, data.test_labels).mean(), rel=1e-4)
    assert epoch["test_accuracy"] == right.mean() == result.test_accuracy
    assert epoch["test_images"] == 23
    assert "({} of 23 unseen images)".format(right.sum()) in unbroken[2]


def test_what_fills_the_last_batch_is_not_counted():
    """A network that calls all a 0 is right where that is the label."""
    labels = np.array([0, 1, 0, 2, 0])
    data = types.SimpleNamespace(
        test_images=np.zeros([5, 28, 28, 1], np.uint8), test_labels=labels)
    graph = types.SimpleNamespace(attention=tf.zeros([1, 4, 4]), **{
        name: name for name in ("average_statistics", "test_losses",
                                "test_predictions", "images", "labels")})
    session = types.SimpleNamespace(run=lambda _, feed=None: feed and (
        np.ones(4), np.zeros(4, np.int32), np.zeros([1, 4, 4])))
    found = evaluate(
        session, graph, thin_config("", "x", micro_batch="4"), data,
        types.SimpleNamespace(rank=0, size=1), lambda _: True)
    assert (found.correct, found.images, found.read) == (3, 5, 5)
    assert found.loss == 1 and found.attention.shape == (1, 5, 4)


def test_settings_are_kept(unbroken, tiny_set):
    with open(os.path.join(str(unbroken[0]), "config.json")) as file:
        assert TrainConfig(**json.load(file)) == thin_config(
            tiny_set, unbroken[0], micro_batch="8",     # what auto chose
            digit_size=28, classes=10)                  # the data's


def test_tensorboard_gets_losses_accuracies_and_speed(unbroken):
    tags = {}
    for path in glob.glob(os.path.join(str(unbroken[0]), "events", "*")):
        for event in tf1.train.summary_iterator(path):
            for value in event.summary.value:
                tags.setdefault(value.tag, []).append(event.step)
    assert tags["epoch/test_accuracy"] == [8, 16]
    assert tags["epoch/train_loss"] == tags["epoch/train_accuracy"] == [8, 16]
    assert tags["step/train_loss"] == list(range(1, 17))
    assert tags["epoch/images_per_second"] == [8, 16]


def test_the_end_says_where_everything_is(unbroken):
    folder, result, output = unbroken
    end = output.split("Finished epoch 2")[1]
    for path in [result.checkpoint, "metrics.jsonl", "config.json", "events"]:
        assert path in end


@pytest.mark.parametrize("step, expected", [
    (0, 0.2), (25, 0.2 * 0.5 * (1 + np.cos(np.pi / 4))), (50, 0.1), (100, 0)])
def test_cosine_schedule(step, expected):
    config = TrainConfig(learning_rate=0.2, lr_schedule="cosine")
    with graph_session() as session:
        rate = session.run(learning_rate(config, tf.constant(step), 100))
    assert rate == pytest.approx(expected, abs=1e-6)

# What the numbers mean: weights that stay make every step computable -------

def network_at(session, prefix):
    """A network of `thin_config`'s form with a checkpoint's values."""
    network = ResNet(placement={"res4": (0,)}, image_size=28, base_width=4,
                     pre_norm=True, cosine=True)
    tf1.train.Saver(network.variables).restore(session, prefix)
    return network


def cross_entropy(logits, labels):
    """[B, 10], [B] -> [B], in float64."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -logs[np.arange(len(labels)), labels]


@pytest.fixture(scope="module")
def still(shallow, tiny_set, tmp_path_factory):
    """Three of 8 steps by seed 7, so small that no weight but 0 moves.

    Folder, result, and the images and labels of each step.
    """
    folder = tmp_path_factory.mktemp("still")
    result, _ = run_thin(
        tiny_set, folder, epoch=1, max_steps=3, seed=7, learning_rate=1e-30,
        lr_schedule="cosine", checkpoint_seconds=1e-9)
    data = datasets.load("mnist", tiny_set)
    order = np.random.RandomState([7, 1]).permutation(70)[:24]
    return folder, result, [
        (data.train_images[part], data.train_labels[part])
        for part in order.reshape(3, 8)]


def still_values(still, step, *names):
    """Of some variables after a step."""
    reader = tf1.train.load_checkpoint(
        str(still[0] / "Model" / "model.ckpt-{}".format(step)))
    return [reader.get_tensor(name) for name in names]


def test_train_loss_and_accuracy_are_those_of_the_batches(still):
    folder, result, parts = still
    losses, right = [], []
    with graph_session() as session:
        network = network_at(session, result.checkpoint)
        images = tf1.placeholder(tf.uint8, [8, 28, 28, 1])
        logits = network(images, is_training=True)
        for batch, labels in parts:
            values = session.run(logits, {images: batch})
            losses.append(cross_entropy(values, labels).mean())
            right.append((values.argmax(1) == labels).mean())
    epoch, = records(folder, "epoch")
    assert epoch["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert epoch["train_accuracy"] == pytest.approx(np.mean(right))
    assert [step["train_loss"] for step in records(folder, "step")] == (
        pytest.approx(losses, rel=1e-4))


def test_moving_statistics_warm_up_in_the_trainer(still):
    """The first norm's mean, from the batches' means and 0.1, 2/11, 3/12."""
    _, result, parts = still
    expected = 0.0
    with graph_session() as session:
        network = network_at(session, result.checkpoint)
        images = tf1.placeholder(tf.uint8, [8, 28, 28, 1])
        stem = network.stem(tf.cast(images, tf.float32) / 255.0)
        for (batch, _), momentum in zip(parts, (1 / 10, 2 / 11, 3 / 12)):
            mean = session.run(stem, {images: batch}).mean((0, 1, 2))
            expected = momentum * expected + (1 - momentum) * mean
        moving = session.run(network.stages[0].steps[0].norm1.moving_mean)
    np.testing.assert_allclose(moving, expected, atol=1e-5)


def test_every_epoch_has_an_order_of_its_own():
    images = np.zeros((70, 28, 28, 1), np.uint8)
    seen = [[label for _, labels in batches.train_batches(
        images, np.arange(70), 8, 0, epoch) for label in labels]
        for epoch in (1, 2)]
    assert seen[0] != seen[1]
    assert all(len(set(labels)) == 64 for labels in seen)


@pytest.mark.parametrize("flag", [False, True])
def test_the_flag_augments_by_seed_epoch_and_index(tiny_set, flag):
    config = thin_config(tiny_set, "x", seed=7, augment=flag)
    data = datasets.load("mnist", tiny_set)
    order = np.random.RandomState([7, 2]).permutation(70)[8:16]
    images, labels = next(tasks.of(config).train_batches(
        config, data, epoch=2, start=1, rank=0, ranks=1))
    np.testing.assert_array_equal(labels, data.train_labels[order])
    plain = data.train_images[order]
    np.testing.assert_array_equal(
        images, augment.augmented(plain, 7, 2, order) if flag else plain)


def test_the_seed_decides_on_the_first_weights(still, unbroken):
    """Equal ones by equal seeds: see test_resume.py.

    Adam moved those of seed 0 by 16 times 3e-3 or so.
    """
    first, other = (tf1.train.load_checkpoint(prefix).get_tensor(
        "resnet/stem/kernel") for prefix in (
            still[1].checkpoint, unbroken[1].checkpoint))
    assert np.abs(first - other).max() > 0.3


def test_the_optimizer_is_adam_with_its_usual_decays(still):
    """After a step m = (1 - 0.9) g and v = (1 - 0.999) g^2: v = 0.1 m^2."""
    for name in ("resnet/stem/kernel", "resnet/dense/bias"):
        first, second = still_values(
            still, 1, name + "/Adam", name + "/Adam_1")
        assert np.abs(first).max() > 0
        np.testing.assert_allclose(second, 0.1 * first ** 2, rtol=1e-3)
    assert still_values(still, 1, "beta1_power", "beta2_power") == (
        pytest.approx([0.9 ** 2, 0.999 ** 2]))


def test_the_cosine_reaches_the_optimizer(still):
    """The third step, after 2 of 8, of biases that were 0."""
    name = "resnet/dense/bias"
    before, = still_values(still, 2, name)
    after, first, second = still_values(
        still, 3, name, name + "/Adam", name + "/Adam_1")
    rate = 1e-30 * 0.5 * (1 + np.cos(np.pi * 2 / 8))
    np.testing.assert_allclose(
        before - after, rate * (first / (1 - 0.9 ** 3))
        / np.sqrt(second / (1 - 0.999 ** 3)), rtol=1e-3)
