"""Preflight finds what ATC would stumble over, in graphs made for that."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import fold, graphdef, predict
from nonlocal_tf.export.preflight import __main__ as preflight
from nonlocal_tf.export.preflight import atc, checks, operations, trim
from nonlocal_tf.layers import BatchNorm
from nonlocal_tf.non_local import NonLocalBlock

tf1 = tf.compat.v1
FLOAT, INT32, INT64, FLOAT64, COMPLEX64, BFLOAT16 = [
    each.as_datatype_enum for each in (
        tf.float32, tf.int32, tf.int64, tf.float64, tf.complex64, tf.bfloat16)]


def node(name, op, *inputs, **types):
    """A NodeDef; `types` are attributes that hold a type."""
    made = tf1.NodeDef(name=name, op=op, input=inputs)
    for key, value in types.items():
        made.attr[key].type = value
    return made


def placeholder(name="input", shape=(2, 4)):
    made = node(name, "Placeholder", dtype=FLOAT)
    made.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return made


def const(name, value, sizes=None):
    """A Const; with `sizes`, that value repeated, as TensorFlow stores it."""
    made = graphdef.const_node(name, np.asarray(value))
    if sizes:
        made.attr["value"].tensor.tensor_shape.CopyFrom(
            tf.TensorShape(sizes).as_proto())
    return made


def graph(*nodes):
    return tf1.GraphDef(node=nodes)


def output(value):
    tf.identity(value, "output")


def table(*names):
    """FLOAT [4, 3] placeholders, at least `input`."""
    return [tf1.placeholder(tf.float32, [4, 3], name)
            for name in ("input",) + names]


def relu(name="output", source="input"):
    return node(name, "Relu", source, T=FLOAT)


def made(what):
    """A GraphDef: `what`, what it returns, or what it builds."""
    if isinstance(what, tf1.GraphDef):
        return what
    with tf.Graph().as_default() as built:
        return what() or built.as_graph_def()


def saved(what, folder):
    """The path of a file that holds it."""
    path = folder / "made.pb"
    path.write_bytes(made(what).SerializeToString())
    return str(path)


def frozen_as_the_known_system_does():
    """A training graph, its outputs' part, variables made constants."""
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [None, 6, 6, 4], "input")
        block, norm = NonLocalBlock(4), BatchNorm(4)
        z = tf.nn.relu(norm(block(x, is_training=True), is_training=True))
        loss = tf.reduce_mean(z)
        tf1.train.AdamOptimizer(1e-4).minimize(loss)
        tf1.train.Saver()
        tf.argmax(tf.reduce_mean(z, [1, 2]), 1, output_type=tf.int32,
                  name="output")
        session.run(tf1.global_variables_initializer())
        return tf1.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["output"])


def training_graph():
    """The same, not frozen at all."""
    x = tf1.placeholder(tf.float32, [2, 6, 6, 4], "input")
    z = BatchNorm(4)(x, is_training=True)
    z = tf1.nn.dropout(z, rate=0.5)
    loss = tf.reduce_mean(z)
    tf1.summary.scalar("loss", loss)
    tf1.train.AdamOptimizer(1e-4).minimize(loss)
    tf1.train.Saver()


def normalised(mean, variance):
    """Of `input`, by what two functions make of it."""
    def build():
        x, = table()
        output((x - mean(x)) * tf1.rsqrt(variance(x) + 1e-5))
    return build


def mean_of(axes):
    return lambda x: tf.reduce_mean(x, axes, keepdims=True)


def by_itself(x):
    return x * x


def moments(axes):
    return normalised(
        lambda x: tf.nn.moments(x, axes, keepdims=True)[0],
        lambda x: tf.nn.moments(x, axes, keepdims=True)[1])


def layer_norm_of_keras():
    """As Keras of TensorFlow 2.6 builds LayerNormalization."""
    x = tf1.placeholder(tf.float32, [2, 5, 4], "input")
    y = tf1.nn.fused_batch_norm(
        tf.reshape(x, [1, 10, 4, 1]), tf.ones([10]), tf.zeros([10]),
        data_format="NCHW", is_training=True)[0]
    output(tf.reshape(y, [2, 5, 4]))


def sample_of_a_batch():
    """Instance norm of one picture's rows and columns."""
    x = tf.squeeze(tf1.placeholder(tf.float32, [1, 4, 5, 3], "input"), 0)
    mean, variance = tf.nn.moments(x, [0, 1])
    output((x - mean) * tf1.rsqrt(variance + 1e-5))


def norm_behind_conv1d():
    """tf.layers.conv1d is a Conv2D between ExpandDims and Squeeze."""
    x = tf.expand_dims(tf1.placeholder(tf.float32, [4, 8, 3], "input"), 1)
    x = tf.squeeze(tf.nn.conv2d(x, np.ones([1, 3, 3, 4], np.float32),
                                strides=1, padding="SAME"), [1])
    mean, variance = tf.nn.moments(x, [0, 1])
    output((x - mean) * tf1.rsqrt(variance + 1e-5))


