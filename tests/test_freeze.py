"""freeze_pb.py: what it writes answers as the trainer's own network does."""

import hashlib
import os
import shlex
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values

import freeze_pb
from nonlocal_tf import trained
from nonlocal_tf.data import datasets
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import (
    fold,
    freeze,
    graphdef,
    inference,
    interface,
    predict,
)
from nonlocal_tf.export.preflight import atc, checks
from nonlocal_tf.platforms import gpu
from nonlocal_tf.training.checkpoint import CheckpointFolder
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import TrainGraph

tf1 = tf.compat.v1
pytestmark = pytest.mark.usefixtures("shallow")


def frozen(path, *arguments):
    """The GraphDef that freeze_pb.py writes."""
    arguments = ["--output", str(path)] + [str(each) for each in arguments]
    freeze.freeze(freeze.parse_flags(arguments, "freeze_pb.py"))
    return graphdef.read(str(path))


@pytest.fixture(scope="module")
def train_url(unbroken):
    return str(unbroken[0])


@pytest.fixture(scope="module")
def images(tiny_set):
    return datasets.load_test("mnist", tiny_set)[0]


@pytest.fixture(scope="module")
def trainers_logits(unbroken, images):
    """By the training graph's own test tower and the trainer's restore."""
    folder, result, _ = unbroken
    found = trained.find(str(folder), "")
    with graph_session() as session:
        graph = TrainGraph(
            found.config, 100, gpu.Platform(found.config))
        CheckpointFolder(os.path.join(str(folder), "Model")).restore(
            session, graph.saver, result.step)
        return session.run(graph.network(
            tf.constant(images), is_training=False))


@pytest.fixture(scope="module")
def pb(train_url, tmp_path_factory):
    path = tmp_path_factory.mktemp("pb") / "model.pb"
    frozen(path, "--train_url", train_url, "--batchsize", 23,
           "--with_probabilities")
    return str(path)


def answers(graph_def, x):
    """Logits, classes and, where there are any, probabilities."""
    names = [predict.logits_name(graph_def, "output"), "output"]
    if "probabilities" in graphdef.by_name(graph_def):
        names.append("probabilities")
    return next(predict.predict(graph_def, [{"input:0": x}], names))


def test_file_answers_as_the_trainers_network(pb, images, trainers_logits):
    logits, classes, probabilities = answers(
        graphdef.read(pb), interface.digits(images, 28, "image"))
    assert np.abs(trainers_logits).max() > 1
    np.testing.assert_allclose(logits, trainers_logits, rtol=0, atol=1e-4)
    assert classes.dtype == np.int32
    assert classes.tolist() == trainers_logits.argmax(1).tolist()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(
        probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)


def test_interface_and_operations_are_those_of_atc(pb):
    graph_def = graphdef.read(pb)
    nodes = graphdef.by_name(graph_def)
    placeholder, = graphdef.placeholders(graph_def)
    assert placeholder.name == "input"
    assert graphdef.declared_shape(placeholder) == [23, 28, 28, 1]
    assert nodes["output"].op == "ArgMax"
    assert nodes["output"].attr["output_type"].type == tf.int32
    assert [leaf.name for leaf in graphdef.leaves(graph_def)] == [
        "output", "probabilities"]
    operations = {node.op for node in graph_def.node}
    assert not operations & {"Shape", "StridedSlice", "Pack", "Identity"}
    assert checks.examine(graph_def, atc.Request(
        {"input": [23, 28, 28, 1]},
        [("output", 0), ("probabilities", 0)])) == []


def test_file_does_not_depend_on_the_run(pb, train_url, tmp_path):
    again = tmp_path / "again.pb"
    frozen(again, "--train_url", train_url, "--batchsize", 23,
           "--with_probabilities")
    with open(pb, "rb") as file:
        assert file.read() == again.read_bytes()


@pytest.mark.parametrize("form, batch, kind, settings", [
    ("embedded_gaussian", 3, "image", dict(block="paper", scale=True)),
    ("gaussian", None, "flat", {}),
    ("dot_product", 3, "image", {}), ("concatenation", None, "flat", {})])
