"""What Ascend's ATC, or the device behind it, would stumble over in a graph.

Reads the GraphDef alone, so that a graph that TensorFlow itself cannot load is
examined too. Where the facts are uncertain, so is the finding (`DOUBT`).
"""

from typing import List, NamedTuple, Optional

import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef
from nonlocal_tf.export.preflight import operations
from nonlocal_tf.export.preflight.operations import DOUBT, REJECT, Finding

tf1 = tf.compat.v1

_SHOWN = 200                    # characters of a name in a message


class Request(NamedTuple):
    """What ATC will be asked for."""

    shapes: Optional[dict] = None       # --input_shape: name -> sizes, -1 open
    out_nodes: Optional[List[tuple]] = None     # (name, index or None)
    dynamic: bool = False               # a --dynamic_... flag is given


def examine(graph_def, request=None):
    """All findings about a graph.

    Args:
      graph_def: any GraphDef.
      request: what ATC will be asked for.
    Returns:
      A list of `Finding`s: graph, inputs, outputs, then the nodes in the
      file's order.
    """
    request = request or Request()
    findings = _structure(graph_def)
    findings += _inputs(graph_def, request)
    findings += _outputs(graph_def, request)
    known = operations.known_operations()
    nodes = graphdef.by_name(graph_def)
    functions = {each.signature.name for each in graph_def.library.function}
    needed = _needed(graph_def, request)
    for node in graph_def.node:
        if node.name in needed:
            findings += operations.of_node(node, known, functions)
    findings += operations.of_moments(graph_def, nodes)
    if not any(finding.level == REJECT for finding in findings):
        findings += _loads(graph_def, request)
    return findings


def _needed(graph_def, request):
    """Names of the nodes that --out_nodes need; without it, of all."""
    names = {node.name for node in graph_def.node}
    outputs = [name for name, _ in request.out_nodes or ()]
    if not outputs or not names.issuperset(outputs):
        return names
    return set(graphdef.needed(graph_def, outputs))


def _structure(graph_def):
    """Names and connections."""
    findings, seen = [], set()
    names = {node.name for node in graph_def.node}
    for node in graph_def.node:
        if node.name in seen:
            findings.append(Finding(
                REJECT, "duplicate_name", node.name,
                "the name stands twice; each must be unique",
                "Import each part under a name scope of its own."))
        seen.add(node.name)
        lost = sorted({each for each in map(graphdef.source, node.input)
                       if each not in names})
        if lost:
            findings.append(Finding(
                REJECT, "missing_input", node.name,
                "reads {!r}, which the file does not hold (E12009)".format(
                    lost[0][:_SHOWN]),
                "The file is cut short, or was extracted with a node too few: "
                "freeze it again."))
    for function in graph_def.library.function:
        findings.append(Finding(
            REJECT, "function", function.signature.name,
            "a function in the graph's library (E12013 where its body is not "
            "found)", "Build the graph without tf.function, tf.while_loop and "
            "tf.cond."))
    return findings


def _inputs(graph_def, request):
    """Placeholders against --input_shape."""
    findings = []
    placeholders = graphdef.placeholders(graph_def)
    if not placeholders:
        with_default = [node.name for node in graph_def.node
                        if node.op == "PlaceholderWithDefault"]
        findings.append(Finding(
            REJECT, "no_placeholder", (with_default or [""])[0],
            "no Placeholder: ATC needs at least one (E12010)" + (
                "; a PlaceholderWithDefault does not count"
                if with_default else ""),
            "Build the graph with tf.compat.v1.placeholder for each input."))
    names = [node.name for node in placeholders]
    asked = request.shapes or {}
    for name in sorted(set(asked) - set(names)):
        findings.append(Finding(
            REJECT, "input_name", name,
            "--input_shape names {!r}, which is no Placeholder (there: {})"
            .format(name, ", ".join(names)[:_SHOWN] or "none"),
            "Use the Placeholder's name, without \":0\"."))
    for node in placeholders:
        if graphdef.attribute_type(node, "dtype") != operations.STRING:
            findings += _placeholder(node, asked.get(node.name), request)
    return findings


def _placeholder(node, asked, request):
    declared = graphdef.declared_shape(node)
    shown = "unknown rank" if declared is None else str(
        [-1 if size is None else size for size in declared])
    if asked is None:
        if declared is None or (None in declared and not request.dynamic):
            return [Finding(
                REJECT, "unknown_dimension", node.name,
                "its shape is {}; ATC would compile for unknown sizes"
                .format(shown), 'Give --input_shape="{}:{}" with numbers, or '
                "freeze with a fixed batch.".format(node.name, ",".join(
                    "N" if size is None else str(size)
                    for size in declared or [None])))]
        return []
    if declared is not None and len(asked) != len(declared):
        return [Finding(
            REJECT, "input_rank", node.name,
            "--input_shape gives {} sizes, the Placeholder has {}: {}".format(
                len(asked), len(declared), shown),
            "Give one size for each of its dimensions.")]
    findings = []
    if -1 in asked and not request.dynamic:
        findings.append(Finding(
            REJECT, "unknown_dimension", node.name,
            "--input_shape leaves a size open (-1)",
            "Give a number, or add --dynamic_batch_size=1,8,32."))
    differing = [
        "{} for {}".format(new, old) for new, old in zip(asked, declared or [])
        if old is not None and new != old]
    if differing:
        findings.append(Finding(
            DOUBT, "input_size", node.name,
            "--input_shape asks for other sizes than the graph was frozen "
            "with ({})".format(", ".join(differing)),
            "Freeze with the sizes that the device will get."))
    return findings


def _outputs(graph_def, request):
    """--out_nodes, and what they do not need."""
    nodes = graphdef.by_name(graph_def)
    if not request.out_nodes:
        return []
    findings = [
        Finding(REJECT, "output_name", name,
                "--out_nodes names {!r}, which is not in the graph".format(
                    name[:_SHOWN]),
                "Name one of: " + ", ".join(
                    leaf.name for leaf in graphdef.leaves(graph_def))[:_SHOWN])
        for name, _ in request.out_nodes if name not in nodes]
    if findings:
        return findings
    findings = [
        Finding(DOUBT, "output_index", name,
                "--out_nodes names {!r} without an index".format(name),
                "atc's own form is {}:0.".format(name))
        for name, index in request.out_nodes if index is None]
    needed = _needed(graph_def, request)
    return findings + [
        Finding(DOUBT, "unneeded", node.name,
                "no output needs it; ATC may parse it all the same",
                "preflight --write clean.pb leaves it out.")
        for node in graph_def.node if node.name not in needed]


def _loads(graph_def, request):
    """Whether TensorFlow's own check of types and shapes passes."""
    copy = tf1.GraphDef()
    copy.CopyFrom(graph_def)
    for node in graphdef.placeholders(copy):
        sizes = (request.shapes or {}).get(node.name)
        if sizes is not None:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(
                [None if size < 0 else size for size in sizes]).as_proto())
    try:
        with tf.Graph().as_default() as graph:
            graphdef.load(copy, "the graph")
    except UserError as error:
        return [Finding(
            REJECT, "does_not_load", "", str(error),
            "Types or shapes do not fit together: freeze it again, or give "
            "the --input_shape that it was made for.")]
    counts = {name: len(graph.get_operation_by_name(name).outputs)
              for name, index in request.out_nodes or () if index is not None}
    return [
        Finding(REJECT, "output_name", name,
                "--out_nodes names {}:{}, but it has {} results".format(
                    name, index, counts[name]),
                "Name {}:0.".format(name))
        for name, index in request.out_nodes or ()
        if index is not None and index >= counts[name]]
