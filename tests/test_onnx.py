"""A frozen file answers in ONNX Runtime, by tf2onnx, as the live network."""

import numpy as np
import pytest
from support import graph_session, thin_config, write_random

from nonlocal_tf import trained
from nonlocal_tf.architecture import DEPTHS
from nonlocal_tf.data import datasets
from nonlocal_tf.export import freeze, graphdef, inference, interface, predict
from nonlocal_tf.export.freeze import parse_flags


@pytest.mark.parametrize("form, kind, batch", [
    ("embedded_gaussian", "flat", 0),
    pytest.param("dot_product", "image", 23, marks=pytest.mark.slow)])
def test_onnx_runtime_gives_the_live_networks_answers(
        form, kind, batch, tiny_set, tmp_path, monkeypatch):
    """Each kind of bottleneck, with and without a block."""
    convert = pytest.importorskip("tf2onnx").convert
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setitem(DEPTHS, 50, (1, 2, 2, 1))
    write_random(thin_config(
        tiny_set, tmp_path, instantiation=form, digit_size=28, classes=10,
        base_width=8, micro_batch="8", non_local="res3:0;res4:1"))
    path = str(tmp_path / "model.pb")
    freeze.freeze(parse_flags(
        ["--train_url", str(tmp_path), "--output", path, "--input_layout",
         kind, "--batchsize", str(batch)], "freeze_pb.py"))
    found = trained.find(str(tmp_path), "")
    images, _ = datasets.load_test("mnist", tiny_set)
    x = interface.digits(images, 28, kind)
    with graph_session() as session:
        graph = inference.InferenceGraph(
            found.config, interface.of(found.config, None, kind))
        trained.restore(session, graph.variables, found.prefix)
        live = session.run(graph.logits, {graph.input: x})
    frozen = graphdef.read(path)
    name = predict.logits_name(frozen, "output") + ":0"
    model, _ = convert.from_graph_def(
        frozen, input_names=["input:0"], output_names=["output:0", name])
    classes, logits = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            ["output:0", name], {"input:0": x})
    print("largest logit {:.3g}, largest difference {:.2g}".format(
        np.abs(live).max(), np.abs(logits - live).max()))
    assert np.abs(live).max() > 1 and live.std(axis=0).min() > 1e-3
    np.testing.assert_allclose(logits, live, rtol=0, atol=1e-4)
    assert classes.dtype == np.int32
    assert classes.tolist() == live.argmax(1).tolist()
