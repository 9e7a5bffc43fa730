"""What Ascend's ATC, or the device behind it, would stumble over in a graph.

Reads the GraphDef alone, so that a graph that TensorFlow itself cannot load is
examined too. Where the facts are uncertain, so is the finding (`DOUBT`).
"""

import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef
from nonlocal_tf.export.preflight import operations, trim, volumes
from nonlocal_tf.export.preflight.atc import Request
from nonlocal_tf.export.preflight.operations import DOUBT, REJECT, Finding

tf1 = tf.compat.v1

_SHOWN = 200                    # characters of a name in a message
_INPUTS = {each.as_datatype_enum: each for each in (
    tf.float16, tf.float32, tf.uint8, tf.int32, tf.int64, tf.bool)}
_ORDERS = ("preflight --write clean.pb leaves it out: no output needs its "
           "value, only its order.")


def examine(graph_def, request=None, library=False):
    """All findings about a graph.

    Args:
      graph_def: any GraphDef.
      request: what ATC will be asked for, an `atc.Request`.
      library: whether an `operations.LIBRARY` lies beside its file.
    Returns:
      A list of `Finding`s about what ATC leaves of it (`trim`): graph, inputs,
      outputs, then the nodes in the file's order.
    """
    request = request or Request()
    whole = graph_def
    graph_def = trim.trim(whole, request)
    findings = _structure(graph_def, whole)
    findings += _inputs(graph_def, whole, request)
    findings += _outputs(whole, request)
    known = operations.known_operations()
    nodes = graphdef.by_name(graph_def)
    functions = {each.signature.name for each in graph_def.library.function}
    outputs = [name for name, _ in request.out_nodes or ()] or [
        leaf.name for leaf in graphdef.leaves(graph_def)]
    values = set(graphdef.needed(graph_def, outputs, control=False))
    orders = set(graphdef.needed(graph_def, outputs)) - values
    for node in graph_def.node:
        found = operations.of_node(node, known, functions, nodes, library)
        found += volumes.of_node(node, nodes, request)
        if node.name in orders:
            found = [each._replace(remedy=_ORDERS) for each in found]
        findings += found
    findings += operations.of_moments(graph_def, nodes)
    if not any(finding.level == REJECT for finding in findings):
        findings += _loads(graph_def, request)
    return findings


def _structure(graph_def, whole):
    """Names and connections."""
    findings, seen, before = [], set(), set(graphdef.by_name(whole))
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
            cut = lost[0] in before
            findings.append(Finding(
                REJECT, "missing_input", node.name,
                "reads {!r}, which {} (E12009)".format(
                    lost[0][:_SHOWN], "ATC cuts off with what stands before "
                    "--input_shape" if cut else "the file does not hold"),
                "Give --out_nodes too: ATC then keeps what they need." if cut
                else "The file is cut short, or was extracted with a node too "
                "few: freeze it again."))
    return findings


def _inputs(graph_def, whole, request):
    """Placeholders against --input_shape."""
    findings = []
    placeholders = graphdef.placeholders(graph_def)
    if not placeholders:
        with_default = [node.name for node in graph_def.node
                        if node.op == "PlaceholderWithDefault"]
        findings.append(Finding(
            REJECT, "no_placeholder", (with_default or [""])[0],
            "no Placeholder: ATC needs at least one (E12010)",
            "Name the node in --input_shape, which makes one of it; or build "
            "the graph with tf.compat.v1.placeholder for each input."))
    nodes = graphdef.by_name(whole)
    asked = request.shapes or {}
    for name in sorted(set(asked) - set(nodes)):
        findings.append(Finding(
            REJECT, "input_name", name,
            "--input_shape names {!r}, which is not in the graph (E10016; "
            "inputs there: {})".format(name[:_SHOWN], ", ".join(
                node.name for node in placeholders)[:_SHOWN] or "none"),
            "Use the node's name, without \":0\"."))
    for node in placeholders:
        dtype = graphdef.attribute_type(node, "dtype")
        if dtype != operations.STRING:
            findings += _placeholder(node, asked.get(node.name), request)
            findings += volumes.of_input(
                node, asked.get(node.name) or graphdef.declared_shape(node)
                or [], request)
        if dtype not in _INPUTS:
            findings.append(Finding(
                REJECT, "input_type", node.name,
                "an input of type {}; ATC takes {}".format(
                    _type_name(dtype), ", ".join(
                        each.name for each in _INPUTS.values())),
                "Feed one of these, and cast behind it."))
        elif dtype != tf.float32.as_datatype_enum and node.name in nodes and (
                not graphdef.attribute_type(nodes[node.name], "dtype")):
            findings.append(Finding(
                DOUBT, "input_type", node.name,
                "becomes a Placeholder, whose type ATC reads from dtype; {} "
                "has none (uncertain)".format(nodes[node.name].op),
                "preflight --write clean.pb writes one with its type."))
    return findings


