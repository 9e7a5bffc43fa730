"""Weights of other systems: in, out, compared, and what is refused."""

import contextlib
import io
import json
import os

import numpy as np
import pytest
import rule
import video_support

import freeze_pb
from nonlocal_tf import classify, convert, trained
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.weights import checkpoints, files, mapping, names, writers

pytestmark = pytest.mark.usefixtures("shallow")
PLACES = {"res3": (0,), "res4": (0,)}
FLAGS = ["--image_size", "48", "--instantiation", "embedded_gaussian"]


@pytest.fixture(scope="module")
def converted(shallow, tmp_path_factory):
    """A file by rule, its tensors, the checkpoint of it, and what was said.

    The file has one tensor more, which no network has.
    """
    folder = tmp_path_factory.mktemp("converted")
    path, run = str(folder / "thin.pth"), str(folder / "run")
    tensors = video_support.thin_file(path, places=PLACES)
    writers.write_torch(path, dict(tensors, **{
        "ema.extra": np.ones(3, np.float32)}))
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert convert.main([path, "--train_url", run] + FLAGS) == 0
    return path, tensors, run, said.getvalue()


def test_the_note_has_the_protocol_and_the_places(converted):
    found = trained.find(converted[2])
    assert found.step == 0
    assert (found.config.network, found.config.protocol) == (
        "tsm", "mmaction2-1.x")
    assert found.config.non_local == "res3:0;res4:0"
    assert found.note["converted"]["system"] == "mmaction2"


def test_there_and_back_is_equal_bit_by_bit(converted, tmp_path):
    path = str(tmp_path / "back.pth")
    assert convert.main(["--to", "mmaction2", path, "--train_url",
                         converted[2]]) == 0
    back = files.read(path).tensors
    assert set(back) == set(converted[1])
    for name, value in converted[1].items():
        np.testing.assert_array_equal(back[name], value)


