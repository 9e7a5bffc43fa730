"""The training run: what it prints, records, keeps, resumes and refuses."""

import fcntl
import glob
import io
import json
import os
import re
import resource

import numpy as np
import pytest
import tensorflow as tf
from support import checkpoint_bytes, graph_session, tf1

from nonlocal_tf.architecture import DEPTHS
from nonlocal_tf.data import batches, datasets
from nonlocal_tf.errors import UserError
from nonlocal_tf.resnet import ResNet
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import learning_rate
from nonlocal_tf.training.loop import train


@pytest.fixture(scope="module", autouse=True)
def shallow():
    """One bottleneck a stage in place of ResNet-50's 16: quick to build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DEPTHS, 50, (1, 1, 1, 1))
        yield


def config_for(tiny_set, folder, **settings):
    settings = dict(dict(
        epoch=2, batch_size=8, image_size=28, base_width=4,
        non_local="res4:0", learning_rate=3e-3, log_steps=1), **settings)
    return TrainConfig(data_url=tiny_set, train_url=str(folder), **settings)


def run(tiny_set, folder, **settings):
    """A `TrainResult` and what was printed."""
    stream = io.StringIO()
    result = train(config_for(tiny_set, folder, **settings), stream=stream)
    return result, stream.getvalue()


def records(folder, kind):
    with open(os.path.join(str(folder), "metrics.jsonl")) as file:
        return [record for record in map(json.loads, file)
                if record["kind"] == kind]


@pytest.fixture(scope="module")
def unbroken(tiny_set, tmp_path_factory):
    """Folder, result and output of a run of 2 epochs of 8 steps."""
    folder = tmp_path_factory.mktemp("unbroken")
    return (folder,) + run(tiny_set, folder)


# What it prints and records ------------------------------------------------

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
        network = ResNet(placement={"res4": (0,)}, image_size=28,
                         base_width=4)
        logits = network(tf.constant(data.test_images), is_training=False)
        tf1.train.Saver(network.variables).restore(session, result.checkpoint)
        right = session.run(logits).argmax(1) == data.test_labels
    epoch = records(folder, "epoch")[-1]
    assert epoch["test_accuracy"] == right.mean() == result.test_accuracy
    assert epoch["test_images"] == 23
    assert "({} of 23 unseen images)".format(right.sum()) in unbroken[2]


def test_it_learns_in_inference_mode_too(tiny_set, tmp_path):
    result, _ = run(tiny_set, tmp_path, epoch=12, log_steps=10)
    assert result.test_accuracy >= 0.9


def test_settings_are_kept(unbroken, tiny_set):
    with open(os.path.join(str(unbroken[0]), "config.json")) as file:
        assert TrainConfig(**json.load(file)) == config_for(
            tiny_set, unbroken[0])


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
    end = output.split("Finished 2 epochs")[1]
    for path in [result.checkpoint, "metrics.jsonl", "config.json", "events"]:
        assert path in end


@pytest.mark.parametrize("step, expected", [
    (0, 0.2), (25, 0.2 * 0.5 * (1 + np.cos(np.pi / 4))), (50, 0.1), (100, 0)])
def test_cosine_schedule(step, expected):
    config = TrainConfig(learning_rate=0.2, lr_schedule="cosine")
    with graph_session() as session:
        rate = session.run(learning_rate(config, tf.constant(step), 100))
    assert rate == pytest.approx(expected, abs=1e-6)


# Checkpoints and resume ----------------------------------------------------

def test_newest_three_checkpoints_are_kept(tiny_set, tmp_path):
    result, _ = run(tiny_set, tmp_path, checkpoint_seconds=1e-6, max_steps=6)
    names = sorted(os.listdir(str(tmp_path / "Model")))
    assert names == ["checkpoint"] + [
        "model.ckpt-{}.{}".format(step, ending) for step in (4, 5, 6)
        for ending in ("data-00000-of-00001", "index", "json")]
    assert tf1.train.latest_checkpoint(
        str(tmp_path / "Model")) == result.checkpoint


def test_a_run_in_pieces_equals_an_unbroken_one(unbroken, tiny_set, tmp_path):
    for steps in (3, 8, 13, 0):
        result, _ = run(tiny_set, tmp_path, max_steps=steps)
    assert checkpoint_bytes(result.checkpoint) == checkpoint_bytes(
        unbroken[1].checkpoint)
    timeless = [
        [{key: value for key, value in record.items() if "second" not in key}
         for kind in ("step", "epoch") for record in records(folder, kind)]
        for folder in (tmp_path, unbroken[0])]
    assert timeless[0] == timeless[1]


def test_max_steps_reports_the_part_of_the_epoch(tiny_set, tmp_path):
    _, output = run(tiny_set, tmp_path, max_steps=3)
    assert output.count("Epoch: 1\tLoss:") == 1
    assert "Stopped by --max_steps after step 3 of 16" in output
    epoch, = records(tmp_path, "epoch")
    assert epoch["train_images"] == 24 and not epoch["complete"]


def test_a_finished_run_has_nothing_to_do(unbroken, tiny_set):
    before = checkpoint_bytes(unbroken[1].checkpoint)
    result, output = run(tiny_set, unbroken[0])
    assert "nothing is left to do" in output
    assert result.exit_code == 0
    assert checkpoint_bytes(result.checkpoint) == before


def test_records_beyond_the_checkpoint_are_dropped(tiny_set, tmp_path):
    run(tiny_set, tmp_path, max_steps=8)
    with open(str(tmp_path / "metrics.jsonl"), "a") as file:
        for step in (9, 10):            # of steps that no checkpoint holds
            file.write(json.dumps({"kind": "step", "epoch": 2, "step": step,
                                   "train_loss": -1.0}) + "\n")
        file.write('{"kind": "step", "ep')                  # cut by kill -9
    run(tiny_set, tmp_path)
    steps = records(tmp_path, "step")
    assert [record["step"] for record in steps] == list(range(1, 17))
    assert min(record["train_loss"] for record in steps) >= 0


@pytest.mark.parametrize("settings, names", [
    ({"seed": 1}, ["seed 0 (now 1)"]),
    ({"instantiation": "gaussian", "image_size": 30},
     ["image_size 28 (now 30)", "instantiation embedded_gaussian (now g"]),
    ({"non_local": "0"}, ["non_local res4:0 (now 0)"]),
    ({"batch_size": 4}, ["batch_size 8 (now 4)"]),
])
def test_a_checkpoint_of_other_settings_is_refused(
        unbroken, tiny_set, settings, names):
    before = checkpoint_bytes(unbroken[1].checkpoint)
    with pytest.raises(UserError) as error:
        run(tiny_set, unbroken[0], epoch=3, **settings)
    for name in names:
        assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert checkpoint_bytes(unbroken[1].checkpoint) == before


def edit_note(folder, step, **settings):
    """Changes the settings that a checkpoint's JSON file claims."""
    path = str(folder / "Model" / "model.ckpt-{}.json".format(step))
    with open(path) as file:
        note = json.load(file)
    note["fixed"].update(settings)
    with open(path, "w") as file:
        json.dump(note, file)


