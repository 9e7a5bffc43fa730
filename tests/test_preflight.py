"""Preflight finds what ATC would stumble over, in graphs made for that."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import fold, graphdef, predict
from nonlocal_tf.export.preflight import __main__ as preflight
from nonlocal_tf.export.preflight import checks, operations
from nonlocal_tf.layers import BatchNorm
from nonlocal_tf.non_local import NonLocalBlock

tf1 = tf.compat.v1
FLOAT, INT32, STRING = (tf.float32.as_datatype_enum,
                        tf.int32.as_datatype_enum, tf.string.as_datatype_enum)


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


def graph(*nodes):
    return tf1.GraphDef(node=nodes)


def relu(name="output", source="input"):
    return node(name, "Relu", source, T=FLOAT)


def built(build):
    """The GraphDef of what `build` makes in a graph of its own."""
    with tf.Graph().as_default() as made:
        build()
        return made.as_graph_def()


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


def moments():
    x = tf1.placeholder(tf.float32, [4, 3], "input")
    mean, variance = tf.nn.moments(x, [0])
    tf.identity((x - mean) * tf1.rsqrt(variance + 1e-5), "output")


def moments_by_hand():
    x = tf1.placeholder(tf.float32, [4, 3], "input")
    mean = tf.reduce_mean(x, 0, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), 0)
    tf.identity((x - mean) * tf1.rsqrt(variance + 1e-5), "output")


def moments_from_the_end():
    x = tf1.placeholder(tf.float32, [4, 3, 3, 2], "input")
    mean, variance = tf.nn.moments(x, [-4, -3, -2])
    tf.identity((x - mean) * tf1.rsqrt(variance + 1e-5), "output")


def squared_error():
    """A mean over the batch, but of no deviation from a mean."""
    x = tf1.placeholder(tf.float32, [4, 3], "input")
    tf.reduce_mean(tf1.squared_difference(x, tf.zeros([4, 3])), [0, 1],
                   name="output")


def layer_norm():
    x = tf1.placeholder(tf.float32, [4, 3], "input")
    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    tf.identity((x - mean) * tf1.rsqrt(variance + 1e-5), "output")


def conditional():
    x = tf1.placeholder(tf.float32, [2], "input")
    flag = tf1.placeholder_with_default(False, [], "is_training")
    tf1.cond(flag, lambda: x * 2, lambda: x)


def loop():
    x = tf1.placeholder(tf.float32, [2], "input")
    tf1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2.0), [0, x])


def argmax64():
    tf.argmax(tf1.placeholder(tf.float32, [2, 3], "input"), 1, name="output")


def strings():
    x = tf1.placeholder(tf.string, [2], "input")
    tf.io.decode_raw(x, tf.uint8, name="output")


def with_function():
    made = graph(placeholder(), node("output", "my_function", "input"))
    made.library.function.add().signature.name = "my_function"
    return made


def new_attribute():
    made = node("output", "FusedBatchNormV3", "input", "input", "input",
                "input", "input", T=FLOAT, U=FLOAT)
    made.attr["is_training"].b = False
    made.attr["exponential_avg_factor"].f = 1.0
    return graph(placeholder(), made)


def default_is_training():
    """Without the attribute TensorFlow takes is_training as true."""
    return graph(placeholder(), node(
        "output", "FusedBatchNorm", "input", "input", "input", "input",
        "input", T=FLOAT))


SHAPE = {"input": [2, 4]}
BAD = {
    "known_system": (frozen_as_the_known_system_does, {}, {
        "batch_norm_training", "unknown_dimension"}),
    "training": (lambda: built(training_graph), {}, {
        "variable", "save_restore", "summary", "optimizer", "gradient",
        "dropout", "batch_norm_training", "string"}),
    "moments": (lambda: built(moments), {}, {"batch_norm_training"}),
    "moments_by_hand": (lambda: built(moments_by_hand), {}, {
        "batch_norm_training"}),
    "moments_from_the_end": (lambda: built(moments_from_the_end), {}, {
        "batch_norm_training"}),
    "default_is_training": (default_is_training, {}, {"batch_norm_training"}),
    "no_placeholder": (lambda: graph(relu("a", "b"), relu("b", "a")), {}, {
        "no_placeholder"}),
    "with_default": (
        lambda: graph(node("input", "PlaceholderWithDefault", "value",
                           dtype=FLOAT), graphdef.const_node(
                               "value", np.float32(1)), relu()),
        {}, {"no_placeholder"}),
    "input_name": (lambda: graph(placeholder("inputs"), relu("o", "inputs")),
                   {"shapes": SHAPE}, {"input_name"}),
    "input_rank": (lambda: graph(placeholder(), relu()),
                   {"shapes": {"input": [2, 4, 4, 1]}}, {"input_rank"}),
    "input_size": (lambda: graph(placeholder(), relu()),
                   {"shapes": {"input": [32, 4]}}, {"input_size"}),
    "unknown_batch": (lambda: graph(placeholder(shape=(None, 4)), relu()), {},
                      {"unknown_dimension"}),
    "unknown_rank": (lambda: graph(placeholder(shape=None), relu()), {}, {
        "unknown_dimension"}),
    "asked_unknown": (lambda: graph(placeholder(), relu()),
                      {"shapes": {"input": [-1, 4]}},
                      {"unknown_dimension", "input_size"}),
    "output_name": (lambda: graph(placeholder(), relu()),
                    {"out_nodes": [("outputs", 0)]}, {"output_name"}),
    "function": (with_function, {}, {"function"}),
    "partitioned_call": (
        lambda: graph(placeholder(), node(
            "output", "StatefulPartitionedCall", "input")), {}, {"function"}),
    "conditional": (lambda: built(conditional), {}, None),
    "loop": (lambda: built(loop), {}, None),
    "if": (lambda: graph(placeholder(), node("o", "StatelessIf", "input")),
           {}, {"conditional"}),
    "while": (lambda: graph(placeholder(), node("o", "While", "input")), {}, {
        "loop"}),
    "string": (lambda: built(strings), {}, {"string", "operation"}),
    "operation": (lambda: graph(placeholder(), node(
        "output", "PyFunc", "input", T=FLOAT)), {}, {"operation"}),
    "unsure": (lambda: graph(placeholder(), node(
        "output", "Einsum", "input", T=FLOAT)), {}, {
            "unsure_operation", "does_not_load"}),
    "new_attribute": (new_attribute, {}, {"new_attribute"}),
    "argmax": (lambda: built(argmax64), {}, {"argmax_int64"}),
    "duplicate": (lambda: graph(placeholder(), relu(), relu()), {}, {
        "duplicate_name"}),
    "cut_short": (lambda: graph(placeholder(), relu("output", "gone")), {}, {
        "missing_input"}),
    "output_index": (lambda: graph(placeholder(), relu()),
                     {"out_nodes": [("output", 1)]}, {"output_name"}),
    "no_index": (lambda: graph(placeholder(), relu()),
                 {"out_nodes": [("output", None)]}, {"output_index"}),
    "no_shape": (lambda: graph(node("input", "Placeholder", dtype=FLOAT),
                               relu()), {}, {"unknown_dimension"}),
    "unneeded": (lambda: graph(placeholder(), relu(), relu("other")),
                 {"out_nodes": [("output", 0)]}, {"unneeded"}),
    "control": (lambda: graph(placeholder(), relu(), node(
        "group", "NoOp", "^output")), {}, {"control"}),
    "types": (lambda: graph(placeholder(), node(
        "output", "Relu", "input", T=INT32)), {}, {"does_not_load"}),
}
ONLY_DOUBTS = {"input_size", "argmax", "unneeded", "control",
               "moments_from_the_end", "no_index"}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_graph_is_told(name, tmp_path, capsys):
    make, request, expected = BAD[name]
    graph_def = make()
    found = checks.examine(graph_def, checks.Request(**request))
    if expected is None:                    # old and new control flow differ
        expected = {each.check for each in found} & {
            "loop", "conditional", "function"}
        assert expected
    assert {each.check for each in found} >= expected
    if len(expected) == 1:
        assert {each.check for each in found} - {"ai_cpu"} == expected
    for each in found:
        assert each.reason and each.remedy
        assert each.node or each.check in ("no_placeholder", "does_not_load")
    path = tmp_path / "bad.pb"
    path.write_bytes(graph_def.SerializeToString())
    rejected = any(each.level == checks.REJECT for each in found)
    assert rejected != (name in ONLY_DOUBTS)
    if not request:
        assert preflight.main([str(path)]) == int(rejected)
        assert preflight.main([str(path), "--strict"]) == 1
        table = capsys.readouterr().out
        assert "reject" in table or not rejected


def test_every_batch_norm_of_the_known_system_is_named():
    found = checks.examine(frozen_as_the_known_system_does(), checks.Request(
        {"input": [2, 6, 6, 4]}))
    norms = [each.node for each in found
             if each.check == "batch_norm_training"]
    assert len(norms) == 2 and any("non_local" in name for name in norms)


@pytest.mark.parametrize("make", [
    lambda: built(layer_norm), lambda: built(squared_error),
    lambda: graph(placeholder(), relu())],
    ids=["layer_norm", "squared_error", "relu"])
def test_good_graph_has_no_findings(make):
    graph_def = make()
    for each in graph_def.node:
        each.attr.pop("_output_shapes", None)
        new = set(each.attr) - operations.known_operations()[each.op][1]
        for name in new:                    # of this TensorFlow, at default
            del each.attr[name]
    assert checks.examine(graph_def) == []


def test_a_placeholder_without_a_shape_takes_any():
    graph_def = graph(node("input", "Placeholder", dtype=FLOAT), relu())
    assert checks.examine(graph_def, checks.Request(SHAPE)) == []


def test_what_the_outputs_do_not_need_is_in_doubt_alone():
    graph_def = built(training_graph)
    graph_def.node.extend([relu("last", "input")])
    found = checks.examine(graph_def, checks.Request(
        out_nodes=[("last", 0)]))
    assert {(each.level, each.check) for each in found} == {
        (checks.DOUBT, "unneeded")}


def keras_like():
    """What TensorFlow 2 leaves in a frozen graph."""
    with tf.Graph().as_default() as made:
        x = tf1.placeholder(tf.float32, [2, 3, 3, 1], "input")
        ones = tf.ones([1])
        y = tf1.nn.fused_batch_norm(x, ones, ones, ones, ones,
                                    is_training=False)[0]
        with tf.device("/cpu:0"):
            y = tf.nn.relu(y, name="output")
        tf.group(y, name="ending")
        tf.nn.relu(x, name="dead")
        return made.as_graph_def()


def test_clean_graph_answers_as_before(tmp_path, capsys):
    path, target = tmp_path / "made.pb", tmp_path / "clean.pb"
    graph_def = keras_like()
    path.write_bytes(graph_def.SerializeToString())
    arguments = [str(path), "--out_nodes", "output:0", "--strict"]
    assert preflight.main(arguments) == 1
    assert preflight.main(arguments + ["--write", str(target)]) == 0
    assert "clean.pb: clean;" in capsys.readouterr().out
    written = graphdef.read(str(target))
    assert not {"ending", "dead"} & {each.name for each in written.node}
    x = np.random.RandomState(0).randn(2, 3, 3, 1).astype(np.float32)
    before, after = [
        next(predict.predict(each, [{"input:0": x}], ["output"]))[0]
        for each in (graph_def, written)]
    np.testing.assert_array_equal(before, after)


def test_json_holds_every_finding(tmp_path, capsys):
    path = tmp_path / "bad.pb"
    path.write_bytes(built(training_graph).SerializeToString())
    assert preflight.main([str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "rejected"
    assert len([each for each in report["findings"]
                if each["check"] == "variable"]) >= 4
    assert set(report["findings"][0]) == {
        "level", "check", "node", "reason", "remedy"}


def test_an_atc_line_can_be_pasted(tmp_path):
    path = tmp_path / "good.pb"
    path.write_bytes(graph(placeholder(shape=(None, 4)),
                           relu()).SerializeToString())
    line = ["atc", "--model=" + str(path), "--framework=3", "--output=good",
            "--soc_version=Ascend310", "--input_format=ND", "--log=error",
            "--output_type=FP32", "--precision_mode=allow_fp32_to_fp16",
            "--op_precision_mode=modes.ini"]
    assert preflight.main(line + [
        "--input_shape=input:2,4", "--out_nodes=output:0"]) == 0
    assert preflight.main(line + [
        "--input_shape=input:-1,4", "--dynamic_batch_size=1,8"]) == 0
    assert preflight.main(line + ["--input_shape=input:-1,4"]) == 1


@pytest.mark.parametrize("arguments, message", [
    ([], "Name one frozen graph"),
    (["a.pb", "--model", "b.pb"], "Name one frozen graph"),
    (["a.pb", "--framework", "5"], "--framework must be 3"),
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
    (["a.pb", "--input_shape", "i:-1,4", "--dynamic_batch_size", "1,x"],
     "must be numbers"),
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
        session.run(tf1.global_variables_initializer())
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


def test_an_attribute_that_is_no_text_is_one_line():
    """TensorFlow 1.15 would crash over it."""
    made = node("output", "BiasAdd", "input", "bias", T=FLOAT)
    made.attr["data_format"].s = b"NH\xe4C"
    found = checks.examine(graph(placeholder(), graphdef.const_node(
        "bias", np.zeros(4, np.float32)), made))
    assert [each.check for each in found] == ["does_not_load"]
    assert "is no text" in found[0].reason


@pytest.mark.skipif(not tf.__version__.startswith("1.15"),
                    reason="the table is that of TensorFlow 1.15")
def test_table_is_that_of_tensorflow_1_15():
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python import pywrap_tensorflow
    registry = op_def_pb2.OpList.FromString(pywrap_tensorflow.TF_GetBuffer(
        pywrap_tensorflow.TF_GetAllOpList()))
    attributes = {each.name: {attribute.name for attribute in each.attr}
                  for each in registry.op}
    table = operations.known_operations()
    assert len(table) > 300
    for name, (_, known) in table.items():
        assert attributes.get(name) == known, name


def test_table_is_a_part_of_the_package():
    assert os.path.isfile(os.path.join(
        os.path.dirname(checks.__file__), "atc_ops.txt"))
