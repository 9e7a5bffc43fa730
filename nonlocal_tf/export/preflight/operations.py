"""What single operations of a graph mean to ATC."""

import os
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf.export import graphdef

REJECT, DOUBT = "reject", "doubt"


class Finding(NamedTuple):
    """One thing that is wrong, or may be."""

    level: str                          # REJECT or DOUBT
    check: str                          # which check, for programs
    node: str                           # name of the node, or ""
    reason: str
    remedy: str


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

STRING = tf.string.as_datatype_enum


def known_operations():
    """What atc_ops.txt says: operation -> (who takes it, attributes).

    The attributes are those of TensorFlow 1.15; None where it has no such
    operation.
    """
    path = os.path.join(os.path.dirname(__file__), "atc_ops.txt")
    table = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words and words[0] != "#":
                attributes = None if words[2] == "?" else {
                    word for word in words[2:] if word != "-"}
                table[words[0]] = (words[1], attributes)
    return table


def of_node(node, known, functions):
    """Findings about one node by itself."""
    if node.op in functions:
        return [Finding(REJECT, "function", node.name,
                        "calls the function {}".format(node.op),
                        "Build the graph without tf.function.")]
    for pattern, check, reason, remedy in _KINDS:
        if pattern.match(node.op):
            return [Finding(REJECT, check, node.name,
                            "{}: {}".format(node.op, reason), remedy)]
    if any(value.type == STRING for value in node.attr.values()):
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
    return _listed(node, known)


def _listed(node, known):
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
    if node.op in graphdef.BATCH_NORMS and graphdef.is_training(node):
        findings.append(Finding(
            REJECT, "batch_norm_training", node.name,
            "batch norm in training mode: it normalises by the batch at hand, "
            "and ATC drops the moving statistics", "Build the graph with "
            "is_training=False in every batch norm, restore the moving "
            "statistics, and freeze again."))
    if node.op in ("ArgMax", "ArgMin") and tf.int32.as_datatype_enum != (
            graphdef.attribute_type(node, "output_type")):
        findings.append(Finding(
            DOUBT, "argmax_int64", node.name,
            "{} gives int64, which may go to the AI CPU".format(node.op),
            "Use output_type=tf.int32."))
    return findings


def of_moments(graph_def, nodes):
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