def _type_name(dtype):
    try:
        return tf.as_dtype(dtype).name
    except TypeError:                   # a damaged file
        return "unknown"


def _placeholder(node, asked, request):
    declared = graphdef.declared_shape(node)
    shown = "unknown rank" if declared is None else str(
        [-1 if size is None else size for size in declared])
    if asked is None:
        open_too = request.dynamic and request.shapes is None   # by freeze
        if declared is None or (None in declared and not open_too):
            return [Finding(
                REJECT, "unknown_dimension", node.name,
                "its shape is {}; ATC would compile for unknown sizes"
                .format(shown), 'Give --input_shape="{}:{}" with numbers, or '
                "freeze with a fixed batch.".format(node.name, ",".join(
                    "N" if size is None else str(size)
                    for size in declared or [None])))]
        return []
    findings = []
    if -1 in asked and not request.dynamic:
        findings.append(Finding(
            REJECT, "unknown_dimension", node.name,
            "--input_shape leaves a size open",
            "Give a number, or add --dynamic_batch_size=1,8,32."))
    differing = [
        "{} for {}".format(new, old) for new, old in zip(asked, declared or [])
        if old is not None and new != old]
    if declared is not None and len(asked) != len(declared):
        findings.append(Finding(        # ATC writes it in before it compares
            DOUBT, "input_rank", node.name,
            "--input_shape gives {} sizes, the Placeholder has {}: {}".format(
                len(asked), len(declared), shown),
            "Give one size for each of its dimensions."))
    elif differing:
        findings.append(Finding(
            DOUBT, "input_size", node.name,
            "--input_shape asks for other sizes than the graph was frozen "
            "with ({})".format(", ".join(differing)),
            "Freeze with the sizes that the device will get."))
    return findings


def _outputs(graph_def, request):
    """--out_nodes."""
    nodes = graphdef.by_name(graph_def)
    none = [] if request.out_nodes or graphdef.leaves(graph_def) else [
        Finding(REJECT, "no_output", "", "no node gives a value that nobody "
                "reads, so that the graph has no output", "Give --out_nodes.")]
    return none + [
        Finding(REJECT, "output_name", name,
                "--out_nodes names {!r}, which is not in the graph (E10016)"
                .format(name[:_SHOWN]),
                "Name one of: " + ", ".join(
                    leaf.name for leaf in graphdef.leaves(graph_def))[:_SHOWN])
        for name, _ in request.out_nodes or () if name not in nodes] + [
        Finding(DOUBT, "output_index", name,
                "--out_nodes names {!r} without an index".format(name),
                "atc's own form is {}:0.".format(name))
        for name, index in request.out_nodes or ()
        if name in nodes and index is None]


def _loads(graph_def, request):
    """What TensorFlow's own check of types and shapes finds."""
    try:
        with tf.Graph().as_default() as graph:
            graphdef.load(trim.loadable(graph_def, request), "the graph")
    except UserError as error:
        if "not registered" in str(error):
            return [Finding(
                DOUBT, "not_loaded", "", str(error), "Types and shapes were "
                "not checked; examine it with a newer TensorFlow too.")]
        return [Finding(
            REJECT, "does_not_load", "", str(error),
            "Types or shapes do not fit together: freeze it again, or give "
            "the --input_shape that it was made for.")]
    findings = []
    for name, index in request.out_nodes or [
            (leaf.name, None) for leaf in graphdef.leaves(graph_def)]:
        operation = graph.get_operation_by_name(name)
        results = operation.outputs[index or 0:][:1]
        if index is not None and not results:
            findings.append(Finding(
                REJECT, "output_name", name,
                "--out_nodes names {}:{}, but it has {} results".format(
                    name, index, len(operation.outputs)),
                "Name {}:0.".format(name)))
        elif results and results[0].dtype == tf.int64 and (
                operation.type not in ("ArgMax", "ArgMin")):
            findings.append(Finding(
                DOUBT, "output_type", name, "an output of type int64, which "
                "ATC's documents leave out", "Cast it to int32."))
    return findings
