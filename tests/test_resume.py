"""Checkpoints, resume, and the runs that are refused."""

import fcntl
import glob
import io
import json
import os
import resource
import shutil

import pytest
import tensorflow as tf
from support import (
    SGD,
    checkpoint_bytes,
    graph_session,
    records,
    run_thin,
    tf1,
    thin_config,
)

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.checkpoint import CheckpointFolder, read_note
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.loop import train

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture
def finished(unbroken, tmp_path):
    """A copy of the folder of a run of 16 steps, to be spoilt."""
    folder = tmp_path / "finished"
    shutil.copytree(str(unbroken[0]), str(folder))
    return folder


@pytest.fixture
def small(tmp_path):
    """A session, its saver, and a folder with a checkpoint of step 1."""
    folder = CheckpointFolder(str(tmp_path))
    with graph_session() as session:
        tf1.get_variable("step", initializer=1)
        tf1.get_variable("kernel", initializer=tf.ones([300, 100]))
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver()
        folder.save(session, saver, 1, {})
        yield session, saver, folder


@pytest.fixture(scope="module")
def pieces(shallow, tiny_set, tmp_path_factory):
    """Folder, result and output of the run, of which kill -9 left 3 steps."""
    folder = tmp_path_factory.mktemp("pieces")
    run_thin(tiny_set, folder, max_steps=3)
    with open(str(folder / "metrics.jsonl"), "a") as file:
        for step in (4, 5):             # of steps that no checkpoint holds
            file.write(json.dumps({"kind": "step", "epoch": 1, "step": step,
                                   "train_loss": -1.0}) + "\n")
        file.write('{"kind": "step", "ep')                  # cut
    for name in ("model.ckpt-7.json", "model.ckpt-7.data-00000-of-00001",
                 "checkpoint.abc.part"):
        (folder / "Model" / name).write_text("half")
    return (folder,) + run_thin(tiny_set, folder, init="elsewhere")


def test_records_beyond_the_checkpoint_are_dropped(pieces):
    steps = records(pieces[0], "step")
    assert [record["step"] for record in steps] == list(range(1, 17))
    assert min(record["train_loss"] for record in steps) >= 0


def test_what_a_killed_process_left_is_removed(pieces):
    names = os.listdir(str(pieces[0] / "Model"))
    assert not [name for name in names if "-7" in name or "part" in name]


def test_init_of_a_run_that_goes_on_is_neither_read_nor_recorded(pieces):
    folder, result, output = pieces
    assert "--init 'elsewhere' is not read: the run in" in output
    for path in (str(folder / "config.json"), result.checkpoint + ".json"):
        with open(path) as file:
            known = json.load(file)
        assert known.get("config", known)["init"] == ""


class ReaderThatLeaves(io.StringIO):
    """As the pipe to `tee`, when Ctrl-C ends tee first."""

    def write(self, text):
        if "First step" in text:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.fixture(scope="module")
def anew(unbroken, tiny_set, tmp_path_factory):
    """Folder and result of 6 steps where checkpoints were moved away."""
    folder = tmp_path_factory.mktemp("anew") / "copy"
    shutil.copytree(str(unbroken[0]), str(folder))
    (folder / "Model").rename(folder / "Model.old")
    return folder, train(thin_config(
        tiny_set, folder, resume=False, max_steps=6, checkpoint_seconds=1e-6,
        **SGD), stream=ReaderThatLeaves())


def test_metrics_of_a_run_without_checkpoints_are_put_aside(anew, unbroken):
    aside, before = (folder / name for folder, name in (
        (anew[0], "metrics.1.jsonl"), (unbroken[0], "metrics.jsonl")))
    assert aside.read_text() == before.read_text()
    assert len(records(anew[0], "epoch")) == 1


def test_newest_three_checkpoints_are_kept(anew):
    folder, result = anew
    names = sorted(os.listdir(str(folder / "Model")))
    assert names == ["checkpoint"] + [
        "model.ckpt-{}.{}".format(step, ending) for step in (4, 5, 6)
        for ending in ("data-00000-of-00001", "index", "json")]
    assert tf1.train.latest_checkpoint(
        str(folder / "Model")) == result.checkpoint


def test_a_run_in_pieces_equals_an_unbroken_one(pieces, unbroken):
    assert checkpoint_bytes(pieces[1].checkpoint) == checkpoint_bytes(
        unbroken[1].checkpoint)
    timeless = [
        [{key: value for key, value in record.items() if "second" not in key}
         for kind in ("step", "epoch") for record in records(folder, kind)]
        for folder in (pieces[0], unbroken[0])]
    assert timeless[0] == timeless[1]


def test_a_run_keeps_the_name_that_its_first_process_gave_it(
        pieces, unbroken):
    """By which a job knows whether cache and bucket hold the same run."""
    names = [[json.loads(note.read_text())["run"]
              for note in (folder / "Model").glob("*.json")]
             for folder in (pieces[0], unbroken[0])]
    assert [len(each) for each in names] == [3, 2]      # checkpoints
    assert [len(set(each)) for each in names] == [1, 1]
    assert names[0][0] != names[1][0]