def test_every_form_freezes_without_shape_operations(
        form, batch, kind, settings):
    config = TrainConfig(
        image_size=33, base_width=4, non_local="res3:0", instantiation=form,
        sub_sample=True, **settings)
    images = np.random.RandomState(0).randint(
        0, 256, (3, 28, 28, 1)).astype(np.uint8)
    with graph_session() as session:
        graph = inference.InferenceGraph(
            config, interface.of(config, batch, kind))
        set_values(session, random_values(tf1.global_variables(), 0))
        x = interface.digits(images, 33, kind)
        live = session.run(graph.logits, {graph.input: x})
        plain = fold.freeze(session, graph.outputs)
    folded, count = fold.fold_batch_norm(plain, ["output"])
    assert count == 4 * 2 + 1           # in each bottleneck, and in the block
    assert not {node.op for node in folded.node} & {"Shape", "StridedSlice"}
    assert checks.examine(folded, atc.Request(dynamic=True)) == []
    np.testing.assert_allclose(
        answers(folded, x)[0], live, rtol=0, atol=1e-4)


def test_flat_and_open_batches_give_the_same(
        train_url, images, trainers_logits, tmp_path):
    graph_def = frozen(
        tmp_path / "flat.pb", "--train_url", train_url, "--batchsize", 0,
        "--input_layout", "flat")
    placeholder, = graphdef.placeholders(graph_def)
    assert graphdef.declared_shape(placeholder) == [None, 784]
    logits, _ = answers(graph_def, images.reshape(-1, 784) / np.float32(255))
    np.testing.assert_allclose(logits, trainers_logits, rtol=0, atol=1e-4)


def test_another_image_size_pads(train_url, images, tmp_path):
    """28 pixels in a 40-pixel field, 6 on each side, by hand."""
    graph_def = frozen(tmp_path / "40.pb", "--train_url", train_url,
                       "--image_size", 40, "--batchsize", 0)
    padded = np.zeros((len(images), 40, 40, 1), np.float32)
    padded[:, 6:34, 6:34] = images / np.float32(255)
    np.testing.assert_array_equal(
        padded, interface.digits(images, 40, "image"))
    found = trained.find(train_url, "", 40)
    with graph_session() as session:
        graph = inference.InferenceGraph(
            found.config, interface.of(found.config, None, "flat"))
        trained.restore(session, graph.variables, found.prefix)
        live = session.run(graph.logits, {
            graph.input: interface.digits(images, 40, "flat")})
    np.testing.assert_allclose(
        answers(graph_def, padded)[0], live, rtol=0, atol=1e-4)


def test_report_says_what_was_written(
        train_url, unbroken, tiny_set, tmp_path, capsys):
    path = tmp_path / "model.pb"
    frozen(path, "--train_url", train_url, "--check_fp16", "--soc_version",
           "Ascend310P3", "--batchsize", 8)
    lines = capsys.readouterr().out.split("\n")
    _, labels = datasets.load_test("mnist", tiny_set)
    gt = lines.index("gt")
    assert lines[gt + 1] == " ".join(map(str, labels))
    right = sum(predicted == truth for predicted, truth in zip(
        lines[gt - 1].split(), lines[gt + 1].split()))
    assert right / 23 == pytest.approx(unbroken[1].test_accuracy)
    assert lines[gt + 2] == "accuracy {:.2%} ({} of 23 test images)".format(
        right / 23, right)
    content = path.read_bytes()
    assert "{:,} bytes".format(len(content)) in lines[1]
    assert lines[2].split() == [
        "SHA-256", hashlib.sha256(content).hexdigest()]
    assert any(line.startswith("fp16: 0 of 23 classes change")
               for line in lines)
    text = "\n".join(lines)
    atc = text[text.index("\natc "):].split("\n./msame")[0]
    assert shlex.split(atc.replace("\\\n", "")) == [
        "atc", "--model=" + str(path), "--framework=3",
        "--output=" + str(path)[:-3], "--soc_version=Ascend310P3",
        "--input_shape=input:8,28,28,1", "--out_nodes=output:0",
        "--log=error", "--input_format=NHWC"]
    assert "8 x 28 x 28 x 1 float32" in text and "25,088 bytes" in text


