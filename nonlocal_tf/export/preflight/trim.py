"""The part of a graph that ATC compiles; the same, written for --write."""

import os

import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import fold, graphdef
from nonlocal_tf.export.preflight import operations

tf1 = tf.compat.v1


def trim(graph_def, request):
    """What ATC's parser leaves of a graph before it looks at it.

    What the outputs need; without --out_nodes, all but what stands before the
    inputs. A node that --input_shape names becomes a Placeholder.

    Args:
      graph_def: any GraphDef; it is left as it was.
      request: an `atc.Request`; names that are not there are passed over.
    Returns:
      A GraphDef, with the functions that its nodes call.
    """
    shapes, kept = request.shapes or {}, _kept(graph_def, request)
    result = tf1.GraphDef(versions=graph_def.versions, node=[
        node for node in graph_def.node if node.name in kept])
    for node in result.node:
        if node.name in shapes and node.op != "Placeholder":
            _become_placeholder(node, shapes[node.name])
    _add_library(result, graph_def.library)
    return result


def _kept(graph_def, request):
    """Names of the nodes that `trim` leaves."""
    nodes = graphdef.by_name(graph_def)
    shapes = [name for name in request.shapes or () if name in nodes]
    outputs = [name for name, _ in request.out_nodes or () if name in nodes]
    if not outputs:
        kept = set(nodes) - set(graphdef.needed(graph_def, shapes))
    else:
        kept = set(graphdef.needed(graph_def, outputs, shapes))
    return kept.union(shapes)


def inputs(graph_def, request):
    """Names of the Placeholders of what `trim` leaves, in the file's order."""
    kept = _kept(graph_def, request)
    return [node.name for node in graph_def.node if node.name in kept and (
        node.op == "Placeholder" or node.name in (request.shapes or ()))]


def _become_placeholder(node, sizes):
    name, dtype = node.name, graphdef.result_type(node)
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = dtype or tf.float32.as_datatype_enum
    _set_sizes(node, sizes)


def _set_sizes(node, sizes):
    """Of a Placeholder; -1: open."""
    node.attr["shape"].shape.CopyFrom(tf1.AttrValue().shape)
    for size in sizes:
        node.attr["shape"].shape.dim.add(size=size)


def without_new(graph_def):
    """A copy without devices, private and new attributes at their defaults."""
    result = tf1.GraphDef()
    result.CopyFrom(graph_def)
    known = operations.known_operations()
    for nodes in [result.node] + [
            function.node_def for function in result.library.function]:
        for node in nodes:
            node.device = ""
            allowed = known.get(node.op, (None, None))[1]
            operations.drop_new_attributes(
                node, node.attr if allowed is None else allowed)
    return result


def loadable(graph_def, request):
    """`without_new`, its Placeholders of the sizes of --input_shape."""
    result = without_new(graph_def)
    for node in graphdef.placeholders(result):
        sizes = (request.shapes or {}).get(node.name)
        if sizes is not None:
            _set_sizes(node, sizes)
    return result


def _fix_open_sizes(node, sizes):
    """Writes those of --input_shape into a Placeholder where it has none."""
    declared = graphdef.declared_shape(node)
    if declared is None:
        declared = [None] * len(sizes)
    if len(declared) == len(sizes):
        _set_sizes(node, [own or size for own, size in zip(declared, sizes)])


def write(graph_def, path, target, request):
    """Writes what ATC compiles, so that TensorFlow 1.15 takes it.

    Args:
      graph_def: a frozen graph; `path` is for errors.
      target: the file to write.
      request: an `atc.Request`; without out_nodes, the outputs are what nothing
        reads.
    Returns:
      The new GraphDef: without nodes that no output needs, control inputs (but
      for those of control flow), devices, functions that no node calls, and
      attributes that 1.15 does not know and that are at their defaults; others
      stay. Its inputs are in the old order, with the sizes of --input_shape
      where theirs were open.
    Raises:
      UserError: an output is not there, or the file cannot be written.
    """
    outputs = [name for name, _ in request.out_nodes or ()]
    missing = set(outputs) - set(graphdef.by_name(graph_def))
    if missing:
        raise UserError("--out_nodes must name nodes of {!r}; it has no {!r}."
                        .format(path, min(missing)))
    if os.path.exists(target) and not os.path.isfile(target):
        raise UserError("--write must name a file; {!r} is a folder, a device "
                        "or a pipe.".format(target))
    if os.path.exists(target) and os.path.samefile(path, target):
        raise UserError("--write must name another file than the graph's own; "
                        "got {!r}.".format(target))
    trimmed = without_new(trim(graph_def, request))
    for node in graphdef.placeholders(trimmed):
        if node.name in (request.shapes or {}):
            _fix_open_sizes(node, request.shapes[node.name])
    outputs = outputs or [leaf.name for leaf in graphdef.leaves(trimmed)]
    if not outputs:
        raise UserError("--write needs an output; {!r} has none that gives a "
                        "value. Give --out_nodes.".format(path))
    ties = graphdef.in_control_flow(trimmed)
    for node in trimmed.node:
        node.input[:] = [name for name in node.input if name[0] != "^"
                         or graphdef.source(name) in ties]
    kept = set(graphdef.needed(trimmed, outputs))
    result = fold.sorted_nodes(trimmed, [
        node.name for node in graphdef.placeholders(trimmed)
        if node.name in kept] + outputs)
    _add_library(result, trimmed.library)
    storage.make_folder(os.path.dirname(target) or ".", "--write")
    try:
        with storage.replacing(target) as file:
            file.write(result.SerializeToString(deterministic=True))
    except OSError as error:
        raise UserError("--write {!r} must be a file that can be written; {}."
                        .format(target, storage.gist(error)))
    return result


def _add_library(graph_def, library):
    """The functions that its nodes need, of a library."""
    functions = {each.signature.name: each for each in library.function}
    names, waiting = set(), list(graph_def.node)
    while waiting:
        new = operations.called(waiting.pop(), functions) - names
        names |= new
        for name in new:
            waiting.extend(functions[name].node_def)
    graph_def.library.function.extend(
        functions[name] for name in sorted(names))