def test_crashes_while_saving_lose_nothing(small, monkeypatch):
    """The process ends before the 2nd and then before the 3rd file's name."""
    session, saver, folder = small
    step = tf1.global_variables("step")[0]
    session.run(step.assign(2).op)
    for files_in_place in (1, 2):
        synced = iter(range(files_in_place))
        monkeypatch.setattr(
            storage, "sync", lambda _, synced=synced: next(synced))
        with pytest.raises(StopIteration):
            folder.save(session, saver, 2, {})
        assert folder.steps() == [1]
    folder.restore(session, saver, 1)
    assert session.run(step.read_value()) == 1


@pytest.mark.slow
def test_the_end_by_max_steps_is_reported_after_a_crash(
        tiny_set, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("nonlocal_tf.training.report.Reporter.epoch",
                      lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            run_thin(tiny_set, tmp_path, max_steps=3, checkpoint_seconds=1e-6,
                     **SGD)
    _, output = run_thin(
        tiny_set, tmp_path, max_steps=3, checkpoint_seconds=1e-6, **SGD)
    assert output.count("Epoch: 1\tLoss:") == 1
    assert "Stopped by --max_steps after step 3 of 16" in output
    epoch, = records(tmp_path, "epoch")
    assert epoch["train_images"] == 24 and not epoch["complete"]


def test_a_finished_run_has_nothing_to_do(unbroken, tiny_set):
    before = checkpoint_bytes(unbroken[1].checkpoint)
    result, output = run_thin(tiny_set, unbroken[0])
    assert "nothing is left to do" in output
    assert result.exit_code == 0
    assert checkpoint_bytes(result.checkpoint) == before


@pytest.mark.slow
def test_a_finished_run_goes_on_to_more_epochs(finished, tiny_set):
    run_thin(tiny_set, finished, epoch=3)
    assert [record["step"] for record in records(finished, "step")] == list(
        range(1, 25))


@pytest.mark.parametrize("settings, names", [
    ({"seed": 1}, ["seed 0 (now 1)"]),
    ({"instantiation": "gaussian", "image_size": 30},
     ["image_size 28 (now 30)", "instantiation embedded_gaussian (now g"]),
    ({"non_local": "0"}, ["non_local res4:0 (now 0)"]),
    ({"batch_size": 4}, ["batch_size 8 (now 4)"]),
    ({"block": "paper"}, ["block pre_norm_cosine (now paper)"]),
    ({"augment": True}, ["augment False (now True)"]),
])
def test_a_checkpoint_of_other_settings_is_refused(
        unbroken, tiny_set, settings, names):
    before = checkpoint_bytes(unbroken[1].checkpoint)
    with pytest.raises(UserError) as error:
        run_thin(tiny_set, unbroken[0], epoch=3, **settings)
    for name in names:
        assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert checkpoint_bytes(unbroken[1].checkpoint) == before


def edit_note(folder, step, dropped=(), **settings):
    """Changes what a checkpoint's JSON file claims of its settings."""
    path = folder / "Model" / "model.ckpt-{}.json".format(step)
    note = json.loads(path.read_text())
    for part in (note["fixed"], note["config"]):
        part.update((name, value) for name, value in settings.items()
                    if name in part)
        for name in dropped:
            del part[name]
    path.write_text(json.dumps(note))


EARLIER = ("block", "augment")          # settings that versions did not have


@pytest.mark.slow
def test_a_checkpoint_of_before_goes_on_as_the_papers_block(
        tiny_set, tmp_path):
    """But for keys that were pooled otherwise, on maps of odd size.

    res4 is 2x2 at 28 pixels, where both do the same, and 3x3 at 40.
    """
    settings = dict(SGD, block="paper", sub_sample=True)
    run_thin(tiny_set, tmp_path, max_steps=1, **settings)
    edit_note(tmp_path, 1, EARLIER)
    with pytest.raises(UserError, match="block paper .now pre_norm_cosine"):
        run_thin(tiny_set, tmp_path, sub_sample=True, **SGD)
    result, _ = run_thin(tiny_set, tmp_path, max_steps=2, **settings)
    assert result.step == 2
    edit_note(tmp_path, 2, EARLIER, image_size=40)
    with pytest.raises(UserError, match="odd maps .res4.") as error:
        run_thin(tiny_set, tmp_path, image_size=40, **settings)
    assert "\n" not in str(error.value)


def test_a_note_with_settings_that_are_gone_is_read(finished):
    path = finished / "Model" / "model.ckpt-16.json"
    note = json.loads(path.read_text())
    note["config"].update(xla=False, deterministic=False, platform="npu",
                          affinity_mb=256,      # once every run's
                          loss_scale="fixed", loss_scale_value=8.0)
    note["fixed"]["loss_scale"] = "fixed"
    path.write_text(json.dumps(note))
    found = read_note(str(finished / "Model" / "model.ckpt-16"), "")
    assert TrainConfig(**found["config"]).loss_scale == "8"
    assert found["fixed"]["loss_scale"] == "8"


def test_a_checkpoint_of_other_variables_is_refused(small):
    with graph_session() as session:
        tf1.get_variable("kernel", initializer=tf.ones([100, 300]))
        tf1.get_variable("resnet/res3/non_local_0/scale", initializer=1.0)
        with pytest.raises(UserError) as error:
            small[2].restore(session, tf1.train.Saver(), 1)
    assert ("3 variables differ: missing resnet/res3/non_local_0/scale; extra "
            "step; kernel is [300, 100], not [100, 300]") in str(error.value)


def test_other_data_is_refused(tiny_set, finished):
    edit_note(finished, 16, data="00000000")
    with pytest.raises(UserError, match="data 00000000 .now "):
        run_thin(tiny_set, finished)


@pytest.mark.parametrize("content", [
    b"{", b"null", b'{"step": 16}', b'{"step": 2}'])
def test_a_damaged_note_is_one_line(tiny_set, finished, content):
    (finished / "Model" / "model.ckpt-16.json").write_bytes(content)
    with pytest.raises(UserError, match="go on from an earlier one") as error:
        run_thin(tiny_set, finished, epoch=3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_damaged_variables_are_one_line(small, tmp_path, ending):
    session, saver, folder = small
    (tmp_path / ("model.ckpt-1." + ending)).write_bytes(b"short")
    with pytest.raises(UserError, match="go on from an earlier one") as error:
        folder.restore(session, saver, 1)
    assert "\n" not in str(error.value)


def test_resume_false_leaves_earlier_checkpoints(unbroken, tiny_set):
    with pytest.raises(UserError, match="without checkpoints"):
        run_thin(tiny_set, unbroken[0], resume=False)


def test_a_reader_that_is_gone_does_not_end_the_run(anew):
    assert (anew[1].exit_code, anew[1].step) == (0, 6)


# What it refuses -----------------------------------------------------------

def test_a_loss_that_is_not_finite_stops_the_run(tiny_set, tmp_path):
    with pytest.raises(UserError, match="Lower --learning_rate") as error:
        run_thin(tiny_set, tmp_path, learning_rate=1e38, non_local="0", **SGD)
    assert "\n" not in str(error.value)
    assert not glob.glob(str(tmp_path / "Model" / "*.index"))


def test_weights_that_are_not_finite_are_not_saved(tiny_set, tmp_path):
    with pytest.raises(UserError, match="weights must be finite"):
        run_thin(tiny_set, tmp_path, learning_rate=3e38, max_steps=1,
                 non_local="0", **SGD)
    assert not glob.glob(str(tmp_path / "Model" / "*.index"))


def test_a_full_disk_leaves_the_earlier_checkpoint(small, tmp_path):
    """A limit on the size of files stands for the disk."""
    session, saver, folder = small
    before = checkpoint_bytes(folder.prefix(1))
    names = sorted(os.listdir(str(tmp_path)))
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, former[1]))
    try:
        with pytest.raises(UserError, match="Free some space") as error:
            folder.save(session, saver, 2, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert "step 2 could not be written" in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(os.listdir(str(tmp_path))) == names
    assert checkpoint_bytes(folder.prefix(1)) == before


def test_a_batch_larger_than_the_set_is_refused(tiny_set, tmp_path):
    with pytest.raises(UserError, match="1 to 70"):
        run_thin(tiny_set, tmp_path, batch_size=71)


def test_a_second_run_in_the_same_folder_is_refused(tiny_set, tmp_path):
    with open(str(tmp_path / ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another run is writing"):
            run_thin(tiny_set, tmp_path)


def test_a_file_in_place_of_train_url_is_refused(tiny_set, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UserError, match="--train_url must name a folder"):
        run_thin(tiny_set, path)
    assert path.read_text() == "mine"


def test_a_foreign_config_json_is_not_replaced(tiny_set, tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match="not of this program"):
        run_thin(tiny_set, tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("error, words", [
    (tf.errors.ResourceExhaustedError(None, None, "OOM"), "--micro_batch"),
    (MemoryError(), "--micro_batch"),
    (tf.errors.InternalError(None, None, "cuDNN is ill\nat x.cc:1"),
     "InternalError: cuDNN is ill"),
    (OSError(28, "No space left on device"), "Free some space"),
])
def test_what_the_machine_refuses_is_one_line(
        tiny_set, tmp_path, monkeypatch, error, words):
    def fail(*_):
        raise error

    monkeypatch.setattr("nonlocal_tf.training.loop.TrainGraph", fail)
    with pytest.raises(UserError, match=words) as caught:
        run_thin(tiny_set, tmp_path)
    assert "\n" not in str(caught.value)
