"""Frozen graphs: reading a .pb file, and what its nodes say."""

import functools
import operator
import re

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import frozen_file

tf1 = tf.compat.v1

BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_PERHAPS = " (an .onnx, a SavedModel, a .meta, a part of a checkpoint?)"
_MOST_RESULTS = 2 ** 16         # of one operation, and inputs
_MOST_ELEMENTS = 2 ** 26        # of one value, repeated


def read(path):
    """Reads a binary GraphDef.

    Raises:
      UserError: there is no such file, or it is something else.
    """
    return parse(frozen_file.read(path), path)


def parse(data, path):
    """A GraphDef from its bytes; `path` is for the error."""
    graph_def = tf1.GraphDef()
    try:
        graph_def.ParseFromString(data)
    except Exception as error:      # DecodeError's home differs by protobuf
        if type(error).__name__ != "DecodeError":
            raise
        raise frozen_file.unusable(
            path, "cut short, or something else" + _PERHAPS)
    if not graph_def.node or not all(
            node.name and node.op for node in graph_def.node):
        raise frozen_file.unusable(path, "something else" + _PERHAPS)
    return graph_def


def load(graph_def, path):
    """Imports a GraphDef into the default graph.

    Raises:
      UserError: this TensorFlow refuses it.
    """
    _check_sizes(graph_def, path)
    copy = tf1.GraphDef()               # the import adds default attributes
    copy.CopyFrom(graph_def)
    for node in copy.node:              # TensorFlow 1.15 dies of printing them
        for value in node.attr.values():
            if value.WhichOneof("value") == "s":
                value.s = _text(value.s)
            elif value.list.s:
                value.list.s[:] = map(_text, value.list.s)
    try:
        tf1.import_graph_def(copy, name="")
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UserError("TensorFlow {} cannot load {!r}: {}".format(
            tf.__version__, path, str(error).split("\n")[0][:200]))


def _text(data):
    return data.decode("utf-8", "replace").encode("utf-8")


