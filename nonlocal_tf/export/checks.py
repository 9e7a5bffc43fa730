"""What Ascend's ATC, or the device behind it, would stumble over in a graph.

Reads the GraphDef alone, so that a graph that TensorFlow itself cannot load is
examined too. Where the facts are uncertain, so is the finding (`DOUBT`).
"""

import re
from typing import List, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import fold, graphdef

tf1 = tf.compat.v1

REJECT, DOUBT = "reject", "doubt"


class Finding(NamedTuple):
    """One thing that is wrong, or may be."""

    level: str                          # REJECT or DOUBT
    check: str                          # which check, for programs
    node: str                           # name of the node, or ""
    reason: str
    remedy: str


class Request(NamedTuple):
    """What ATC will be asked for."""

    shapes: Optional[dict] = None       # --input_shape: name -> sizes, -1 open
    out_nodes: Optional[List[tuple]] = None     # (name, index or None)
    dynamic: bool = False               # a --dynamic_... flag is given


_REFREEZE = "Freeze a graph that is built for inference alone (freeze_pb.py)."
_FOLD = ("Freeze the variables into constants (freeze_pb.py; "
         "convert_variables_to_constants).")

# What kind of operation does not belong: pattern, check, reason, remedy. The
# first that fits is reported.
_KINDS = [(re.compile(pattern), check, reason, remedy)
          for pattern, check, reason, remedy in (
    (r"(VariableV2|Variable|VarHandleOp|ReadVariableOp|VarIsInitializedOp|"
     r"IsVariableInitialized|AutoReloadVariable|ResourceGather(Nd)?)$",
     "variable", "a variable is left; ATC maps none for inference", _FOLD),
    (r"(Save|Restore)(V2|Slices?)?$|ShardedFile(name|spec)$|"
     r"MergeV2Checkpoints$",
     "save_restore", "belongs to saving and restoring",
     "Freeze with the outputs' names, so that it is left out; " + _REFREEZE),
    (r"(Merge|Scalar|Histogram|Image|Audio|Tensor)\w*Summary\w*|WriteSummary",
     "summary", "writes a summary for TensorBoard", _REFREEZE),
    (r"(Resource)?(Sparse)?Apply[A-Z]|Assign|ResourceScatter|"
     r"Scatter(Nd)?(Add|Sub|Update|Mul|Div|Min|Max)$",
     "optimizer", "changes a variable: part of an optimizer or of batch "
     "norm's update", _REFREEZE),
    (r"(?!Stop|Prevent)\w+Grad(V\d|WithArgmax|Grad\w*|Boxes|Image|ient)?$|"
     r"BroadcastGradientArgs$|\w+BackpropFilter(V\d)?$",
     "gradient", "computes a gradient", _REFREEZE),
    (r"(Stateful)?PartitionedCall$|RemoteCall$|SymbolicCall$",
     "function", "calls a function; ATC looks for its body in a file "
     "graph_def_library.pbtxt", "Inline functions: build the graph without "
     "tf.function, or freeze with freeze_pb.py."),
    (r"(Ref)?(Enter|Exit|NextIteration)$|LoopCond$|(Stateless)?(While|For)$|"
     r"TensorArray", "loop", "part of a loop",
     "Unroll the loop, or write it as operations on whole tensors."),
    (r"(Ref)?(Switch|Merge)$|(Stateless)?(If|Case)$", "conditional",
     "part of a conditional, such as tf.cond on is_training",
     "Build the graph with is_training=False as a Python value."),
    (r"(Random|Truncated|Parameterized|Stateless(Random|Trunc)|Stateful(Uni|"
     r"Stan|Trunc|Random)|Multinomial|StatelessMultinomial|RngSkip)",
     "dropout", "makes random numbers: dropout or an initializer",
     "Build the graph with is_training=False (keep_prob 1). " + _REFREEZE),
)]

_BATCH_NORM = re.compile(r"FusedBatchNorm(V\d)?$")
_STRING = tf.string.as_datatype_enum
_SHOWN = 200                    # characters of a name in a message


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
    known = fold.known_operations()
    nodes = graphdef.by_name(graph_def)
    functions = {each.signature.name for each in graph_def.library.function}
    needed = _needed(graph_def, request)
    for node in graph_def.node:
        if node.name in needed:
            findings += _node(node, nodes, known, functions)
    findings += _moments(graph_def, nodes)
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
        if _type(node, "dtype") != _STRING:
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


def _type(node, name):
    """An attribute that holds a type; 0 where there is none."""
    return node.attr[name].type if name in node.attr else 0