def test_without_flags_the_newest_becomes_model_pb(
        train_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(os.path.join(train_url, "Model"), "output/Model")
    assert freeze_pb.main([]) == 0
    assert "model.ckpt-16: step 16" in capsys.readouterr().out
    assert os.listdir("output/PB_Model") == ["model.pb"]
    assert freeze_pb.main(["--checkpoint", "output/Model/model.ckpt-8.index",
                           "--test_images", "0"]) == 0
    out = capsys.readouterr().out
    assert "model.ckpt-8: step 8" in out and "accuracy" not in out


def copy_of(train_url, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(os.path.join(train_url, "Model"), str(copy / "Model"))
    return copy


@pytest.mark.parametrize("ending", [
    ".index", ".json", ".data-00000-of-00001"])
def test_half_a_checkpoint_is_one_line(train_url, tmp_path, ending):
    copy = copy_of(train_url, tmp_path)
    prefix = str(copy / "Model" / "model.ckpt-16")
    os.remove(prefix + ending)
    with pytest.raises(UserError, match="lacks \\*\\" + ending):
        frozen(tmp_path / "model.pb", "--checkpoint", prefix)
    with open(prefix + ending, "wb"):
        pass                                            # there, but empty
    with pytest.raises(UserError):
        frozen(tmp_path / "model.pb", "--checkpoint", prefix)
    assert not (tmp_path / "model.pb").exists()


@pytest.mark.parametrize("old, new, message", [
    ('"non_local": "res4:0"', '"non_local": "res3:0;res4:0"',
     "of another network"),
    ('"base_width"', '"width_of_the_future"', "not of this version"),
])
def test_another_note_is_one_line(train_url, tmp_path, old, new, message):
    copy = copy_of(train_url, tmp_path)
    note = copy / "Model" / "model.ckpt-16.json"
    note.write_text(note.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        frozen(tmp_path / "model.pb", "--train_url", copy)


def test_a_file_that_answers_otherwise_is_not_kept(
        train_url, tmp_path, monkeypatch):
    """A folding that goes wrong is noticed; the plain graph is written."""
    path = tmp_path / "model.pb"
    path.write_bytes(b"before")
    real = fold.fold_batch_norm

    def spoilt(graph_def, outputs):
        folded, count = real(graph_def, outputs)
        for node in folded.node:
            if node.name.endswith("folded_bias"):
                value = graphdef.array_of(node) + 1
                node.CopyFrom(graphdef.const_node(node.name, value))
        return folded, count

    monkeypatch.setattr(fold, "fold_batch_norm", spoilt)
    graph_def = frozen(path, "--train_url", train_url)
    assert not any("folded" in node.name for node in graph_def.node)
    path.write_bytes(b"before")
    real_freeze = fold.freeze
    monkeypatch.setattr(fold, "freeze", lambda session, outputs: spoilt(
        real_freeze(session, outputs), ["output"])[0])
    with pytest.raises(UserError, match="must answer as the network does"):
        frozen(path, "--train_url", train_url)
    assert path.read_bytes() == b"before"
    assert os.listdir(str(tmp_path)) == ["model.pb"]


@pytest.mark.parametrize("arguments, message", [
    (["--train_url", "nowhere"], "has none. Train first"),
    (["--checkpoint", "nowhere/model.ckpt-1"], "lacks"),
    (["--batchsize", "-1"], "--batchsize must be 0 to"),
    (["--test_image", "1"], "did you mean --test_images?"),
    (["--soc_version", "Ascend 310"], "--soc_version must be like Ascend310"),
    (["--test_images", "-1"], "--test_images must be 0 or more"),
    (["--input_layout", "round"], "--input_layout: invalid choice"),
    (["--unknown", "1"], "--unknown is no flag"),
])
def test_bad_flags_are_one_line(arguments, message, tmp_path, monkeypatch,
                                capsys):
    monkeypatch.chdir(tmp_path)
    assert freeze_pb.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(str(tmp_path)) == []


def test_bad_places_are_one_line(train_url, tmp_path):
    with pytest.raises(UserError, match="--image_size must be 28 to"):
        frozen(tmp_path / "x.pb", "--train_url", train_url, "--image_size", 9)
    with pytest.raises(UserError, match="ends in .pb"):
        frozen(tmp_path / "x.txt", "--train_url", train_url)
    with pytest.raises(UserError, match="--test_images 0"):
        frozen(tmp_path / "x.pb", "--train_url", train_url, "--dataset",
               "fashion_mnist", "--data_url", os.path.join(
                   train_url, "config.json"))
    with pytest.raises(UserError, match="--output must name"):
        frozen("/proc/none/x.pb", "--train_url", train_url)
    assert os.listdir(str(tmp_path)) == []
