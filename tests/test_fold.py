"""Constants and batch norm fold to what the formula says."""

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import fold, graphdef, predict
from nonlocal_tf.export.preflight import operations
from nonlocal_tf.layers import BatchNorm, Conv

tf1 = tf.compat.v1


def conv_and_norm(session, bias=True, is_training=False):
    """x [2, 3, 3, 2] -> 1x1 convolution -> batch norm, and all its values."""
    x = tf1.placeholder(tf.float32, [2, 3, 3, 2], "input")
    conv, norm = Conv(2, 3, bias=bias), BatchNorm(3)
    convolved = conv(x)
    z = tf.identity(norm(convolved, is_training=is_training), "middle")
    output = tf.nn.relu(z, name="output")
    random = np.random.RandomState(0)
    values = {
        "kernel": random.randn(1, 1, 2, 3), "bias": random.randn(3),
        "gamma": random.uniform(-2, 2, 3), "beta": random.randn(3),
        "moving_mean": random.randn(3),
        "moving_variance": random.uniform(0.01, 9, 3)}
    for variable in list(conv.variables) + list(norm.variables):
        name = variable.op.name.split("/")[-1]
        variable.load(values[name].astype(np.float32), session)
    return output, convolved, values


def expected(x, values, bias=True):
    """Written from arXiv:1502.03167, Alg. 2."""
    y = x @ values["kernel"][0, 0] + (values["bias"] if bias else 0)
    normed = (y - values["moving_mean"]) / np.sqrt(
        values["moving_variance"] + 1.001e-5)
    return np.maximum(normed * values["gamma"] + values["beta"], 0)


@pytest.mark.parametrize("bias", [True, False])
def test_folded_graph_computes_the_formula(bias):
    x = np.random.RandomState(1).randn(2, 3, 3, 2).astype(np.float32)
    with graph_session() as session:
        output, _, values = conv_and_norm(session, bias)
        plain = fold.freeze(session, [output.op])
    folded, count = fold.fold_batch_norm(plain, ["output"])
    assert count == 1
    assert sorted({node.op for node in folded.node}) == [
        "BiasAdd", "Const", "Conv2D", "Placeholder", "Relu"]
    for graph_def in (plain, folded):
        (result,), = predict.predict(graph_def, [{"input:0": x}], ["output"])
        np.testing.assert_allclose(
            result, expected(x, values, bias), rtol=2e-6, atol=2e-6)


def test_frozen_graph_is_plain():
    with graph_session() as session:
        output, _, _ = conv_and_norm(session)
        with tf.control_dependencies([tf.no_op("before")]):
            output = tf.nn.relu(output, name="last")
        graph_def = fold.freeze(session, [output.op])
    assert not graph_def.library.function
    assert graph_def.versions.producer == 134
    known = operations.known_operations()
    names = [node.name for node in graph_def.node]
    assert len(set(names)) == len(names)
    assert "conv/kernel" in names and "middle" not in names
    for node in graph_def.node:
        assert "Variable" not in node.op and node.op != "VarHandleOp"
        assert not node.device
        assert not any(name.startswith("^") for name in node.input)
        assert set(node.attr) <= known[node.op][1]
        assert set(map(graphdef.source, node.input)) <= set(
            names[:names.index(node.name)])             # inputs come first
    norm, = [node for node in graph_def.node if "BatchNorm" in node.op]
    assert set(norm.attr) == {                          # defaults stay
        "T", "U", "data_format", "epsilon", "is_training"}


@pytest.mark.skipif(not hasattr(tf, "raw_ops") or (
    tf.__version__.split(".")[:2] in (["1", "15"], ["2", "1"])),
                    reason="this TensorFlow has no exponential_avg_factor")
def test_an_attribute_that_would_be_lost_is_refused():
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [1, 2, 2, 1], "input")
        ones = tf.ones([1])
        norm = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=ones, offset=ones, mean=ones, variance=ones,
            is_training=False, exponential_avg_factor=0.5)
        with pytest.raises(UserError, match="exponential_avg_factor"):
            fold.freeze(session, [norm.y.op])


def test_an_operation_that_1_15_lacks_is_refused():
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [1], "input")
        output = tf1.py_func(lambda value: value, [x], tf.float32)
        with pytest.raises(UserError, match="is a PyFunc"):
            fold.freeze(session, [output.op])


def test_two_norms_behind_a_convolution_fold():
    """relu(2 (3 (4 x + 1) + 1) + 1) at variances of 1 - epsilon."""
    x = np.float32([[[[-1.]], [[0.5]]]])
    with graph_session() as session:
        y = tf.nn.bias_add(tf1.nn.conv2d(
            tf1.placeholder(tf.float32, x.shape, "input"), [[[[4.]]]], 1,
            "VALID"), [1.])
        for gamma in (3., 2.):
            y = tf1.nn.fused_batch_norm(
                y, [gamma], [1.], [0.], [1 - 1e-3], is_training=False)[0]
        plain = fold.freeze(session, [tf.nn.relu(y, name="output").op])
    folded, count = fold.fold_batch_norm(plain, ["output"])
    assert count == 2
    (result,), = predict.predict(folded, [{"input:0": x}], ["output"])
    np.testing.assert_allclose(result.ravel(), [0, 21], rtol=1e-6)


def test_a_constants_name_is_its_own():
    """The second part of `split`, and `split_1`."""
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [1], "input")
        first, second = tf.split(tf.constant([1., 10.]) * 2, 2, name="split")
        third, = tf.split(tf.constant([100.]) * 3, 1, name="split_1")
        total = tf.add_n([x, first, second, third], name="output")
        graph_def = fold.freeze(session, [total.op])
    (result,), = predict.predict(
        graph_def, [{"input:0": np.float32([0.5])}], ["output"])
    assert result.tolist() == [322.5]


def test_batch_norm_in_training_mode_stays():
    with graph_session() as session:
        output, _, _ = conv_and_norm(session, is_training=True)
        folded, count = fold.fold_batch_norm(
            fold.freeze(session, [output.op]), ["output"])
    assert count == 0
    assert any("BatchNorm" in node.op for node in folded.node)


def test_a_convolution_that_others_read_stays():
    with graph_session() as session:
        output, convolved, _ = conv_and_norm(session)
        total = tf.add(output, convolved, name="total")
        folded, count = fold.fold_batch_norm(
            fold.freeze(session, [total.op]), ["total"])
    assert count == 0
    with graph_session() as session:
        output, convolved, _ = conv_and_norm(session)
        outputs = [output.op, convolved.op]             # itself an output
        names = [operation.name for operation in outputs]
        assert fold.fold_batch_norm(
            fold.freeze(session, outputs), names)[1] == 0


def test_fp16_rounds_constants_and_results():
    """0.1 and 2049 are no fp16 values: 0.0999755859375 and 2048 are."""
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [4], "input")
        left, right = tf.split(x + tf.constant([0.1, 2049, 1, 70000.]), 2)
        output = tf.concat([right, left], 0, name="output")
        graph_def = fold.freeze(session, [output.op])
    (result,), = predict.predict(
        predict.rounded_to_fp16(graph_def),
        [{"input:0": np.zeros(4, np.float32)}], ["output"])
    assert result.tolist() == [1.0, np.inf, 0.0999755859375, 2048.0]