def _node(node, nodes, known, functions):
    """Findings about one node by itself."""
    if node.op in functions:
        return [Finding(REJECT, "function", node.name,
                        "calls the function {}".format(node.op),
                        "Build the graph without tf.function.")]
    for pattern, check, reason, remedy in _KINDS:
        if pattern.match(node.op):
            return [Finding(REJECT, check, node.name,
                            "{}: {}".format(node.op, reason), remedy)]
    if any(value.type == _STRING for value in node.attr.values()):
        return [Finding(
            REJECT, "string", node.name,
            "{}: works on strings, which the device has not".format(node.op),
            "Leave it out: decode files before the graph's input.")]
    if node.op == "NoOp":
        return [Finding(
            DOUBT, "control", node.name, "NoOp: orders other nodes alone; "
            "ATC's parser maps it for training only",
            "preflight --write clean.pb leaves it out.")]
    if node.op not in known:
        return [Finding(
            REJECT, "operation", node.name,
            "{} is not in the lists (of 2021) of what ATC's parser and plugins "
            "take (E12011, E19010)".format(node.op),
            "Write it with listed operations, or look for it in your CANN's "
            "own list of supported TensorFlow operators.")]
    return _listed(node, nodes, known)


def _listed(node, nodes, known):
    """Findings about a node whose operation ATC knows."""
    findings = []
    taker, attributes = known[node.op]
    if taker == "unsure":
        findings.append(Finding(
            DOUBT, "unsure_operation", node.name,
            "unsure: {} is in newer lists, or inferred, alone".format(node.op),
            "Use matmul, reshape and transpose, or look into your CANN's own "
            "list."))
    elif taker == "cpu":
        findings.append(Finding(
            DOUBT, "ai_cpu", node.name,
            "{} runs on the AI CPU, slowly".format(node.op),
            "Keep it if it is small."))
    new = sorted(name for name in node.attr if attributes is not None
                 and name not in attributes and not name.startswith("_"))
    if new:
        findings.append(Finding(
            REJECT, "new_attribute", node.name,
            "{} has attributes that TensorFlow 1.15 does not know and refuses "
            "(ATC: uncertain): {}".format(node.op, ", ".join(new)),
            "preflight --write clean.pb takes out those at their defaults; or "
            "freeze with TensorFlow 1.15."))
    training = node.attr["is_training"].b if (
        "is_training" in node.attr) else True           # TensorFlow's default
    if _BATCH_NORM.match(node.op) and training:
        findings.append(Finding(
            REJECT, "batch_norm_training", node.name,
            "batch norm in training mode: it normalises by the batch at hand, "
            "and ATC drops the moving statistics", "Build the graph with "
            "is_training=False in every batch norm, restore the moving "
            "statistics, and freeze again."))
    if node.op in ("ArgMax", "ArgMin") and _type(node, "output_type") != (
            tf.int32.as_datatype_enum):
        findings.append(Finding(
            DOUBT, "argmax_int64", node.name,
            "{} gives int64, which may go to the AI CPU".format(node.op),
            "Use output_type=tf.int32."))
    return findings


def _moments(graph_def, nodes):
    """Batch norm that is written out, in training mode: tf.nn.moments.

    The mean of (x - mean of x)^2, both over axes that hold the batch's.
    """
    findings = []
    for node in graph_def.node:
        axes = _mean_axes(node, nodes)
        if axes is None or not _is_squared_deviation(
                nodes.get(graphdef.source(node.input[0])), nodes):
            continue
        if 0 in axes or any(axis < -1 for axis in axes):
            findings.append(Finding(
                REJECT if 0 in axes else DOUBT, "batch_norm_training",
                node.name, "the variance over {}: batch norm in training mode, "
                "written out (tf.nn.moments)".format(
                    "the batch" if 0 in axes else "axes counted from the last, "
                    "perhaps the batch's too"), "Build the graph with "
                "is_training=False, so that the moving statistics are used."))
    return findings


def _mean_axes(node, nodes):
    """The axes of a Mean, a list; None if it is none or they are unknown."""
    axes = node.op == "Mean" and len(node.input) > 1 and nodes.get(
        graphdef.source(node.input[1]))
    if not axes or axes.op != "Const":
        return None
    value = graphdef.array_of(axes)
    return None if value is None else np.ravel(value).tolist()


def _is_squared_deviation(node, nodes):
    """Whether a node is (x - mean)^2, by SquaredDifference or by Square."""
    if node is not None and node.op in ("Square", "Mul") and node.input:
        node = nodes.get(graphdef.source(node.input[0]))
        if node is not None and node.op != "Sub":
            return False
    if node is None or node.op not in ("SquaredDifference", "Sub") or (
            len(node.input) < 2):
        return False
    mean = nodes.get(graphdef.source(node.input[1]))
    for _ in range(4):                  # what may lie between
        if mean is not None and mean.input and mean.op in (
                "StopGradient", "Identity", "Squeeze", "Reshape",
                "ExpandDims"):
            mean = nodes.get(graphdef.source(mean.input[0]))
    return mean is not None and _mean_axes(mean, nodes) is not None


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
