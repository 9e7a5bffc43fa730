"""The networks of clips equal the systems that they are named after."""

import json

import numpy as np
import peer_mmaction2
import pytest
import rule
import tensorflow as tf
import video_support
from support import graph_session, set_values
from video_support import VECTORS, by_name, thin

from nonlocal_tf.architecture import DEPTHS
from nonlocal_tf.protocols import PROTOCOLS, trunk
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training import need
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.weights import mapping, names

tf1 = tf.compat.v1
slow = pytest.mark.slow
WITH_LAYERS = ("c2_i3d_nl_8", "mma_i3d_nl_emb", "mma_tsm_nl_dot")


@slow
@pytest.mark.parametrize("name", [
    name for name in VECTORS if not name.endswith("train")])
def test_a_vector_of_another_system_is_reproduced(name):
    (logits, probabilities, _), arrays, _ = video_support.answer(
        name, name in WITH_LAYERS)
    if "logits" in arrays:
        np.testing.assert_allclose(logits, arrays["logits"], atol=2e-5)
    if "probs" in arrays:
        np.testing.assert_allclose(probabilities, arrays["probs"], atol=2e-6)


@slow
@pytest.mark.parametrize("name", WITH_LAYERS)
def test_each_layer_has_the_mean_and_deviation_of_the_other_system(name):
    (_, _, found), _, meta = video_support.answer(name, True)
    from nonlocal_tf.weights import parity
    system = "caffe2" if name.startswith("c2") else "mmaction2"
    compared = 0
    for ours, value in found.items():
        theirs = parity.layer_names(system, ours)
        measured = [meta["layers"][each] for each in theirs
                    if each in meta["layers"]]
        if measured:
            compared += 1
            assert value.mean() == pytest.approx(measured[0][2], abs=2e-4)
            assert value.std() == pytest.approx(measured[0][3], rel=2e-4)
    assert compared >= 18


@slow
def test_training_mode_is_that_of_the_authors_code():
    arrays, meta = video_support.vector("c2_i3d_nl_8_train")
    with graph_session() as session:
        network = thin(*VECTORS["c2_i3d_nl_8_train"][:4],
                       {"momentum": 0.9, "dropout": 0.0})
        found = video_support.load(
            session, network, video_support.parameters(arrays))
        logits = session.run(network(
            tf.constant(arrays["clip"]), is_training=True))
        np.testing.assert_allclose(logits, arrays["logits"], atol=1e-4)
        losses = -np.log(arrays["probs"])[:, :, None]
        pairs = (losses[0] + losses[1].T) / 2           # of any two labels
        assert np.abs(pairs - arrays["loss"]).min() < 1e-6
        session.run(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS))
        for name, variable in by_name(network).items():
            if "moving" in name:
                source = names.theirs("caffe2", name, found.traits)
                before, after = [arrays[part + source]
                                 for part in ("param/", "after/")]
                if name.endswith("variance"):   # Caffe2's is biased
                    blob = source.replace("_bn_riv", "").replace("res_", "")
                    blob = blob + "_out" if "nonlocal" in blob else blob
                    shape = meta["layers"][blob][1]
                    count = shape[0] * np.prod(shape[2:])
                    after = before * 0.9 + (after - before * 0.9) * (
                        count / (count - 1.0))
                np.testing.assert_allclose(
                    session.run(variable), after, atol=2e-5, rtol=2e-5)


def committed():
    with open(peer_mmaction2.VECTORS, encoding="ascii") as file:
        return json.load(file)


def assert_is_mmaction2s(logits, case):
    network, form, frames, size = peer_mmaction2.CASES[case]
    more = {"image_size": size, "resnet_size": peer_mmaction2.depth(case)}
    more.update({"instantiation": form} if form else {"placement": {}})
    with graph_session() as session:
        net = thin("mmaction2-1.x", network, frames, 2, more)
        variables = by_name(net)
        traits = names.Traits(
            net.trunk.five if form else {}, shift=network == "tsm",
            alternate=case.endswith("101"))
        shapes = {
            name: value.shape for name, value in mapping.map_out(
                "mmaction2", network, traits, {
                    name: np.zeros(each.shape.as_list(), np.float32)
                    for name, each in variables.items()}).items()
            if not name.endswith("num_batches_tracked")}
        video_support.load(session, net, {
            name: rule.tensor(name, shape) for name, shape in shapes.items()})
        found = session.run(net(tf.constant(rule.clips(
            peer_mmaction2.BATCH, frames, size)), is_training=False))
    np.testing.assert_allclose(
        found, logits, atol=1e-5 * np.abs(logits).max() + 2e-5)


@pytest.mark.parametrize("case", [
    case if case in ("i3d_embedded_gaussian", "tsm_dot_product") else
    pytest.param(case, marks=slow) for case in peer_mmaction2.CASES])
