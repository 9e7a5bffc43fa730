"""Takes out of any frozen graph what ATC need not see."""

import os

import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import fold, graphdef
from nonlocal_tf.export.preflight import operations

tf1 = tf.compat.v1


def write(graph_def, path, target, outputs):
    """Writes the part of a graph that its outputs need, for TensorFlow 1.15.

    Args:
      graph_def: a frozen graph; `path` is for errors.
      target: the file to write.
      outputs: names of nodes; empty: those that nothing reads.
    Returns:
      The new GraphDef: without nodes that no output needs, control inputs,
      devices, and attributes that 1.15 does not know and that are at their
      defaults; others stay.
    Raises:
      UserError: an output is not there, TensorFlow cannot load the graph, or
        the file cannot be written.
    """
    nodes = graphdef.by_name(graph_def)
    outputs = outputs or [leaf.name for leaf in graphdef.leaves(graph_def)]
    missing = [name for name in outputs if name not in nodes]
    if missing:
        raise UserError("--out_nodes must name nodes of {!r}; it has no {!r}."
                        .format(path, missing[0]))
    defaults = _defaults(graph_def, path)
    known = operations.known_operations()
    result = tf1.GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        node.device = ""
        data = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(data)
        allowed = known.get(node.op, (None, None))[1]
        fold.drop_new_attributes(
            node, node.attr if allowed is None else allowed, defaults[node.op])
    result = fold.sorted_nodes(result, outputs)
    storage.make_folder(os.path.dirname(target) or ".", "--write")
    try:
        with storage.replacing(target) as file:
            file.write(result.SerializeToString(deterministic=True))
    except OSError as error:
        raise UserError("--write {!r} must be a file that can be written; {}."
                        .format(target, error.strerror or error))
    return result


def _defaults(graph_def, path):
    """Operation -> its attributes' defaults, as this TensorFlow knows it."""
    with tf.Graph().as_default() as graph:
        graphdef.load(graph_def, path)
        return {operation.type: fold.default_attributes(operation)
                for operation in graph.get_operations()}
