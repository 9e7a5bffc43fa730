"""Steps in parts: means of gradients, what is kept, and going on."""

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support import (
    SGD,
    checkpoint_bytes,
    records,
    run_thin,
    tf1,
    thin_config,
)

from nonlocal_tf import attention
from nonlocal_tf.platforms.gpu import Platform
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import TrainGraph


def random_batch(size, seed=0):
    random = np.random.RandomState(seed)
    return (random.randint(0, 256, (size, 28, 28, 1)).astype(np.uint8),
            random.randint(0, 10, size).astype(np.int32))


@functools.lru_cache(maxsize=None)
def built(size, parts, **settings):
    """Graph, `TrainGraph`, and tensors of all its variables by name."""
    config = thin_config(
        "", "x", batch_size=size, micro_batch=str(size // parts),
        non_local="res3:0", **dict(SGD, **settings))
    with tf.Graph().as_default() as where:
        graph = TrainGraph(config, 10, Platform(config))
        return where, graph, {
            each.op.name: each.read_value()
            for each in tf1.global_variables() + graph._kept}


def one_step(images, labels, parts=1, **settings):
    """Totals, and variables by name, after a step from the same start."""
    where, graph, variables = built(len(labels), parts, **settings)
    with tf1.Session(graph=where) as session:
        session.run([graph.initialize, graph.prepare])
        *earlier, last = graph.feeds(images, labels)
        for feed in earlier:
            session.run(graph.accumulate, feed)
        _, totals = session.run([graph.train_op, graph.totals], last)
        return totals, session.run(variables)


def first_gradients(values):
    """Momentum's, the gradients of the first step."""
    found = {name[:-len("/Momentum")]: value for name, value in values.items()
             if name.endswith("/Momentum")}
    assert found
    return found


def distance(a, b):
    """Between two dictionaries of arrays, over the norm of the second."""
    return (sum(np.sum((a[name] - b[name]) ** 2) for name in b)
            / sum(np.sum(b[name] ** 2) for name in b)) ** 0.5


@pytest.fixture(scope="module")
def in_parts(shallow):
    """A batch of different halves, and its step in two parts."""
    batch = random_batch(8)
    return batch, one_step(*batch, parts=2)


@pytest.fixture(scope="module")
def plain(shallow):
    """A batch of equal halves, and its step in one part, the plain way."""
    images, labels = random_batch(4)
    batch = np.tile(images, (2, 1, 1, 1)), np.tile(labels, 2)
    return batch, one_step(*batch, plain=True)


def test_gradients_are_the_mean_of_those_of_the_parts(in_parts):
    (images, labels), (totals, values) = in_parts
    halves = [one_step(images[part], labels[part])
              for part in (slice(0, 4), slice(4, 8))]
    assert totals[0] == pytest.approx(
        (halves[0][0][0] + halves[1][0][0]) / 2, rel=1e-5)
    assert totals[1] == halves[0][0][1] + halves[1][0][1]
    found = [first_gradients(half[1]) for half in halves]
    expected = {name: (found[0][name] + found[1][name]) / 2
                for name in found[0]}
    assert distance(first_gradients(values), expected) < 1e-4


def test_equal_parts_are_a_step_of_the_whole_batch(plain):
    """Batch norm sees the same statistics in each part and in the whole."""
    batch, whole = plain
    in_parts = one_step(*batch, parts=2)
    np.testing.assert_allclose(in_parts[0], whole[0], rtol=1e-5)
    assert distance(*(first_gradients(each[1]) for each in (
        in_parts, whole))) < 1e-3
    moving = [{name: value for name, value in each[1].items()
               if name.endswith("moving_mean")}
              for each in (in_parts, whole)]
    assert distance(*moving) < 1e-4


def test_all_fast_paths_together_equal_the_plain_way(plain, monkeypatch):
    """A whole step, with affinities in chunks as well."""
    batch, slow = plain
    monkeypatch.setattr(TrainConfig, "affinity_limit", lambda *_: 0)
    monkeypatch.setattr(attention, "CHUNK_BYTES", 4 * 8 * 4)
    fast = one_step(*batch, plain=False)
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-5)
    assert distance(first_gradients(fast[1]), first_gradients(slow[1])) < 1e-3


def test_what_is_kept_of_parts_is_cleared_by_the_step(in_parts):
    kept = [value for name, value in in_parts[1][1].items()
            if "kept_" in name]
    assert kept and not any(value.any() for value in kept)


@pytest.fixture(scope="module")
def whole(shallow, tiny_set, tmp_path_factory):
    """Folder and result of 8 steps in parts of 4 images, the last 3 saved."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_thin(tiny_set, folder, epoch=1, micro_batch="4",
                            checkpoint_seconds=1e-6, **SGD)[0]


@pytest.fixture
def cut(whole, tmp_path):
    """A copy of what a process had left that was killed after 6 steps."""
    folder = tmp_path / "cut"
    shutil.copytree(str(whole[0]), str(folder))
    for step in (7, 8):
        for path in (folder / "Model").glob("model.ckpt-{}.*".format(step)):
            path.unlink()
    return folder


@pytest.mark.slow
def test_a_run_in_parts_killed_and_gone_on_ends_as_an_unbroken_one(
        cut, whole, tiny_set):
    result, text = run_thin(tiny_set, cut, epoch=1, **SGD)   # parts as before
    assert "4 of 8 images at a time" in text and "model.ckpt-6" in text
    expected = checkpoint_bytes(whole[1].checkpoint)
    assert checkpoint_bytes(result.checkpoint) == expected
    assert not any("kept_" in name for name in expected)


@pytest.mark.slow
def test_other_parts_and_rate_are_said_and_every_image_counts_once(
        cut, tiny_set):
    _, text = run_thin(tiny_set, cut, micro_batch="2", epoch=1,
                       learning_rate=1e-3, **SGD)
    assert "micro_batch 2 (was 4)" in text
    assert "learning_rate 0.001 (was 0.003)" in text
    epoch, = records(cut, "epoch")[-1:]
    assert epoch["test_images"] == 23
