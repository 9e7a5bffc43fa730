"""Frozen graphs: reading a .pb file, and what its nodes say."""

import os

import numpy as np
import tensorflow as tf

from nonlocal_tf.errors import UserError

tf1 = tf.compat.v1

BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
LIMIT = 2 ** 31 - 1             # bytes; protobuf's own limit
_OTHERS = (                     # first bytes of what people take for a .pb
    (b"node {", "text; ATC wants the binary form"),
    (b"node:", "text; ATC wants the binary form"),
    (b"\x89HDF", "an HDF5 file of Keras"),
    (b"PK\x03\x04", "a zip or .keras file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"IMOD", "an .om, which ATC has already made"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x93NUMPY", "an array of NumPy"),
)


def read(path):
    """Reads a binary GraphDef.

    Raises:
      UserError: there is no such file, or it is something else.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not (
                os.path.isdir(path)):
            raise _unusable(path, "a device or a pipe")
        size = os.path.getsize(path)
        if size > LIMIT:
            raise _unusable(path, "{:,} bytes".format(size),
                            "A GraphDef has at most {:,}.".format(LIMIT))
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(
            "A frozen graph must be a file that can be read; {!r}: {}. {}"
            .format(path, "it is a SavedModel; freeze one of its signatures"
                    if os.path.isfile(os.path.join(path, "saved_model.pb"))
                    else error.strerror or error, _MAKE))
    return parse(data, path)


def parse(data, path):
    """A GraphDef from its bytes; `path` is for the error."""
    if not data:
        raise _unusable(path, "empty")
    for start, kind in _OTHERS:
        if data.lstrip().startswith(start):
            raise _unusable(path, kind)
    graph_def = tf1.GraphDef()
    try:
        graph_def.ParseFromString(data)
    except Exception as error:      # DecodeError's home differs by protobuf
        if type(error).__name__ != "DecodeError":
            raise
        raise _unusable(path, _guess(path, "cut short, or something else"))
    if not graph_def.node or not all(
            node.name and node.op for node in graph_def.node):
        raise _unusable(path, _guess(path, "something else"))
    return graph_def


def _guess(path, otherwise):
    """What a file may be, by its name."""
    name = os.path.basename(path)
    if ".ckpt" in name or ".data-" in name or name.endswith(".index"):
        return "a part of a checkpoint"
    if name == "saved_model.pb":
        return "a SavedModel: freeze one of its signatures"
    if name.endswith(".meta"):
        return "a MetaGraphDef: freeze its graph with a checkpoint"
    return otherwise


_MAKE = ("freeze_pb.py makes one of a checkpoint of train_gpu.py; "
         "convert_variables_to_constants of TensorFlow of any other graph.")


def _unusable(path, what, then=_MAKE):
    return UserError("A frozen graph must be a binary GraphDef; {!r} is {}. "
                     "{}".format(path, what, then))


def load(graph_def, path):
    """Imports a GraphDef into the default graph.

    Raises:
      UserError: this TensorFlow refuses it.
    """
    for node in graph_def.node:         # TensorFlow 1.15 would crash on them
        for name, value in node.attr.items():
            try:
                for text in [value.s] + list(value.list.s):
                    text.decode("utf-8")
            except UnicodeDecodeError:
                raise UserError(
                    "{!r} is damaged: the attribute {} of {!r} is no text. "
                    "Freeze it again.".format(path, name, node.name))
    copy = tf1.GraphDef()               # the import adds default attributes
    copy.CopyFrom(graph_def)
    try:
        tf1.import_graph_def(copy, name="")
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UserError("TensorFlow {} cannot load {!r}: {}".format(
            tf.__version__, path, str(error).split("\n")[0][:200]))


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


def needed(graph_def, outputs):
    """Names of the nodes that `outputs` (names) need, inputs first."""
    nodes = by_name(graph_def)

    def inputs(name):
        return [each for each in map(source, nodes[name].input)
                if each in nodes]

    return topological([name for name in outputs if name in nodes], inputs)


def leaves(graph_def):
    """Nodes whose results nobody reads, in the file's order."""
    read_by_others = {
        source(name) for node in graph_def.node for name in node.input}
    return [node for node in graph_def.node if node.name not in read_by_others
            and node.op not in ("Const", "Placeholder", "NoOp", "Assert")]


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


def attribute_type(node, name):
    """An attribute that holds a type; 0 where there is none."""
    return node.attr[name].type if name in node.attr else 0


def is_training(node):
    """Of a batch norm; TensorFlow takes it as true where it is not said."""
    return node.attr["is_training"].b if "is_training" in node.attr else True


def array_of(node):
    """The value of a Const node; None if it is damaged."""
    try:
        return tf.make_ndarray(node.attr["value"].tensor)
    except (TypeError, ValueError, KeyError):
        return None


def const_node(name, value):
    """A Const node that holds `value`."""
    value = np.asarray(value)
    dtype = tf.as_dtype(value.dtype)
    node = tf1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(
        tf1.make_tensor_proto(value, dtype, value.shape))
    return node