def _check_sizes(graph_def, path):
    """Refuses a few bytes that TensorFlow would expand to gigabytes."""
    for node in graph_def.node:
        inputs, results = _arguments(node)
        count = max([node.attr[each.number_attr].i for each in inputs + results
                     if each.number_attr in node.attr] or [0])
        if count > _MOST_RESULTS:
            raise UserError("{!r}: {!r} ({}) wants {:,} inputs or results."
                            .format(path, node.name, node.op, count))
    nodes = by_name(graph_def)
    for node in graph_def.node:
        sizes = [elements(node)]
        if node.op == "Fill" and node.input:            # as tf.zeros makes
            sizes.append(_product(integers(nodes, node.input[0])))
        if node.op == "Range" and len(node.input) > 2:
            start, limit, delta = [
                (integers(nodes, name) or [0])[0] for name in node.input[:3]]
            sizes.append(abs(limit - start) // abs(delta) if delta else 0)
        if max(sizes) > _MOST_ELEMENTS:
            raise UserError(
                "{!r}: {!r} ({}) claims {:,} values, which the file does not "
                "hold.".format(path, node.name, node.op, max(sizes)))


def _product(sizes):
    return functools.reduce(operator.mul, map(int, sizes), 1)


def elements(node):
    """How many values a Const is expanded to; 0 for those that it holds."""
    if node.op != "Const" or "value" not in node.attr:
        return 0
    tensor = node.attr["value"].tensor
    count = _product(dim.size for dim in tensor.tensor_shape.dim)
    return 0 if count <= tensor.ByteSize() else count


def source(name):
    """The node that an input names: "a:1" and "^a" give "a"."""
    return name.lstrip("^").split(":")[0]


def by_name(graph_def):
    """Name -> node; the last of those that share one."""
    return {node.name: node for node in graph_def.node}


def topological(roots, inputs):
    """The items that `roots` need, each behind its inputs.

    Args:
      roots: hashable items, in the order in which they matter.
      inputs: item -> list of items.
    """
    order, done = [], set()
    waiting = [(item, False) for item in reversed(list(roots))]
    while waiting:
        item, ready = waiting.pop()
        if ready:
            order.append(item)
        elif item not in done:
            done.add(item)
            waiting.append((item, True))
            waiting.extend(
                (each, False) for each in reversed(list(inputs(item))))
    return order


def needed(graph_def, outputs, stops=(), control=True):
    """Names of the nodes that `outputs` (names) need, inputs first.

    What `stops` need does not count, nor, without `control`, what is needed
    for the order alone.
    """
    nodes = by_name(graph_def)
    ties = () if control else in_control_flow(graph_def)

    def inputs(name):
        return [] if name in stops else [
            source(each) for each in nodes[name].input
            if source(each) in nodes and (
                control or each[0] != "^" or source(each) in ties)]

    return topological([name for name in outputs if name in nodes], inputs)


def in_control_flow(graph_def):
    """Names of nodes in a branch of tf.cond or in a tf.while_loop (of TF 1).

    A control input from there may be all that ties a node, such as a constant,
    to its branch or loop; from elsewhere it gives an order alone.
    """
    nodes = by_name(graph_def)
    ops = {name: re.sub("^Ref|^_|N$", "", node.op)      # also _SwitchN
           for name, node in nodes.items()}

    def inputs(name):                   # without a loop's way back
        return [each for each in map(source, nodes[name].input)
                if each in nodes and ops[each] != "NextIteration"]

    depths = {}                         # a loop's body: two, Enter and Switch
    for name in topological(nodes, inputs):
        read = inputs(name)
        joins = ops[name] == "Merge" and len(read) == len(nodes[name].input)
        depths[name] = {"Enter": 1, "Exit": -2}.get(
            ops[name], 0) - joins + max(
                [depths.get(each, 0) + (ops[each] == "Switch")
                 for each in read] or [0])
    return {name for name, depth in depths.items() if depth > 0}


def leaves(graph_def):
    """Nodes whose results nobody reads, in the file's order."""
    read_by_others = {
        source(name) for node in graph_def.node if node.op != "NoOp"
        for name in node.input}
    return [node for node in graph_def.node if node.name not in read_by_others
            and node.op not in ("Const", "Placeholder", "NoOp", "Assert")]


def dependents(graph_def, roots):
    """Names of `roots`, and of the nodes whose values depend on them."""
    readers = {}
    for node in graph_def.node:
        for name in node.input:         # "^name": its order alone does
            readers.setdefault(name.split(":")[0], []).append(node.name)
    return set(topological(roots, lambda name: readers.get(name, [])))


def placeholders(graph_def):
    """The Placeholder nodes in the file's order."""
    return [node for node in graph_def.node if node.op == "Placeholder"]


def declared_shape(node):
    """Of a Placeholder: a list with None where unknown; None: no rank."""
    if "shape" not in node.attr:        # reading it would make it
        return None
    shape = node.attr["shape"].shape
    if shape.unknown_rank:
        return None
    return [dim.size if dim.size >= 0 else None for dim in shape.dim]


def attribute_type(node, *names):
    """The type that the first of these attributes holds; 0: there is none."""
    for name in names:
        if name in node.attr:
            value = node.attr[name]
            return value.type or next(iter(value.list.type), 0)
    return 0


def _arguments(node):
    """What its operation's definition says of inputs and results; else []."""
    find = getattr(op_def_registry, "get", None)        # not in 1.15
    definition = (find or op_def_registry.get_registered_ops().get)(node.op)
    return (list(definition.input_arg), list(definition.output_arg)) if (
        definition) else ([], [])


def result_type(node):
    """Of a node's first result, by its operation's definition; else 0."""
    for each in _arguments(node)[1]:
        if each.number_attr and not (each.number_attr in node.attr
                                     and node.attr[each.number_attr].i):
            continue                    # none of these
        found = each.type or attribute_type(
            node, each.type_attr or each.type_list_attr)
        if found:
            return found
    return 0


def is_training(node):
    """Of a batch norm; TensorFlow takes it as true where it is not said."""
    return node.attr["is_training"].b if "is_training" in node.attr else True


def array_of(node):
    """The value of a Const node; None if it is damaged, or is none."""
    if node.op != "Const" or elements(node) > _MOST_ELEMENTS:
        return None
    try:
        return tf.make_ndarray(node.attr["value"].tensor)
    except (TypeError, ValueError, KeyError):
        return None


def constant(nodes, name):
    """`array_of` the node, of `nodes`, that an input names, or its Identity."""
    node = nodes.get(source(name))
    if node is not None and node.op == "Identity" and node.input:
        node = nodes.get(source(node.input[0]))
    return None if node is None else array_of(node)


def integers(nodes, name):
    """What a `constant` of integers holds, a short list; else []."""
    value = constant(nodes, name)
    return np.ravel(value)[:256].tolist() if (
        value is not None and value.dtype.kind in "iu") else []


def const_node(name, value):
    """A Const node that holds `value`."""
    value = np.asarray(value)
    dtype = tf.as_dtype(value.dtype)
    node = tf1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(
        tf1.make_tensor_proto(value, dtype, value.shape))
    return node
