"""Weights of other systems: in, out, compared, and what is refused."""

import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import peer_mmaction2
import pytest
import rule
import video_support
from support import ROOT, shell_lines

from nonlocal_tf import classify, convert, trained
from nonlocal_tf.weights import checkpoints, files, mapping, names, writers

slow = pytest.mark.slow
FILES = {                   # with --flags, and what has the right answer
    "c2_i3d_nl_8.pkl": (
        "c2_i3d_nl_8", "--frames 8 --instantiation embedded_gaussian"),
    "c2_i3d_nl_32_affine.pkl": (
        "c2_i3d_nl_32_affine", "--frames 32 --frame_interval 4 "
        "--instantiation embedded_gaussian"),
    "mma_c2d.pth": ("mma_c2d", "--image_size 64"),
    "mma_i3d_nl_emb.pth": (
        "mma_i3d_nl_emb", "--image_size 64 --protocol mmaction2-0.x "
        "--instantiation embedded_gaussian"),
    "mma_tsm_nl_dot.pth": (
        "mma_tsm_nl_dot", "--image_size 64 --instantiation dot_product"),
    "paddle_c2d_nl_valid.pdparams": ("paddle_c2d_nl_valid", ""),
    "paddle_c2d_nl_valid_folder.tar": ("paddle_c2d_nl_valid", ""),
    "mindspore_nonlocal3d.ckpt": (
        "mindspore_nonlocal3d", "--image_size 64 "
        "--instantiation dot_product"),
}


def answers(folder, clips, tmp_path):
    """Probabilities [B, classes] by the command."""
    paths = []
    for index, clip in enumerate(clips):
        paths.append(str(tmp_path / "{}.npy".format(index)))
        np.save(paths[-1], clip)
    out = str(tmp_path / "out.json")
    assert classify.main(paths + ["--train_url", folder, "--json", out]) == 0
    with open(out, encoding="utf-8") as file:
        return np.array([row["probabilities"] for row in json.load(file)])


@slow
@pytest.mark.parametrize("file", FILES)
def test_a_file_answers_as_its_own_system(file, tmp_path):
    vector, flags = FILES[file]
    arrays, _ = video_support.vector(vector)
    source = os.path.join(video_support.FOLDER, file)
    if file.endswith(".tar"):
        with tarfile.open(source) as archive:
            archive.extractall(str(tmp_path / "tar"))
        source = str(next((tmp_path / "tar").iterdir()))
    folder = str(tmp_path / "run")
    assert convert.main(
        [source, "--train_url", folder] + flags.split()) == 0
    want = arrays.get("probs")
    if want is None:
        want = np.exp(arrays["logits"])
        want /= want.sum(1, keepdims=True)
    np.testing.assert_allclose(
        answers(folder, arrays["clip"], tmp_path), want, atol=2e-5)


def thin_file(path, case="tsm_embedded_gaussian", change=None):
    """A .pth of mmaction2 with weights by rule; returns its tensors."""
    network, form, frames, size = peer_mmaction2.CASES[case]
    config = convert.settings(
        recognised(network, form), convert.parse(
            ["x", "--train_url", "x", "--image_size", str(size), "--frames",
             str(frames)] + (["--instantiation", form] if form else [])))
    traits = names.Traits(config.placement(), shift=network == "tsm")
    tensors = {
        name: rule.tensor(name, value.shape) if value.dtype != np.int64
        else value for name, value in mapping.map_out(
            "mmaction2", network, traits, {
                name: np.zeros(shape, np.float32) for name, shape in
                checkpoints.shapes(config).items()}).items()}
    if change:
        change(tensors)
    writers.write_torch(str(path), tensors)
    return tensors


def recognised(network, form):
    from nonlocal_tf.protocols import trunk
    from nonlocal_tf.weights.recognise import Found
    five = trunk("mmaction2-1.x", network).five if form else {}
    return Found("mmaction2", network, 50, 8, 20, 0.5, form, False, "batch",
                 names.Traits(five, shift=network == "tsm"))