def standardised_weights():
    """Of a convolution without batch norm (arXiv 1903.10520)."""
    x = tf1.placeholder(tf.float32, [2, 6, 6, 3], "input")
    kernel = tf.constant(np.random.RandomState(0).randn(3, 3, 3, 4), tf.float32)
    mean, variance = tf.nn.moments(kernel, [0, 1, 2])
    output(tf.nn.conv2d(x, (kernel - mean) * tf1.rsqrt(variance + 1e-5),
                        strides=1, padding="SAME"))


def positive_rows():
    x, = table()
    output(tf.gather(x, tf.raw_ops.Where(condition=x[:, 0] > 0)[:, 0]))


def without_update_ops():
    """Batch norm at its first moving statistics, beside one that has moved."""
    x, = batches = [tf1.placeholder(tf.float32, [2, 3, 3, 4], "input")]
    for mean in (np.zeros(4), np.ones(4)):
        batches.append(tf1.nn.fused_batch_norm(
            x, np.ones(4, np.float32), np.ones(4, np.float32),
            mean.astype(np.float32), np.ones(4, np.float32),
            is_training=False)[0])
    output(batches[1] + batches[2])


def squared_error():
    """A mean over the batch, but of no deviation from a mean."""
    x, = table()
    output(tf.reduce_mean(tf1.squared_difference(x, tf.zeros([4, 3])), [0, 1]))


def conditional():
    """Written out, as TensorFlow 1 does it: Switch and Merge."""
    flag = tf1.placeholder_with_default(False, [], "flag")
    x = tf1.placeholder(tf.float32, [2], "input")
    switched = tf.raw_ops.Switch(data=x, pred=flag)
    tf.raw_ops.Merge(inputs=[switched[0], switched[1] * 2], name="output")


def checked():
    """An operation that waits for an assertion."""
    x, = table()
    with tf.control_dependencies([
            tf.raw_ops.Assert(condition=True, data=["no number"])]):
        output(tf.nn.relu(x))


def argmax():
    x, = table()
    tf.argmax(x, 1, name="output")


def strings():
    x = tf1.placeholder(tf.string, [2], "input")
    output(tf.io.decode_raw(x, tf.uint8))


def with_function():
    """A call of `f`, which is a Relu; and `g`, which nobody calls."""
    made = graph(placeholder(), node("output", "f", "input"))
    for name in ("f", "g"):
        function = made.library.function.add()
        function.signature.name = name
        function.signature.input_arg.add(name="x", type=FLOAT)
        function.signature.output_arg.add(name="y", type=FLOAT)
        function.node_def.add().CopyFrom(relu("r", "x"))
        function.ret["y"] = "r:activations:0"
    return made


def batch_norm(shape=(2, 3, 3, 4), **attributes):
    made = node("output", "FusedBatchNormV3", "input", *["ones"] * 4,
                T=FLOAT, U=FLOAT)
    for name, (field, value) in attributes.items():
        setattr(made.attr[name], field, value)
    return graph(placeholder(shape=shape),
                 const("ones", np.ones(4, np.float32)), made)


def typed(dtype):
    made = node("input", "Placeholder", dtype=dtype.as_datatype_enum)
    made.attr["shape"].shape.CopyFrom(tf.TensorShape([2]).as_proto())
    return graph(made, node("output", "Identity", "input",
                            T=dtype.as_datatype_enum))


SHAPE = {"input": [2, 4]}
OUTPUT = [("output", 0)]
PLAIN = graph(placeholder(), relu())


def one(op, **types):
    """A graph of one operation."""
    return graph(placeholder(), node("output", op, "input", **types))


def three_dimensions():
    """What networks of clips are mostly made of."""
    x = tf1.placeholder(tf.float32, [1, 8, 16, 16, 3], "video")
    x = tf.nn.conv3d(x, np.ones([3, 3, 3, 3, 4], np.float32),
                     [1, 1, 2, 2, 1], "SAME")
    x = tf.nn.max_pool3d(tf.nn.relu(x), [1, 2, 2, 2, 1], [1, 2, 2, 2, 1],
                         "SAME")
    output(tf.reduce_mean(x, [1, 2, 3]))