def test_weights_by_rule_answer_as_in_mmaction2(case):
    assert_is_mmaction2s(np.array(committed()[case]["logits"]), case)


@slow
@pytest.mark.parametrize("case", ["i3d_gaussian", "tsm_embedded_gaussian"])
def test_mmaction2_itself_if_it_is_installed(case):
    reason = peer_mmaction2.available()
    if reason:
        pytest.skip(reason)
    assert_is_mmaction2s(
        peer_mmaction2.logits(*peer_mmaction2.CASES[case]), case)


@slow
@pytest.mark.parametrize("network, more", [
    ("i3d", {}), ("c2d", {"instantiation": "dot_product"}),
    ("i3d", {"protocol": "mmaction2-0.x"}), ("tsm", {}),
    ("i3d", {"frames": 32, "frame_interval": 2})])
def test_pytorch_has_the_same_logits_and_gradients(
        network, more, monkeypatch):
    """All of TSM; of others two bottlenecks a stage: both inflations."""
    torch = pytest.importorskip("torch")
    from benchmarks import pytorch_video
    if network != "tsm":
        more = dict(more, non_local="res3:0;res4:1")
        for table in DEPTHS, pytorch_video.LENGTHS:
            monkeypatch.setitem(table, 50, (1, 2, 2, 2))
    config = TrainConfig(network=network, image_size=48, base_width=4,
                         classes=5, **more)
    row = trunk(config.protocol, network, config.frames,
                config.frame_interval)
    protocol = PROTOCOLS[config.protocol]
    clips = rule.clips(2, config.frames, 48)
    with graph_session() as session:
        net = make_network(config, device="CPU")
        logits = net(tf.constant(clips), is_training=False)
        values = video_support.mild_values(net, 3)
        set_values(session, values)
        trained = net.trainable_variables
        ours, gradients = session.run(
            [logits, tf1.gradients(tf.reduce_sum(logits ** 2), trained)])
        arrays = {name: values[each] for name, each in by_name(net).items()}
        short = {id(each): name for name, each in by_name(net).items()}
        order = [short[id(each)] for each in trained]
    weights = pytorch_video.tensors(arrays, set(order), row.stem_taps)
    theirs = pytorch_video.network(
        weights, torch.from_numpy(clips), protocol, row, config.placement(),
        config.instantiation, False)
    (theirs ** 2).sum().backward()
    np.testing.assert_allclose(
        ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-4)
    for name, gradient in zip(order, gradients):
        other = pytorch_video.as_ours(weights[name].grad, name)
        scale = np.abs(other).max()
        np.testing.assert_allclose(
            gradient, other, atol=2e-3 * scale + 1e-4, err_msg=name)


@pytest.mark.parametrize("count, settings", [
    (31686096, {"network": "c2d"}),
    (24327632, {"network": "c2d", "non_local": "0"}),
    (35401936, {"network": "i3d"}),
    (35397840, {"network": "i3d", "protocol": "mmaction2-1.x"}),
    (31723728, {"network": "i3d", "protocol": "mmaction2-0.x",
                "instantiation": "gaussian"}),
    (35397840, {"network": "i3d", "protocol": "mindspore"}),
    (31682000, {"network": "tsm"}),
    (28007888, {"network": "tsm", "instantiation": "gaussian"})])
def test_full_width_has_the_published_number_of_parameters(count, settings):
    assert need.parameters(TrainConfig(**settings)) == count


@pytest.mark.parametrize("settings", [
    {"network": "i3d", "resnet_size": 101, "frozen_norm": True, "frames": 32,
     "frame_interval": 4},
    {"network": "tsm", "instantiation": "concatenation", "block": "pre_norm"},
    {"network": "c2d", "block_norm": "affine"}])
def test_the_tables_count_the_parameters_of_the_network(
        settings, monkeypatch):
    """With the first two bottlenecks of a stage, which the others repeat."""
    for layers in (50, 101):
        monkeypatch.setitem(DEPTHS, layers, (1, 2, 2, 2))
    config = TrainConfig(base_width=4, classes=7, non_local="res3:0;res4:1",
                         **settings)
    with tf.Graph().as_default():
        assert make_network(config).parameters() == need.parameters(config)


@pytest.mark.parametrize("gigas, settings", [      # mmaction2's, of its pages
    (43.5, {"network": "i3d", "non_local": "0", "image_size": 256}),
    (59.3, {"network": "i3d", "image_size": 256}),
    (56.5, {"network": "i3d", "image_size": 256, "instantiation": "gaussian"}),
    (32.88, {"network": "tsm", "non_local": "0"}),
    (61.30, {"network": "tsm"}),
    (59.06, {"network": "tsm", "instantiation": "gaussian"})])
def test_multiply_adds_are_those_that_mmaction2_counts(gigas, settings):
    config = TrainConfig(protocol="mmaction2-1.x", **settings)
    assert need.flops_per_image(config) / 2e9 == pytest.approx(gigas, rel=0.01)
