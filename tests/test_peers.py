"""Weights of other systems answer through our commands as they do there."""

import json
import os

import numpy as np
import peer_mmaction2
import pytest
import rule
import video_support
from support import ROOT, run_in_turn, shell_lines

from nonlocal_tf import classify, convert
from nonlocal_tf.export import freeze, graphdef, predict
from nonlocal_tf.weights import files

pytestmark = pytest.mark.slow
CASE = "tsm_embedded_gaussian"
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


@pytest.mark.parametrize("file", FILES)
def test_a_file_answers_as_its_own_system(file, tmp_path):
    vector, flags = FILES[file]
    arrays, _ = video_support.vector(vector)
    source = os.path.join(video_support.FOLDER, file)
    folder = str(tmp_path / "run")
    assert convert.main(
        [source, "--train_url", folder] + flags.split()) == 0
    want = arrays.get("probs")
    if want is None:
        want = np.exp(arrays["logits"])
        want /= want.sum(1, keepdims=True)
    np.testing.assert_allclose(
        answers(folder, arrays["clip"], tmp_path), want, atol=2e-5)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The checkpoint of a file by rule."""
    folder = tmp_path_factory.mktemp("converted")
    path, run = str(folder / "thin.pth"), str(folder / "run")
    video_support.thin_file(path)
    assert convert.main([
        path, "--train_url", run, "--image_size", "48", "--instantiation",
        "embedded_gaussian"]) == 0
    return run


def mmaction2s():
    """Probabilities of `CASE` by mmaction2, and its clips."""
    with open(peer_mmaction2.VECTORS, encoding="ascii") as file:
        shares = np.exp(json.load(file)[CASE]["logits"])
    clips = rule.clips(peer_mmaction2.BATCH, *peer_mmaction2.CASES[CASE][2:])
    return shares / shares.sum(1, keepdims=True), clips


def test_a_thin_file_answers_as_mmaction2(converted, tmp_path):
    want, clips = mmaction2s()
    np.testing.assert_allclose(
        answers(converted, clips, tmp_path), want, atol=2e-5)


# Of the fourth, embedded_gaussian: a real file's below, and test_convert.py.
@pytest.mark.parametrize("form", ["gaussian", "dot_product", "concatenation"])
def test_every_form_there_and_back_is_equal_bit_by_bit(form, tmp_path):
    path, back = str(tmp_path / "x.pth"), str(tmp_path / "back.pth")
    run = str(tmp_path / "run")
    tensors = video_support.thin_file(path, ("i3d", form, 16, 48))
    assert convert.main([path, "--train_url", run, "--image_size", "48",
                         "--instantiation", form]) == 0
    assert convert.main(["--to", "mmaction2", back, "--train_url", run]) == 0
    found = files.read(back).tensors
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_pages_commands_of_other_weights(tmp_path):
    video_support.thin_file(tmp_path / "tsm_nl_dot.pth",
                            peer_mmaction2.CASES["tsm_dot_product"])
    np.save(str(tmp_path / "clip.npy"), rule.clips(1, 8, 224)[0])
    lines = [line for line in shell_lines(os.path.join(
        ROOT, "docs", "video.md")) if "output/tsm_nl" in line][:3]
    assert [line.split()[1:3] for line in lines] == [
        ["-m", "nonlocal_tf.convert"], ["-m", "nonlocal_tf.classify"],
        ["freeze_pb.py", "--train_url"]]
    done = run_in_turn([line.replace("freeze_pb.py", os.path.join(
        ROOT, "freeze_pb.py")).split()[1:] for line in lines], tmp_path)
    assert [code for _, _, code in done] == ["0"] * 3
    assert (tmp_path / "output/tsm_nl/PB_Model/model.pb").exists()


def test_a_frozen_network_of_clips_answers_as_mmaction2(converted, tmp_path):
    output = str(tmp_path / "clips.pb")
    freeze.freeze(freeze.parse_flags(
        ["--train_url", converted, "--output", output, "--batchsize", "2",
         "--with_probabilities"], "freeze_pb.py"))
    with open(output, "rb") as file:
        graph_def = graphdef.parse(file.read(), output)
    assert not any("3D" in node.op or node.op.startswith("FusedBatchNorm")
                   for node in graph_def.node)
    want, clips = mmaction2s()
    clips = (clips - np.array(peer_mmaction2.MEAN)) / (
        np.array(peer_mmaction2.DEVIATION))
    found, = predict.predict(
        graph_def, [{"video:0": clips.astype(np.float32)}],
        ["probabilities"])
    np.testing.assert_allclose(found[0], want, atol=2e-5)


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