# name: graph, request, what is found
REJECTED = {
    "known_system": (frozen_as_the_known_system_does, {}, {
        "batch_norm_training", "unknown_dimension"}),
    "training": (training_graph, {}, {
        "variable", "save_restore", "summary", "optimizer", "gradient",
        "dropout", "batch_norm_training", "string"}),
    "moments": (moments([0]), {}, {"batch_norm_training"}),
    "moments_by_hand": (normalised(
        mean_of([0]), lambda x: tf.reduce_mean(
            tf.square(x - mean_of([0])(x)), 0)), {}, {"batch_norm_training"}),
    "mean_of_squares": (normalised(
        mean_of([0]), lambda x: mean_of([0])(tf.square(x))
        - tf.square(mean_of([0])(x))), {}, {"batch_norm_training"}),
    "mean_of_products": (normalised(
        mean_of([0]), lambda x: mean_of([0])(x * x) - by_itself(
            mean_of([0])(x))), {}, {"batch_norm_training"}),
    "norm_behind_conv1d": (norm_behind_conv1d, {}, {"batch_norm_training"}),
    "default_is_training": (batch_norm(), {}, {"batch_norm_training"}),
    "no_placeholder": (graph(relu("a", "b"), relu("b", "a")), {}, {
        "no_placeholder", "no_output"}),
    "with_default": (graph(
        node("input", "PlaceholderWithDefault", "value", dtype=FLOAT),
        const("value", np.float32(1)), relu()), {}, {"no_placeholder"}),
    "input_name": (graph(placeholder("inputs"), relu("o", "inputs")),
                   {"shapes": SHAPE}, {"input_name"}),
    "input_type": (typed(tf.int8), {}, {"input_type"}),
    "unknown_batch": (graph(placeholder(shape=(None, 4)), relu()), {}, {
        "unknown_dimension"}),
    "unknown_rank": (graph(placeholder(shape=None), relu()), {}, {
        "unknown_dimension"}),
    "asked_unknown": (PLAIN, {"shapes": {"input": [-1, 4]}}, {
        "unknown_dimension", "input_size"}),
    "output_name": (PLAIN, {"out_nodes": [("outputs", 0)]}, {"output_name"}),
    "output_index": (PLAIN, {"out_nodes": [("output", 1)]}, {"output_name"}),
    "cut_without_outputs": (graph(
        placeholder(), const("two", np.float32(2)),
        node("middle", "Mul", "input", "two", T=FLOAT),
        node("output", "Mul", "middle", "two", T=FLOAT)),
        {"shapes": {"middle": [2, 4]}}, {"missing_input"}),
    "function": (with_function, {}, {"function"}),
    "partitioned_call": (one("StatefulPartitionedCall"), {}, {"function"}),
    "while": (one("While"), {}, {"function"}),
    "string": (strings, {}, {"string", "operation"}),
    "assert": (checked, {}, {"string"}),
    "operation": (one("PyFunc", T=FLOAT), {}, {"operation"}),
    "unsure": (one("Einsum", T=FLOAT), {}, {
        "unsure_operation", "does_not_load"}),
    "duplicate": (graph(placeholder(), relu(), relu()), {}, {
        "duplicate_name"}),
    "cut_short": (graph(placeholder(), relu("output", "gone")), {}, {
        "missing_input"}),
    "types": (one("Relu", T=INT32), {}, {"does_not_load"}),
}
DOUBTED = {
    "moments_from_the_end": (moments([-2, -1]), {}, {"batch_norm_training"}),
    "sample_of_a_batch": (sample_of_a_batch, {}, {"batch_norm_training"}),
    "layer_norm": (layer_norm_of_keras, {}, {"layer_norm"}),
    "open_result": (positive_rows, {}, {"open_result"}),
    "without_update_ops": (without_update_ops, {}, {"moving_statistics"}),
    "input_size": (PLAIN, {"shapes": {"input": [32, 4]}}, {"input_size"}),
    # ATC's parser writes --input_shape into the Placeholder before it compares.
    "input_rank": (PLAIN, {"shapes": {"input": [2, 4, 4, 1]}}, {
        "input_rank"}),
    "argmax": (argmax, {}, {"argmax_int64"}),
    "int64": (typed(tf.int64), {}, {"output_type"}),
    "float64": (one("Cast", SrcT=FLOAT, DstT=FLOAT64), {}, {"type"}),
    "complex64": (one("Cast", SrcT=FLOAT, DstT=COMPLEX64), {}, {"type"}),
    "bfloat16": (one("Cast", SrcT=FLOAT, DstT=BFLOAT16), {}, {"type"}),
    "new_attribute": (batch_norm(
        is_training=("b", False), exponential_avg_factor=("f", 1.0)), {}, {
            "new_attribute"}),
    "no_index": (PLAIN, {"out_nodes": [("output", None)]}, {"output_index"}),
    "control": (graph(placeholder(), relu(), node(
        "group", "NoOp", "^output")), {}, {"control"}),
    "control_flow": (conditional, {}, {"control_flow"}),
    "type_of_a_cut": (graph(
        placeholder("raw"),
        node("input", "Cast", "raw", SrcT=FLOAT, DstT=INT32),
        node("output", "Cast", "input", SrcT=INT32, DstT=FLOAT)),
        {"shapes": SHAPE}, {"input_type"}),
}

if tf.__version__ >= "2":               # 1.15 itself refuses it
    DOUBTED["new_value"] = (batch_norm(
        (2, 2, 3, 3, 4), is_training=("b", False),
        data_format=("s", b"NDHWC")), {}, {"new_value"})


def queue():
    """A pipeline of training before the node that the network begins with."""
    files = tf1.FIFOQueue(8, [tf.float32], [[4]])
    files.enqueue([tf1.random_uniform([4])])
    output(tf.nn.relu(tf.identity(files.dequeue_many(2), "input")))


def records():
    serialized = tf1.placeholder(tf.string, [None], "records")
    pixels = tf.cast(tf.io.decode_raw(serialized, tf.uint8), tf.float32)
    output(tf.nn.relu(tf.identity(pixels, "input")))


def data_set():
    numbers = tf1.data.Dataset.from_tensors(np.zeros((2, 4), np.float32)).map(
        tf.negative)
    images = tf1.data.make_one_shot_iterator(numbers).get_next()
    output(tf.nn.relu(tf.identity(images, "input")))