FLAGS = ["--image_size", "48", "--instantiation", "embedded_gaussian"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A file by rule, its tensors, and the checkpoint made of it."""
    folder = tmp_path_factory.mktemp("converted")
    tensors = thin_file(folder / "thin.pth")
    run = str(folder / "run")
    assert convert.main([str(folder / "thin.pth"), "--train_url", run]
                        + FLAGS) == 0
    return str(folder / "thin.pth"), tensors, run


def test_a_thin_file_answers_as_mmaction2(converted, tmp_path):
    case = "tsm_embedded_gaussian"
    _, _, frames, size = peer_mmaction2.CASES[case]
    with open(peer_mmaction2.VECTORS, encoding="ascii") as file:
        logits = np.array(json.load(file)[case]["logits"])
    want = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(answers(
        converted[2], rule.clips(2, frames, size), tmp_path), want, atol=2e-5)


@slow
def test_the_pages_first_commands(tmp_path):
    thin_file(tmp_path / "tsm_nl_dot.pth", "tsm_dot_product")
    np.save(str(tmp_path / "clip.npy"), rule.clips(1, 8, 224)[0])
    lines = shell_lines(os.path.join(ROOT, "docs", "video.md"))[:3]
    assert [line.split()[1:3] for line in lines] == [
        ["-m", "nonlocal_tf.convert"], ["-m", "nonlocal_tf.classify"],
        ["freeze_pb.py", "--train_url"]]
    for line in lines:
        words = line.replace("freeze_pb.py", os.path.join(
            ROOT, "freeze_pb.py")).split()
        subprocess.run([sys.executable] + words[1:], cwd=str(tmp_path),
                       check=True, env=dict(os.environ, PYTHONPATH=ROOT))
    assert (tmp_path / "output/tsm_nl/PB_Model/model.pb").exists()


def test_a_frozen_network_of_clips_answers_as_mmaction2(converted, tmp_path):
    from nonlocal_tf.export import freeze, graphdef, predict
    output = str(tmp_path / "clips.pb")
    freeze.freeze(freeze.parse_flags(
        ["--train_url", converted[2], "--output", output, "--batchsize", "2",
         "--with_probabilities"], "freeze_pb.py"))
    with open(output, "rb") as file:
        graph_def = graphdef.parse(file.read(), output)
    assert not any("3D" in node.op or node.op.startswith("FusedBatchNorm")
                   for node in graph_def.node)
    case = "tsm_embedded_gaussian"
    _, _, frames, size = peer_mmaction2.CASES[case]
    clips = (rule.clips(2, frames, size) - np.array(peer_mmaction2.MEAN)) / (
        np.array(peer_mmaction2.DEVIATION))
    found, = predict.predict(
        graph_def, [{"video:0": clips.astype(np.float32)}],
        ["probabilities"])
    with open(peer_mmaction2.VECTORS, encoding="ascii") as file:
        want = np.exp(json.load(file)[case]["logits"])
    np.testing.assert_allclose(
        found[0], want / want.sum(1, keepdims=True), atol=2e-5)


def test_the_note_has_the_protocol_and_the_places(converted):
    found = trained.find(converted[2])
    assert found.step == 0
    assert (found.config.network, found.config.protocol) == (
        "tsm", "mmaction2-1.x")
    assert found.config.non_local == "res3:0,2;res4:0,2,4"
    assert found.note["converted"]["system"] == "mmaction2"


def test_there_and_back_is_equal_bit_by_bit(converted, tmp_path):
    path = str(tmp_path / "back.pth")
    assert convert.main(["--to", "mmaction2", path, "--train_url",
                         converted[2]]) == 0
    back = files.read(path).tensors
    assert set(back) == set(converted[1])
    for name, value in converted[1].items():
        np.testing.assert_array_equal(back[name], value)


@slow
@pytest.mark.parametrize("file", ["c2_i3d_nl_8.pkl", "mma_i3d_nl_emb.pth"])
def test_a_real_file_there_and_back_is_equal_bit_by_bit(file, tmp_path):
    vector, flags = FILES[file]
    arrays, _ = video_support.vector(vector)
    run, back = str(tmp_path / "run"), str(tmp_path / "back")
    assert convert.main([os.path.join(video_support.FOLDER, file),
                         "--train_url", run] + flags.split()) == 0
    system = "caffe2" if file.startswith("c2") else "mmaction2"
    assert convert.main(["--to", system, back, "--train_url", run]) == 0
    tensors = files.read(back).tensors
    want = video_support.parameters(arrays)
    assert {name for name in tensors if "num_batches" not in name} == set(want)
    for name, value in want.items():
        np.testing.assert_array_equal(tensors[name], value)


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


def refused(capsys, *arguments):
    assert convert.main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    return lines[-1]


def test_what_a_file_cannot_tell_is_asked_for(converted, tmp_path, capsys):
    line = refused(capsys, converted[0], "--train_url", str(tmp_path / "run"))
    assert "--instantiation" in line
    assert not os.path.exists(str(tmp_path / "run"))


def test_a_missing_tensor_is_named(tmp_path, capsys):
    path = tmp_path / "less.pth"
    thin_file(path, change=lambda tensors: tensors.pop(
        "backbone.layer2.1.conv2.conv.weight"))
    line = refused(capsys, str(path), "--train_url", str(tmp_path / "run"),
                   *FLAGS)
    assert "no backbone.layer2.1.conv2.conv.weight" in line
    assert not os.path.exists(str(tmp_path / "run"))


def test_a_tensor_of_another_shape_is_named(tmp_path, capsys):
    path = tmp_path / "other.pth"
    thin_file(path, change=lambda tensors: tensors.update({
        "backbone.layer4.0.conv3.bn.weight": np.ones(3, np.float32)}))
    line = refused(capsys, str(path), "--train_url", str(tmp_path / "run"),
                   *FLAGS)
    assert "backbone.layer4.0.conv3.bn.weight is [3]" in line


def test_a_tensor_that_is_not_used_is_shown(tmp_path, capsys):
    path = tmp_path / "more.pth"
    thin_file(path, change=lambda tensors: tensors.update({
        "backbone.extra": np.ones(3, np.float32)}))
    assert convert.main([str(path), "--train_url", str(tmp_path / "run")]
                        + FLAGS) == 0
    assert "unused: backbone.extra" in capsys.readouterr().out


def test_a_new_head_keeps_the_rest(converted, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert convert.main([converted[0], "--train_url", run, "--new_head", "3"]
                        + FLAGS) == 0
    assert "new, at their start: dense/" in capsys.readouterr().out
    _, before = checkpoints.read(converted[2])
    config, after = checkpoints.read(run)
    assert config.classes == 3 and after["dense/kernel"].shape == (256, 3)
    np.testing.assert_array_equal(
        before["res5/bottleneck_2/conv3/kernel"],
        after["res5/bottleneck_2/conv3/kernel"])


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
            zip((3, 4, 6, 3), (8, 16, 32, 64)), 1):
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
                         "--non_local", "5"]) == 0
    _, values = checkpoints.read(run)
    stem = values["stem/conv/kernel"].reshape(7, 7, 5, 3, 8)
    for tap in range(5):
        np.testing.assert_allclose(
            stem[:, :, tap].transpose(3, 2, 0, 1),
            tensors["conv1.weight"] / 5, rtol=1e-6)
    np.testing.assert_allclose(
        values["res2/bottleneck_0/conv1/kernel"].sum((0, 1)).T,
        tensors["layer1.0.conv1.weight"][:, :, 0, 0], rtol=1e-5)
    assert not values["res3/non_local_1/norm/gamma"].any()


def dump(converted, path, change=None):
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
    if change:
        change(arrays)
    np.savez(str(path), **arrays)


def test_a_dump_that_departs_is_named_where_it_begins(converted, tmp_path,
                                                      capsys):
    path = tmp_path / "dump.npz"
    dump(converted, path)
    arguments = ["--compare", str(path), "--train_url", converted[2]]
    assert convert.main(arguments) == 0
    assert "agree" in capsys.readouterr().out

    def change(arrays):
        arrays["layer/backbone.layer3.2.block"] += 1
    dump(converted, path, change)
    assert convert.main(arguments) == 1
    assert "first that departs is res4/bottleneck_2" in capsys.readouterr().out


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
