"""Networks of clips trained by the same loop as digits."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from support import (
    SGD,
    checkpoint_bytes,
    graph_session,
    records,
    set_values,
    tf1,
)
from video_sets import write_set

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms.gpu import Platform
from nonlocal_tf.training import initial, start
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import TrainGraph
from nonlocal_tf.training.loop import train

pytest.importorskip("cv2")
pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """One test video of them cannot be read."""
    folder = tmp_path_factory.mktemp("videos")
    paths = write_set(folder)
    (folder / "test 0.avi").write_text("")
    return paths


def run(lists, folder, **more):
    """Result and output of a short run."""
    stream = io.StringIO()
    result = train(TrainConfig(**dict(dict(
        network="tsm", data_url=lists[0], test_url=lists[1],
        train_url=str(folder), image_size=32, base_width=2, frames=4,
        non_local="res3:0", batch_size=4, epoch=2, learning_rate=0.02,
        log_steps=1, seed=1), **more)), stream)
    return result, stream.getvalue()


@pytest.fixture(scope="module")
def unbroken(lists, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        from nonlocal_tf.architecture import DEPTHS
        patch.setitem(DEPTHS, 50, (1, 1, 1, 1))
        return (folder,) + run(lists, folder)


def test_it_learns_and_says_what_it_does(unbroken):
    folder, result, output = unbroken
    assert result.step == 10 and result.exit_code == 0
    assert "TSM of mmaction2-1.x, ResNet-50 with non-local blocks" in output
    assert "22 training and 6 test clips" in output
    assert "Recipe mmaction2: sgd, rate 0.02 (published: 0.02 for 128" in output
    assert records(folder, "epoch")[1]["data_seconds"] > 0


def test_unreadable_test_videos_count_as_wrong(unbroken):
    output = unbroken[2]
    assert output.count(
        "of 6 unseen clips; 1 cannot be read and count as wrong") == 2
    assert "1 of 6 for the test (counted as wrong)" in output
    assert "it is empty" in output


@pytest.mark.slow
def test_a_run_in_pieces_equals_an_unbroken_one(lists, unbroken, tmp_path):
    """Dropout, clips and momentum included, with other threads."""
    run(lists, tmp_path, max_steps=3, workers=1)
    result, output = run(lists, tmp_path, workers=3)
    assert "Going on from" in output
    assert checkpoint_bytes(result.checkpoint) == checkpoint_bytes(
        unbroken[1].checkpoint)


def test_dropout_is_another_in_each_step_and_part():
    config = TrainConfig(
        network="tsm", image_size=32, base_width=2, classes=2, frames=4,
        non_local="0", batch_size=4, micro_batch="2", seed=7, **SGD)
    clip = np.random.RandomState(0).randint(0, 256, (1, 4, 32, 32, 3))
    with graph_session() as session:
        graph = TrainGraph(config, 10, Platform(config))
        session.run([graph.initialize, graph.prepare])
        kernel = graph.network.dense.kernel
        set_values(session, {kernel: np.random.RandomState(1).randn(
            *kernel.shape.as_list())})

        def losses(step):
            session.run(graph.step.assign(step).op)
            return [session.run(graph.totals, feed)[0] for feed in graph.feeds(
                clip.repeat(4, 0), np.zeros(4))]

        first, second, again = losses(0), losses(1), losses(0)
    assert first == again
    assert len(set(first + second)) == 4


def values(prefix):
    reader = tf1.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name)
            for name in reader.get_variable_to_shape_map()}


@pytest.fixture(scope="module")
def finished(unbroken):
    return str(unbroken[0])


@pytest.mark.slow
def test_init_takes_all_but_classifier_and_blocks_that_are_new(
        lists, finished, tmp_path):
    """And the same command goes on from its own checkpoint then."""
    more = {"init": finished, "classes": 5, "non_local": "res3:0;res4:0",
            "learning_rate": 1e-9}
    result, output = run(lists, tmp_path, max_steps=1, **more)
    assert result.step == 1
    line = next(line for line in output.split("\n") if "  new: " in line)
    assert "dense/kernel" in line and "res4/non_local_0" in line
    before, after = values(finished + "/Model/model.ckpt-10"), values(
        result.checkpoint)
    for name, value in after.items():
        if name.endswith("kernel") and not ("dense" in name or "res4/non" in (
                name)):
            np.testing.assert_allclose(value, before[name], atol=1e-7)
    assert after["video_resnet/dense/kernel"].shape == (64, 5)
    result, output = run(lists, tmp_path, max_steps=2, **more)
    assert "First weights" not in output and result.step == 2


@pytest.mark.slow
def test_init_of_another_network_is_refused(lists, finished, tmp_path):
    with pytest.raises(
            UserError, match="tensors differ: .*--base_width 2"):
        run(lists, tmp_path, init=finished, base_width=8)


def test_init_that_is_not_there_is_refused():
    with pytest.raises(
            UserError, match="--init 'nowhere': A checkpoint is three files"):
        initial.load(None, None, TrainConfig(init="nowhere"), (), None)


def test_first_weights_that_cannot_be_fetched_end_all_processes():
    """The others wait for rank 0, which hands its error on to them."""
    error = UserError("gone")

    def fetch():
        raise error

    began = start.find(
        TrainConfig(init="x"), SimpleNamespace(newest=lambda *_: None), {},
        SimpleNamespace(rank=0, size=2),
        SimpleNamespace(check_settings_file=lambda: None), fetch)
    assert began.failure is error


def test_init_of_a_folder_too_deep_names_the_right_one(tmp_path):
    (tmp_path / "Model").mkdir()
    for ending in ("data-00000-of-00001", "index", "json"):
        (tmp_path / "Model" / ("model.ckpt-3." + ending)).touch()
    with pytest.raises(UserError, match="Did you mean --init {}[?]".format(
            tmp_path)):
        initial.find(str(tmp_path / "Model"))