def with_default():
    output(tf.nn.relu(tf1.placeholder_with_default(
        np.zeros((2, 4), np.float32), [None, 4], "input")))


def loss_beside():
    x, labels = table("labels")
    output(tf.nn.relu(x))
    weights = tf1.placeholder(tf.float32, [None, 3], "weights")
    tf.reduce_mean(tf.square(x - labels) * weights)


def norm_beside():
    x, = table()
    output(tf.nn.relu(x))
    mean, variance = tf.nn.moments(x, [0])
    tf.identity((x - mean) * tf1.rsqrt(variance), "training")


def function_beside():
    made = with_function()
    made.node.extend([relu("other")])
    return made


GOOD = {
    "three_dimensions": (three_dimensions, {"shapes": {
        "video": [1, 8, 16, 16, 3]}, "out_nodes": OUTPUT,
        "input_format": "ND"}),
    "relu": (PLAIN, {}),
    "no_shape": (graph(node("input", "Placeholder", dtype=FLOAT), relu()),
                 {"shapes": SHAPE}),
    "squared_error": (squared_error, {}),
    "layer_norm": (moments([1]), {}),
    "standardised_weights": (standardised_weights, {}),
    # What ATC cuts off before it looks: with --out_nodes what they do not
    # need, and what stands before a node that --input_shape names.
    "queue": (queue, {"shapes": SHAPE, "out_nodes": OUTPUT}),
    "queue_without_outputs": (graph(
        node("queue", "FIFOQueueV2"), node("input", "QueueDequeueV2", "queue"),
        relu()), {"shapes": SHAPE}),
    "records": (records, {"shapes": SHAPE, "out_nodes": OUTPUT}),
    "data_set": (data_set, {"shapes": SHAPE, "out_nodes": OUTPUT}),
    "with_default": (with_default, {"shapes": SHAPE}),
    "loss_beside": (loss_beside, {"out_nodes": OUTPUT}),
    "norm_beside": (norm_beside, {"out_nodes": OUTPUT}),
    "function_beside": (function_beside, {"out_nodes": [("other", 0)]}),
    "dead_end_beside": (graph(placeholder(), relu(), relu("dead", "gone")),
                        {"out_nodes": OUTPUT}),
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_graph_has_no_findings(name):
    what, request = GOOD[name]
    assert checks.examine(
        trim.without_new(made(what)), atc.Request(**request)) == []


@pytest.mark.parametrize("name", sorted(REJECTED) + sorted(DOUBTED))
def test_bad_graph_is_told(name, tmp_path):
    what, request, expected = dict(REJECTED, **DOUBTED)[name]
    graph_def = made(what)
    found = checks.examine(graph_def, atc.Request(**request))
    seen = {each.check for each in found}
    assert seen >= expected
    assert len(expected) > 1 or seen <= expected | {"ai_cpu", "new_attribute"}
    for each in found:
        assert each.reason and each.remedy
        assert each.node or each.check in (
            "no_placeholder", "no_output", "does_not_load")
    rejected = any(each.level == checks.REJECT for each in found)
    assert rejected == (name in REJECTED)
    if not request:
        path = saved(graph_def, tmp_path)
        assert preflight.main([path]) == int(rejected)
        assert preflight.main([path, "--strict"]) == 1


@pytest.mark.parametrize("op", [
    "Enter", "Exit", "NextIteration", "Switch", "Merge", "LoopCond",
    "TensorArrayV3", "TensorArrayReadV3"])
def test_each_operation_of_control_flow_is_a_doubt(op):
    """Alone most do not load, which is another finding."""
    found = [each for each in checks.examine(one(op, T=FLOAT))
             if each.check != "does_not_load"]
    assert [(each.level, each.check) for each in found] == [
        (checks.DOUBT, "control_flow")]


def test_every_batch_norm_of_the_known_system_is_named():
    found = checks.examine(frozen_as_the_known_system_does(), atc.Request(
        {"input": [2, 6, 6, 4]}))
    norms = [each.node for each in found
             if each.check == "batch_norm_training"]
    assert len(norms) == 2 and any("non_local" in name for name in norms)


def keras_like():
    """What TensorFlow 2 leaves in a frozen graph, on every TensorFlow."""
    x = tf1.placeholder(tf.float32, [2, 3, 3, 1], "input")
    ones = tf.ones([1])
    y = tf1.nn.fused_batch_norm(x, ones, ones, ones, ones,
                                is_training=False)[0]
    with tf.device("/cpu:0"):
        y = tf.nn.relu(y, name="output")
    tf.group(y, name="ending")
    tf.nn.relu(x, name="dead")
    graph_def = tf1.get_default_graph().as_graph_def()
    for each in graph_def.node:
        if "BatchNorm" in each.op:
            each.attr["exponential_avg_factor"].f = 1
        each.attr["_bytes"].s = b"\xe4"                 # legal
    return graph_def


def test_clean_graph_answers_as_the_formula(tmp_path, capsys):
    """(x - 1) / sqrt(1 + 1e-3) + 1, and its negative part gone."""
    target = tmp_path / "clean.pb"
    arguments = [saved(keras_like, tmp_path), "--out_nodes", "output:0",
                 "--strict"]
    assert preflight.main(arguments) == 1
    assert preflight.main(arguments + ["--write", str(target)]) == 0
    assert "clean.pb: clean;" in capsys.readouterr().out
    written = graphdef.read(str(target))
    assert not {"ending", "dead"} & {each.name for each in written.node}
    for each in written.node:
        assert set(each.attr) <= operations.known_operations()[each.op][1]
    x = np.random.RandomState(0).randn(2, 3, 3, 1).astype(np.float32)
    (answer,), = predict.predict(written, [{"input:0": x}], ["output"])
    np.testing.assert_allclose(
        answer, np.maximum((x - 1) / np.sqrt(1.001) + 1, 0), atol=1e-5)


def test_clean_graph_keeps_the_functions_that_it_calls(tmp_path):
    target = tmp_path / "clean.pb"
    graph_def = with_function()
    graph_def.library.function[0].node_def[0].attr["_new"].b = True
    preflight.main([saved(graph_def, tmp_path), "--write", str(target)])
    written = graphdef.read(str(target))
    function, = written.library.function
    assert function.signature.name == "f"
    assert set(function.node_def[0].attr) == {"T"}
    (answer,), = predict.predict(
        written, [{"input:0": np.float32([[-1, 2, -3, 4]] * 2)}], ["output"])
    assert answer.tolist() == [[0, 2, 0, 4]] * 2


def test_a_function_is_a_doubt_beside_the_library_that_atc_reads(
        tmp_path, capsys):
    path = saved(with_function, tmp_path)
    assert preflight.main([path]) == 1
    assert "func2graph.py" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "graph_def_library.pbtxt").write_text("library {}\n")
    assert preflight.main([path]) == 0
    assert "The file is there" in " ".join(capsys.readouterr().out.split())