def test_a_checkpoint_of_other_variables_is_refused(tiny_set, tmp_path):
    run(tiny_set, tmp_path, max_steps=1)
    edit_note(tmp_path, 1, non_local="res3:0")
    with pytest.raises(UserError) as error:
        run(tiny_set, tmp_path, non_local="res3:0")
    assert "missing resnet/res3/non_local_0/" in str(error.value)


def test_other_data_is_refused(tiny_set, tmp_path):
    run(tiny_set, tmp_path, max_steps=1)
    edit_note(tmp_path, 1, data="00000000")
    with pytest.raises(UserError, match="data 00000000 .now "):
        run(tiny_set, tmp_path)


@pytest.mark.parametrize("ending, content", [
    ("data-00000-of-00001", b"short"), ("index", b"short"), ("json", b"{")])
def test_a_damaged_checkpoint_is_one_line(tiny_set, tmp_path, ending, content):
    run(tiny_set, tmp_path, max_steps=1)
    path = tmp_path / "Model" / ("model.ckpt-1." + ending)
    path.write_bytes(content)
    with pytest.raises(UserError, match="go on from an earlier one") as error:
        run(tiny_set, tmp_path)
    assert "\n" not in str(error.value)


def test_resume_false_leaves_earlier_checkpoints(unbroken, tiny_set):
    with pytest.raises(UserError, match="without checkpoints"):
        run(tiny_set, unbroken[0], resume=False)


# What it refuses -----------------------------------------------------------

def test_a_loss_that_is_not_finite_stops_the_run(tiny_set, tmp_path):
    with pytest.raises(UserError, match="Lower --learning_rate") as error:
        run(tiny_set, tmp_path, learning_rate=1e38)
    assert "\n" not in str(error.value)
    assert not glob.glob(str(tmp_path / "Model" / "*.index"))


def test_weights_that_are_not_finite_are_not_saved(tiny_set, tmp_path):
    with pytest.raises(UserError, match="weights must be finite"):
        run(tiny_set, tmp_path, learning_rate=3e38, max_steps=1)
    assert not glob.glob(str(tmp_path / "Model" / "*.index"))


def test_a_full_disk_leaves_the_earlier_checkpoint(tiny_set, tmp_path):
    """A limit on the size of files stands for the disk."""
    result, _ = run(tiny_set, tmp_path, max_steps=2)
    before = checkpoint_bytes(result.checkpoint)
    names = sorted(os.listdir(str(tmp_path / "Model")))
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, former[1]))
    try:
        with pytest.raises(UserError, match="Free some space") as error:
            run(tiny_set, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert "step 8 could not be written" in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(os.listdir(str(tmp_path / "Model"))) == names
    assert checkpoint_bytes(result.checkpoint) == before


def test_a_batch_larger_than_the_set_is_refused(tiny_set, tmp_path):
    with pytest.raises(UserError, match="1 to 70"):
        run(tiny_set, tmp_path, batch_size=71)


def test_a_second_run_in_the_same_folder_is_refused(tiny_set, tmp_path):
    with open(str(tmp_path / ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another run is writing"):
            run(tiny_set, tmp_path)


def test_a_file_in_place_of_train_url_is_refused(tiny_set, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UserError, match="--train_url must name a folder"):
        run(tiny_set, path)
    assert path.read_text() == "mine"


def test_every_epoch_has_an_order_of_its_own():
    images = np.zeros((70, 28, 28, 1), np.uint8)
    seen = [[label for _, labels in batches.train_batches(
        images, np.arange(70), 8, 0, epoch) for label in labels]
        for epoch in (1, 2)]
    assert seen[0] != seen[1]
    assert all(len(set(labels)) == 64 for labels in seen)