def test_batch_norms_fold_into_the_scales_of_the_authors_converter():
    random = np.random.RandomState(0)
    gamma, beta, mean, variance = random.uniform(0.5, 2, (4, 5)).astype("f")
    folded = mapping.fold({
        "stem/norm/gamma": gamma, "stem/norm/beta": beta,
        "stem/norm/moving_mean": mean, "stem/norm/moving_variance": variance})
    x = random.randn(5).astype("f")
    np.testing.assert_allclose(
        folded["stem/norm/gamma"] * x + folded["stem/norm/beta"],
        (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, rtol=1e-5)
    assert len(folded) == 2


def test_frozen_norms_leave_the_blocks_theirs():
    config = TrainConfig(network="i3d", frozen_norm=True, base_width=4,
                         block_norm="batch", non_local="res3:0")
    shapes = checkpoints.shapes(config)
    assert "res3/non_local_0/norm/moving_mean" in shapes
    assert "res3/bottleneck_0/norm1/moving_mean" not in shapes


def test_paddles_affine_blocks_have_names_of_their_own():
    traits = names.Traits({"res3": (1,)}, grouped=True, affine=True)
    scope = "res3/non_local_1/norm/"
    assert names.theirs("paddle", scope + "gamma", traits) == (
        "nonlocal_conv3_group_1_affine_s")
    assert names.theirs("paddle", scope + "moving_mean", traits) is None


def test_a_network_with_groups_can_be_frozen(tmp_path):
    run = str(tmp_path / "run")
    checkpoints.write(TrainConfig(
        network="i3d", frozen_norm=True, frames=16, frame_interval=1,
        base_width=2, non_local="res3:0", image_size=32, train_url=run,
        classes=3), {}, {})
    assert freeze_pb.main(["--train_url", run, "--batchsize", "2"]) == 0


def test_groups_take_frames_by_four():
    with pytest.raises(UserError, match="multiple of 4"):
        TrainConfig(network="i3d", frozen_norm=True, frames=20,
                    frame_interval=1, non_local="res3:0")   # res3 gets 10


def refused(capsys, *arguments):
    assert convert.main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    return lines[-1]


def test_what_a_file_cannot_tell_is_asked_for(converted, tmp_path, capsys):
    line = refused(capsys, converted[0], "--train_url", str(tmp_path / "run"))
    assert "--instantiation" in line
    assert not os.path.exists(str(tmp_path / "run"))


def refused_with(more, converted, tmp_path, capsys):
    """What is said of the file with other tensors; None: without one."""
    path = str(tmp_path / "other.pth")
    writers.write_torch(path, {
        name: value for name, value in dict(converted[1], **more).items()
        if value is not None})
    return refused(capsys, path, "--train_url", str(tmp_path / "run"), *FLAGS)


def test_a_missing_tensor_is_named(converted, tmp_path, capsys):
    line = refused_with({"backbone.layer2.0.block.conv2.conv.weight": None},
                        converted, tmp_path, capsys)
    assert "no backbone.layer2.0.block.conv2.conv.weight" in line
    assert not os.path.exists(str(tmp_path / "run"))


def test_a_tensor_of_another_shape_is_named(converted, tmp_path, capsys):
    line = refused_with({
        "backbone.layer4.0.conv3.bn.weight": np.ones(3, np.float32)},
        converted, tmp_path, capsys)
    assert "backbone.layer4.0.conv3.bn.weight is [3]" in line


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tensor_that_is_not_finite_is_named(
        converted, tmp_path, capsys, value):
    name = "backbone.layer4.0.conv3.bn.bias"
    other = converted[1][name].copy()
    other[-1] = value
    line = refused_with({name: other}, converted, tmp_path, capsys)
    assert "others are in " + name + "." in line
    assert not os.path.exists(str(tmp_path / "run"))


def test_a_tensor_that_is_not_used_is_shown(converted):
    assert "unused: ema.extra" in converted[3]


def test_a_tensor_of_the_network_that_is_not_used_is_refused(
        converted, tmp_path, capsys):
    line = refused_with({
        "backbone.layer2.0.conv9.bias": np.ones(3, np.float32)},
        converted, tmp_path, capsys)
    assert "nothing for backbone.layer2.0.conv9.bias" in line


@pytest.mark.parametrize("flags, part", [
    (["--protocol", "paddle"], "mmaction2-1.x"), (["--affine"], "frozen"),
    (["--non_local", "5"], "left out")])
def test_what_contradicts_the_file_is_refused(converted, tmp_path, capsys,
                                              flags, part):
    assert part in refused(
        capsys, converted[0], "--train_url", str(tmp_path / "run"), *FLAGS,
        *flags)


def test_a_new_head_keeps_the_rest(converted, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert convert.main([converted[0], "--train_url", run, "--new_head", "3"]
                        + FLAGS) == 0
    assert "new, at their start: dense/" in capsys.readouterr().out
    _, before = checkpoints.read(converted[2])
    config, after = checkpoints.read(run)
    assert config.classes == 3 and after["dense/kernel"].shape == (256, 3)
    np.testing.assert_array_equal(
        before["res5/bottleneck_0/conv3/kernel"],
        after["res5/bottleneck_0/conv3/kernel"])


def test_a_network_of_another_system_is_not_written_out(converted, tmp_path,
                                                        capsys):
    line = refused(capsys, "--to", "caffe2", str(tmp_path / "x.pkl"),
                   "--train_url", converted[2])
    assert "mmaction2-1.x" in line and not os.path.exists(
        str(tmp_path / "x.pkl"))


def test_a_folder_with_a_checkpoint_is_left_alone(converted, capsys):
    line = refused(capsys, converted[0], "--train_url", converted[2], *FLAGS)
    assert "without checkpoints" in line


def test_images_weights_are_inflated(tmp_path):
    shapes = {"conv1.weight": (8, 3, 7, 7), "fc.weight": (5, 256),
              "fc.bias": (5,)}
    for stage, (length, width) in enumerate(
            zip((1, 1, 1, 1), (8, 16, 32, 64)), 1):
        for index in range(length):
            scope = "layer{}.{}.".format(stage, index)
            inputs = 4 * width if index else max(8, 2 * width) if (
                stage > 1) else 8
            for number, shape in enumerate((
                    (width, inputs, 1, 1), (width, width, 3, 3),
                    (4 * width, width, 1, 1)), 1):
                shapes["{}conv{}.weight".format(scope, number)] = shape
                shapes["{}bn{}".format(scope, number)] = shape[:1]
            if not index:
                shapes[scope + "downsample.0.weight"] = (
                    4 * width, inputs, 1, 1)
                shapes[scope + "downsample.1"] = (4 * width,)
    shapes["bn1"] = (8,)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith(("weight", "bias")):
            tensors[name] = rule.tensor(name, shape)
        else:
            for part in ("weight", "bias", "running_mean", "running_var"):
                tensors[name + "." + part] = np.ones(shape, np.float32)
    path, run = str(tmp_path / "resnet50.pth"), str(tmp_path / "run")
    writers.write_torch(path, tensors)
    assert convert.main([path, "--network", "i3d", "--train_url", run,
                         "--non_local", "res3:0"]) == 0
    _, values = checkpoints.read(run)
    stem = values["stem/conv/kernel"].reshape(7, 7, 5, 3, 8)
    for tap in range(5):
        np.testing.assert_allclose(
            stem[:, :, tap].transpose(3, 2, 0, 1),
            tensors["conv1.weight"] / 5, rtol=1e-6)
    np.testing.assert_allclose(
        values["res2/bottleneck_0/conv1/kernel"].sum((0, 1)).T,
        tensors["layer1.0.conv1.weight"][:, :, 0, 0], rtol=1e-5)
    assert not values["res3/non_local_0/norm/gamma"].any()


def dump(converted):
    """What the other system would write, by its own names, from our layers."""
    import tensorflow as tf
    from support import graph_session

    from nonlocal_tf.tasks import make_network
    found = trained.find(converted[2])
    clip = rule.clips(1, 8, 48)
    with graph_session() as session:
        network, layers = make_network(found.config), []
        logits = network(tf.constant(clip), is_training=False, layers=layers)
        video_support.load(session, network, converted[1])
        values, logits = session.run([dict(layers), logits])
    from nonlocal_tf.weights import parity
    arrays = {"clip": clip, "logits": logits}
    for name, value in values.items():
        arrays["layer/" + parity.layer_names("mmaction2", name)[0]] = (
            value.transpose(0, 3, 1, 2))
    return arrays


def test_a_dump_that_departs_is_named_where_it_begins(converted, tmp_path,
                                                      capsys):
    path, arrays = str(tmp_path / "dump.npz"), dump(converted)
    np.savez(path, **arrays)
    arguments = ["--compare", path, "--train_url", converted[2]]
    assert convert.main(arguments) == 0
    assert "agree" in capsys.readouterr().out
    arrays["layer/backbone.layer3.0.block"] += 1
    np.savez(path, **arrays)
    assert convert.main(arguments) == 1
    assert "first that departs is res4/bottleneck_0" in capsys.readouterr().out


@pytest.mark.parametrize("system", ["mmaction2", "caffe2", "paddle",
                                    "mindspore"])
def test_the_dump_scripts_are_python(system, capsys):
    assert convert.main(["--print_dump_script", system]) == 0
    compile(capsys.readouterr().out, system, "exec")


@pytest.mark.parametrize("name, value, part", [
    ("wrong.npy", np.zeros((8, 48, 48, 3), np.float32), "uint8"),
    ("few.npy", np.zeros((7, 48, 48, 3), np.uint8), "8 frames"),
    ("small.npy", np.zeros((8, 16, 48, 3), np.uint8), "32 x 32"),
    ("objects.npy", np.array([{}]), "Python objects")])
def test_clips_that_cannot_be_taken_are_one_line(converted, tmp_path, capsys,
                                                 name, value, part):
    path = str(tmp_path / name)
    np.save(path, value)
    assert classify.main([path, "--train_url", converted[2]]) == 2
    assert part in capsys.readouterr().err


def test_an_archive_is_no_clip(converted, tmp_path, capsys):
    np.savez(str(tmp_path / "x.npz"), clip=np.zeros(3))
    assert classify.main([str(tmp_path / "x.npz"),
                          "--train_url", converted[2]]) == 2
    assert "must be a .npy file" in capsys.readouterr().err


def test_the_others_are_answered(converted, tmp_path):
    np.save(str(tmp_path / "good.npy"), rule.clips(1, 8, 64)[0])
    out = str(tmp_path / "out.json")
    assert classify.main([
        str(tmp_path / "absent.npy"), str(tmp_path / "good.npy"),
        "--train_url", converted[2], "--json", out, "--top", "2"]) == 1
    with open(out, encoding="utf-8") as file:
        absent, good = json.load(file)
    assert "error" in absent and len(good["probabilities"]) == 20
    assert [row["class"] for row in good["top"]] == list(
        np.argsort(good["probabilities"])[::-1][:2])