def test_write_makes_no_output_of_what_was_read_for_its_order(tmp_path):
    checked = node("checked", "CheckNumerics", "input", T=FLOAT)
    checked.attr["message"].s = b""
    path, target = tmp_path / "net.pb", tmp_path / "clean.pb"
    path.write_bytes(graph(placeholder(), checked, node(
        "output", "Relu", "input", "^checked", T=FLOAT)).SerializeToString())
    assert preflight.main([str(path), "--write", str(target)]) == 0
    assert [each.name for each in graphdef.read(str(target)).node] == [
        "input", "output"]


def test_a_cut_behind_a_decoder_has_the_decoders_type():
    decoder = node("image", "DecodeJpeg", "input")
    cut = trim.trim(graph(
        node("input", "Placeholder", dtype=tf.string.as_datatype_enum),
        decoder, node("output", "Cast", "image")),
        atc.Request({"image": [8, 8, 3]}, [("output", 0)]))
    assert graphdef.attribute_type(
        graphdef.by_name(cut)["image"], "dtype") == tf.uint8.as_datatype_enum


@pytest.mark.parametrize("sparse, dtype", [(0, FLOAT), (1, INT64)])
def test_a_cut_behind_parsed_records_has_the_type_of_what_is_read(
        sparse, dtype):
    """The outputs before it are lists, which may be empty."""
    parse = node("parsed", "ParseExample", "input")
    parse.attr["Nsparse"].i = sparse
    parse.attr["sparse_types"].list.type.extend([FLOAT] * sparse)
    parse.attr["Tdense"].list.type.append(FLOAT)
    assert graphdef.result_type(parse) == dtype


def test_write_keeps_the_order_of_inputs_and_fixes_their_open_sizes(
        tmp_path, capsys):
    """msame and the .om take files by that order."""
    def build():
        tf1.placeholder(tf.float32, [None], "labels")           # not needed
        first = tf1.placeholder(tf.float32, [None, 4], "first")
        second = tf1.placeholder(tf.float32, None, "second")
        third = tf1.placeholder(tf.float32, [2, None], "third")
        with tf.control_dependencies([
                tf1.placeholder(tf.float32, [None], "for_the_order")]):
            output(tf.reduce_sum(third) - (second + first))

    target = str(tmp_path / "clean.pb")
    assert preflight.main([
        saved(build, tmp_path), "--write", target, "--out_nodes", "output:0",
        "--input_shape", "third:3,4;second:2,4;first:2,4"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "first, second, third" in printed
    assert "(3 for 2)" in printed           # what was fixed stays, and is said
    written = graphdef.read(target)
    assert [(each.name, graphdef.declared_shape(each))
            for each in graphdef.placeholders(written)] == [
        ("first", [2, 4]), ("second", [2, 4]), ("third", [2, 4])]


def test_input_shape_has_scalars_and_ranges_as_atc_has():
    flags = preflight.parse([
        "x.pb", "--input_shape=rate:;clip:1~8,4,100~-1;image:1,8"])
    assert flags.request.shapes == {
        "rate": [], "clip": [-1, 4, -1], "image": [1, 8]}


def test_an_assertion_is_left_out_by_write(tmp_path, capsys):
    path = saved(checked, tmp_path)
    assert preflight.main([path, "--json"]) == 1
    found, = [each for each in json.loads(capsys.readouterr().out)["findings"]
              if each["check"] == "string"]
    assert "--write" in found["remedy"]
    assert preflight.main([path, "--strict", "--write",
                           str(tmp_path / "clean.pb")]) == 0


def branches():
    """[5, 6] or [7, 8]: constants, tied to their branch by its control input;
    behind an assertion, which is a branch too."""
    x, = table()
    with tf.control_dependencies([tf1.assert_less(x, 100.)]):
        output(tf1.cond(tf.reduce_sum(x) > 0, lambda: tf.constant([5., 6.]),
                        lambda: tf.constant([7., 8.])))


def loop():
    """Three times: 2 y + 1, or 2 y - 1 where the first of y is not above 0."""
    x, = table()

    def body(index, y):
        one = tf1.cond(y[0, 0] > 0, lambda: tf.constant(1.),
                       lambda: tf.constant(-1.))
        with tf.control_dependencies([one]):
            return index + tf.constant(1), 2 * y + one

    output(tf1.while_loop(lambda index, y: index < 3, body, [0, x])[1])


@pytest.mark.parametrize("switch", ["Switch", "RefSwitch", "_SwitchN"])
def test_what_hangs_on_a_branch_is_told_from_an_order(switch):
    made = graph(
        placeholder(), node("s", switch, "input", "input"),
        node("a", "Identity", "s"), node("b", "Identity", "s:1"),
        node("x", "Const", "^a"), node("y", "Const", "^b"),
        node("m", "Merge", "x", "y"), node("z", "Const", "^m"))
    assert graphdef.in_control_flow(made) == {"a", "b", "x", "y"}


@pytest.fixture
def control_flow_of_tensorflow_1():
    was = tf1.control_flow_v2_enabled()
    tf1.disable_control_flow_v2()
    yield
    if was:
        tf1.enable_control_flow_v2()


@pytest.mark.parametrize("build, positive, negative, largest", [
    (branches, [5, 6], [7, 8], 100),            # of the assertion
    (loop, [[15] * 3] * 4, [[-15] * 3] * 4, 15)])
def test_write_leaves_branches_and_loops_whole(
        build, positive, negative, largest, tmp_path,
        control_flow_of_tensorflow_1, capsys):
    target = str(tmp_path / "clean.pb")
    path = saved(build, tmp_path)
    preflight.main([path, "--json"])
    remedies = {each["node"]: each["remedy"] for each in json.loads(
        capsys.readouterr().out)["findings"]}
    assert preflight.main([path, "--write", target]) == 0
    written = graphdef.read(target)
    assert "Assert" not in {each.op for each in written.node}
    for name in set(remedies) & {each.name for each in written.node}:
        assert "--write" not in remedies[name]
    ones = np.ones([4, 3], np.float32)
    for sign, expected in ((1, positive), (-1, negative)):
        (answer,), = predict.predict(written, [{"input:0": sign * ones}],
                                     ["output"])
        assert answer.tolist() == expected
        (sign * ones).tofile(str(tmp_path / "ones.bin"))
        capsys.readouterr()
        preflight.main([path, "--run", str(tmp_path / "ones.bin"), "--json"])
        report = json.loads(capsys.readouterr().out)["fp16"]
        assert report["largest"] == largest and report["operations_inside"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_write_replaces_files_alone(make, tmp_path, capsys):
    target = str(tmp_path / "target")
    make(target)
    before = os.stat(target).st_mode
    assert preflight.main([saved(PLAIN, tmp_path), "--write", target]) == 2
    error = capsys.readouterr().err
    assert "--write must name a file" in error and error.count("\n") == 1
    assert os.stat(target).st_mode == before


@pytest.mark.parametrize("nodes", [
    [const("c", np.int32([0]), [2 ** 31, 1]),
     node("output", "Mean", "input", "c", T=FLOAT, Tidx=INT32)],
    [const("c", np.int32([7]), [4 * 10 ** 9]),
     node("output", "Reshape", "input", "c", T=FLOAT, Tshape=INT32)],
    [const("d", np.int32([2 ** 31 - 1])), const("v", np.int32(1)),
     node("f", "Fill", "d", "v", T=INT32, index_type=INT32),
     node("output", "Reshape", "input", "f", T=FLOAT, Tshape=INT32)],
    [const("c", np.int32([2 ** 31 - 1])), const("v", np.int32(1)),
     node("d", "Identity", "c", T=INT32),
     node("f", "Fill", "d", "v", T=INT32, index_type=INT32),
     node("output", "Reshape", "input", "f", T=FLOAT, Tshape=INT32)],
], ids=["axes", "shape", "fill", "fill_behind_identity"])
def test_a_few_bytes_are_not_expanded_to_gigabytes(nodes):
    found, = checks.examine(graph(placeholder(), *nodes))
    assert (found.check, "the file does not hold" in found.reason) == (
        "does_not_load", True)


def test_a_million_results_are_refused():
    made = node("output", "Split", "axis", "input", T=FLOAT)
    made.attr["num_split"].i = 3 * 10 ** 8
    found, = checks.examine(graph(placeholder(
        shape=(3 * 10 ** 8,)), const("axis", np.int32(0)), made))
    assert "300,000,000 inputs or results" in found.reason


def test_json_holds_every_finding(tmp_path, capsys):
    assert preflight.main([saved(training_graph, tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "rejected"
    assert len([each for each in report["findings"]
                if each["check"] == "variable"]) >= 4
    assert set(report["findings"][0]) == {
        "level", "check", "node", "reason", "remedy"}


def test_an_atc_line_can_be_pasted(tmp_path):
    path = saved(graph(placeholder(shape=(None, 4)), relu()), tmp_path)
    line = ["atc", "--model=" + path, "--framework=3", "--output=good",
            "--soc_version=Ascend310", "--input_format=ND", "--log=error",
            "--output_type=FP32", "--precision_mode=allow_fp32_to_fp16",
            "--op_precision_mode=modes.ini"]
    for code, flags in (
            (0, ["--input_shape=input:2,4", "--out_nodes=output:0"]),
            (0, ["--input_shape=input:-1,4", "--dynamic_batch_size=1,8"]),
            (1, ["--input_shape=input:-1,4"])):
        assert preflight.main(line + flags) == code


@pytest.mark.parametrize("arguments, message", [
    ([], "Name one frozen graph"),
    (["a.pb", "--model", "b.pb"], "Name one frozen graph"),
    (["a.pb", "--framework", "5"], "is for --framework=5, ONNX"),
    (["--model", "a.onnx"], "Examine the .pb that it was made of"),
    (["a.pb", "--mode", "1"], "--mode: invalid choice"),
    (["a.pb", "--input_format", "nhwc"], "--input_format: invalid choice"),
    (["a.pb", "--precision_mode", "fp16"], "--precision_mode: invalid choice"),
    (["a.pb", "--precision_mode", "force_fp16", "--precision_mode_v2", "fp16"],
     "exclude each other"),
    (["a.pb", "--input_shape", "i:" + "9" * 20], "must be like"),
    (["a.pb", "--output", "out/"], "E10022"),
    (["a.pb", "--output", "out.om"], "E10022"),
    (["a.pb", "--soc_version", "310"], "must be like Ascend310"),
    (["a.pb", "--insert_op_conf", "none.cfg"], "must be a file"),
    (["a.pb", "--input_shape", "i:1;i:2"], "name each input once"),
    (["a.pb", "--input_shape", "i：1，2"], "not ASCII"),
    (["a.pb", "--input_shape", "i:-1,-1", "--dynamic_batch_size", "1,2"],
     "opens the first size alone"),
    (["/dev/zero"], "a device or a pipe"),
    (["a.pb", "--input_shape", "input"], "must be like name:32,224,224,1"),
    (["a.pb", "--input_shape", "input:1,x"], "must be like"),
    (["a.pb", "--input_shape", "input:0,4"], "sizes above 0"),
    (["a.pb", "--out_nodes", "output:a"], "must be like output:0"),
    (["a.pb", "--dynamic_batch_size", "1,2"], "needs an --input_shape"),
    (["a.pb", "--input_shape", "i:-1,4", "--dynamic_dims", "1;8"], "E10001"),
    (["a.pb", "--input_shape", "i:-1,4", "--dynamic_batch_size", "1",
      "--dynamic_dims", "1;2"], "exclude each other"),
    (["nowhere.pb"], "'nowhere.pb': No such file"),
    (["."], "'.': Is a directory"),
])
def test_unusable_is_one_line(arguments, message, tmp_path, monkeypatch,
                              capsys):
    monkeypatch.chdir(tmp_path)
    assert preflight.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


GEARS = [                       # flag, --input_shape, format, fit, do not
    ("dynamic_batch_size", "-1,4", "ND", ["1,8", "1, 8,32,", ",".join(
        map(str, range(1, 101)))], [
            "8", "1;8", "8,8", "8, 08", "0,8", "1,x", "1,,8", "1,²", ",".join(
                map(str, range(1, 102)))]),
    ("dynamic_dims", "-1,4", "ND", ["1;8", "1;8;"], [
        "1,8", "8;8", "0;8", "8", "1;8,9", "-1;8"]),
    ("dynamic_dims", "-1,-1", "ND", ["1,2;3,4", "1,2;2,1"], [
        "1,2", "1;8", "1, 2;3,4", "1,2;1,2", "1,0;3,4", "1,2,3,4"]),
    ("dynamic_image_size", "1,-1,-1,3", "NHWC", ["8,8;9, 9"], [
        "8,8", "8;9", "8,8;8,8", "8,9,10;8,9,11", "0,8;9,9"]),
    ("dynamic_image_size", "1,3,-1,-1", "NCHW", ["8,8;9,9"], []),
    ("dynamic_image_size", "1,-1,-1,3", "NCHW", [], ["8,8;9,9"]),
    ("dynamic_image_size", "1,-1,-1,3", "ND", [], ["8,8;9,9"]),
    ("dynamic_image_size", "1,4,-1,-1,3", "NDHWC", [], ["8,8;9,9"]),
    ("dynamic_image_size", "1,-1,-1", "NHWC", [], ["8,8;9,9"]),
]


@pytest.mark.parametrize("flag, sizes, layout, good, bad", GEARS)
def test_gears_are_taken_and_refused_as_atc_does(flag, sizes, layout, good,
                                                 bad):
    """atc_ir_common.cc and multi_batch_options.cc of 2021."""
    def ask(gears):
        return preflight.parse([
            "a.pb", "--input_shape=i:" + sizes, "--input_format=" + layout,
            "--{}={}".format(flag, gears)]).request.dynamic

    assert all(map(ask, good))
    for gears in bad:
        with pytest.raises(UserError, match="--" + flag) as error:
            ask(gears)
        hint = re.search(r"such as (\S+)", str(error.value))
        assert hint is None or ask(hint.group(1))


@pytest.mark.parametrize("content, message", [
    (b"", "is empty"),
    (b'node {\n  name: "input"\n}\n', "is text"),
    (b"\x89HDF\r\n", "HDF5"),
    (b"PK\x03\x04...", "a zip or .keras"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x0a\xff\xff\xff\x7fxx", "cut short"),
    (b"\x08\x01", "something else"),
    (graph(node("", "Relu")).SerializeToString(), "something else"),
])
def test_what_is_no_graph_is_one_line(content, message, tmp_path):
    path = tmp_path / "model.pb"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        graphdef.read(str(path))


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "model.pb"
    with open(str(path), "wb") as file:
        file.truncate(3 << 30)                          # a sparse file
    with pytest.raises(UserError, match="3,221,225,472 bytes"):
        graphdef.read(str(path))


def mutations(data, count):
    """Copies of `data` with some bytes changed, some of them cut."""
    random = np.random.RandomState(0)
    for trial in range(count):
        mutated = np.frombuffer(data, np.uint8).copy()
        for place in random.randint(0, len(data), random.randint(1, 3)):
            mutated[place] = random.randint(256)
        yield (mutated[:random.randint(len(data))] if trial % 3 == 0
               else mutated).tobytes()


def test_reader_survives_any_bytes():
    """Mutations and cuts of a graph that is loaded too, and of one that
    is rejected before: findings or a UserError, never a crash."""
    with graph_session() as session:
        x = tf1.placeholder(tf.float32, [2, 6, 6, 4], "input")
        z = NonLocalBlock(4)(x, is_training=False)
        tf.argmax(tf.reduce_mean(z, [1, 2]), 1, output_type=tf.int32,
                  name="output")
        set_values(session, random_values(tf1.global_variables(), 0))
        clean = fold.freeze(session, [session.graph.get_operation_by_name(
            "output")])
    assert checks.examine(clean) == []
    loaded = usable = 0
    for made in (clean, frozen_as_the_known_system_does()):
        for data in mutations(made.SerializeToString(), 400):
            try:
                graph_def = graphdef.parse(data, "x.pb")
            except UserError:
                continue
            usable += 1
            found = checks.examine(graph_def)
            loaded += not any(each.level == checks.REJECT
                              and each.check != "does_not_load"
                              for each in found)
    print(usable, loaded)
    assert usable > 60 and loaded > 20


def test_an_attribute_that_is_no_text_is_one_finding():
    """TensorFlow 1.15 would crash over it."""
    made = node("output", "BiasAdd", "input", "bias", T=FLOAT)
    made.attr["data_format"].s = b"NH\xe4C"
    found, = checks.examine(graph(
        placeholder(), const("bias", np.zeros(4, np.float32)), made))
    assert found.check == "does_not_load"


def registry():
    """This TensorFlow's operations: name -> OpDef."""
    from tensorflow.core.framework import op_def_pb2
    try:
        from tensorflow.python.client import pywrap_tf_session as wrapped
        buffer = wrapped.TF_GetAllOpList()
    except (ImportError, AttributeError):
        from tensorflow.python import pywrap_tensorflow as wrapped
        buffer = wrapped.TF_GetAllOpList()
    return {each.name: each for each in op_def_pb2.OpList.FromString(
        wrapped.TF_GetBuffer(buffer)).op}


def test_each_number_of_inputs_and_results_is_bounded():
    """By whatever attribute an operation's definition gives it."""
    for name, definition in registry().items():
        for each in list(definition.input_arg) + list(definition.output_arg):
            if each.number_attr and hasattr(tf.raw_ops, name):
                made = node("output", name)
                made.attr[each.number_attr].i = 2 ** 20
                with pytest.raises(UserError, match="1,048,576 inputs or"):
                    graphdef.load(graph(made), name)


def test_table_is_that_of_tensorflow_1_15_and_what_is_newer():
    operators = registry()
    known = operations.known_operations()
    assert len(known) > 300
    for name, (_, attributes) in known.items():
        if name not in operators or attributes is None:
            assert tf.__version__ >= "2" or name not in operators, name
            continue
        found = {each.name: each.default_value
                 for each in operators[name].attr}
        assert tf.__version__ >= "2" or set(found) == attributes, name
        for new in set(found) - attributes:
            assert operations.NEWER_DEFAULTS[new] == found[new], (name, new)
