"""What single operations of a graph mean to ATC."""

import os
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf.export import graphdef

tf1 = tf.compat.v1

REJECT, DOUBT = "reject", "doubt"
LIBRARY = "graph_def_library.pbtxt"     # of functions, by ATC's func2graph.py


class Finding(NamedTuple):
    """One thing that is wrong, or may be."""

    level: str                          # REJECT or DOUBT
    check: str                          # which check, for programs
    node: str                           # name of the node, or ""
    reason: str
    remedy: str


_REFREEZE = ("Freeze a graph that is built for inference alone "
             "(docs/bring-your-own-network.md).")
_FOLD = ("Freeze the variables into constants (freeze_pb.py; "
         "convert_variables_to_constants).")

# What kind of operation does not belong: pattern, level, check, reason, remedy.
# The first that fits is reported.
_KINDS = [(re.compile(pattern), level, check, reason, remedy)
          for pattern, level, check, reason, remedy in (
    (r"(VariableV2|Variable|VarHandleOp|ReadVariableOp|VarIsInitializedOp|"
     r"IsVariableInitialized|AutoReloadVariable|ResourceGather(Nd)?)$",
     REJECT, "variable", "a variable is left; ATC maps none for inference",
     _FOLD),
    (r"(Save|Restore)(V2|Slices?)?$|ShardedFile(name|spec)$|"
     r"MergeV2Checkpoints$",
     REJECT, "save_restore", "belongs to saving and restoring",
     "Freeze with the outputs' names, so that it is left out; " + _REFREEZE),
    (r"(Merge|Scalar|Histogram|Image|Audio|Tensor)\w*Summary\w*|WriteSummary",
     REJECT, "summary", "writes a summary for TensorBoard", _REFREEZE),
    (r"(Resource)?(Sparse)?Apply[A-Z]|Assign|ResourceScatter|"
     r"Scatter(Nd)?(Add|Sub|Update|Mul|Div|Min|Max)$",
     REJECT, "optimizer", "changes a variable: part of an optimizer or of "
     "batch norm's update", _REFREEZE),
    (r"(?!Stop|Prevent)\w+Grad(V\d|WithArgmax|Grad\w*|Boxes|Image|ient)?$|"
     r"BroadcastGradientArgs$|\w+BackpropFilter(V\d)?$",
     REJECT, "gradient", "computes a gradient", _REFREEZE),
    (r"(Ref)?(Enter|Exit|NextIteration|Switch|Merge)$|_SwitchN$|LoopCond$|"
     r"TensorArray",
     DOUBT, "control_flow", "part of tf.cond, tf.while_loop or a TensorArray. "
     "ATC's parser takes Switch, Merge, Enter and TensorArrayV3; whether your "
     "device runs it is uncertain", "Build the graph with is_training=False "
     "as a Python value; unroll a loop where you can."),
    (r"(Random|Truncated|Parameterized|Stateless(Random|Trunc)|Stateful(Uni|"
     r"Stan|Trunc|Random)|Multinomial|StatelessMultinomial|RngSkip)",
     REJECT, "dropout", "makes random numbers: dropout or an initializer",
     "Build the graph with is_training=False (keep_prob 1). " + _REFREEZE),
)]
_CALLS = re.compile(r"(Stateful)?PartitionedCall$|RemoteCall$|SymbolicCall$|"
                    r"(Stateless)?(If|Case|While|For)$")
_OPEN_RESULT = re.compile(r"(Where|Unique(WithCounts)?(V2)?|"
                          r"NonMaxSuppression(V\d|WithOverlaps)?)$")
_INSTEAD = {                    # of an operation that is not in the list
    "Roll": "Write it as slices: tf.concat([x[:, -1:], x[:, :-1]], 1). TSM's "
            "shift has zeros in the place of what comes round (tf.pad).",
}
_ODD_TYPES = {each.as_datatype_enum: each.name for each in (
    tf.float64, tf.bfloat16, tf.complex64, tf.complex128)}

# Attributes that operations of the table were given since TensorFlow 1.15, at
# their defaults; tests compare them with newer registries.
NEWER_DEFAULTS = {
    name: tf1.AttrValue(**{field: value})
    for field, value, names in (
        ("b", False, "grad_a grad_b grad_x grad_y narrow_range "
         "perturb_singular sparse_gradient"),
        ("f", 1.0, "exponential_avg_factor"),
        ("i", -1, "axis blank_index"),
        ("s", b"", "bad_indices_policy"),
        ("list", tf1.AttrValue.ListValue(), "explicit_paddings"),
        ("type", tf.int32.as_datatype_enum,
         "Tk Tsegmentids index_type shape_type"),
        ("type", tf.float32.as_datatype_enum, "Treal dtype"),
        ("type", tf.complex64.as_datatype_enum, "Tcomplex"))
    for name in names.split()}

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


def drop_new_attributes(node, allowed):
    """Takes out of a node what TensorFlow 1.15 does not know.

    Args:
      node: a NodeDef; it loses private attributes, and those that are not
        allowed and are at their defaults.
      allowed: names of attributes.
    Returns:
      Names that are not allowed and had to stay.
    """
    kept = []
    for name in sorted(node.attr):
        if name.startswith("_") or name not in allowed and (
                node.attr[name] == NEWER_DEFAULTS.get(name)):
            del node.attr[name]
        elif name not in allowed:
            kept.append(name)
    return kept


def called(node, functions):
    """Names of the functions of the library that a node calls."""
    names = {node.op}
    for value in node.attr.values():
        names.add(value.func.name)
        names.update(each.name for each in value.list.func)
    return names.intersection(functions)


def of_node(node, known, functions, nodes, library):
    """Findings about one node; `functions` and `nodes` are by name.

    `library`: whether a `LIBRARY` lies beside the file.
    """
    names = called(node, functions)
    if names or _CALLS.match(node.op):
        return [Finding(
            DOUBT if library else REJECT, "function", node.name,
            "{}: calls {}; ATC looks for the body in {} beside the model "
            "(E12013, E12029)".format(
                node.op, ", ".join(sorted(names)) or "a function", LIBRARY),
            "The file is there; what it holds was not examined (uncertain)."
            if library else
            "func2graph.py of ATC's package writes that file; or build the "
            "graph without tf.function, tf.cond and tf.while_loop.")]
    for pattern, level, check, reason, remedy in _KINDS:
        if pattern.match(node.op):
            return [Finding(level, check, node.name,
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
            _INSTEAD.get(node.op, "Write it with listed operations, or look "
                         "for it in your CANN's own list of supported "
                         "TensorFlow operators."))]
    return _listed(node, known, nodes)


def _listed(node, known, nodes):
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
            DOUBT, "new_attribute", node.name,
            "{} has attributes that TensorFlow 1.15 refuses; ATC copies each: "
            "{}".format(node.op, ", ".join(new)),
            "preflight --write clean.pb takes out those at their defaults."))
    odd = [_ODD_TYPES[each] for value in node.attr.values()
           for each in [value.type] + list(value.list.type)
           if each in _ODD_TYPES]
    if odd and node.op != "Placeholder":
        findings.append(Finding(
            DOUBT, "type", node.name,
            "{}: works on {}, which the AI core mostly does not take (EZ3002, "
            "or the slow AI CPU: uncertain)".format(node.op, odd[0]),
            "Build the graph in float32."))
    if node.op in graphdef.BATCH_NORMS and node.attr["data_format"].s in (
            b"NDHWC", b"NCDHW"):
        findings.append(Finding(
            DOUBT, "new_value", node.name,
            "{} in five dimensions, which TensorFlow 1.15 refuses; whether "
            "ATC's parser takes it is uncertain".format(node.op),
            "Reshape [B, T, H, W, C] to [B T, H, W, C] around it."))
    if node.op in graphdef.BATCH_NORMS and graphdef.is_training(node):
        findings.append(Finding(
            DOUBT, "layer_norm", node.name,
            "layer norm as Keras writes it: batch norm in training mode over "
            "[1, N, ..]. It is right as it is; whether your device computes it "
            "is uncertain", "Compare one result; or write it with "
            "tf.nn.moments over the last axis.")
            if _is_layer_norm(node, nodes) else Finding(
            REJECT, "batch_norm_training", node.name,
            "batch norm in training mode: it normalises by the batch at hand, "
            "and ATC drops the moving statistics", "Build the graph with "
            "is_training=False in every batch norm, restore the moving "
            "statistics, and freeze again."))
    elif node.op in graphdef.BATCH_NORMS and _is_at_its_start(node, nodes):
        findings.append(Finding(
            DOUBT, "moving_statistics", node.name,
            "batch norm whose moving mean is 0 and variance 1 in each "
            "channel, as before any training", "Did the training run "
            "UPDATE_OPS? If it did not, train again with them."))
    if _OPEN_RESULT.match(node.op) and not (
            node.attr["pad_to_max_output_size"].b
            if "pad_to_max_output_size" in node.attr else False):
        findings.append(Finding(
            DOUBT, "open_result", node.name,
            "{}: how long its result is depends on the data, where atc "
            "compiles for fixed sizes (uncertain)".format(node.op),
            "Give a fixed number of rows: tf.math.top_k, "
            "CombinedNonMaxSuppression; or leave it to the host."))
    if node.op in ("ArgMax", "ArgMin") and tf.int32.as_datatype_enum != (
            graphdef.attribute_type(node, "output_type")):
        findings.append(Finding(
            DOUBT, "argmax_int64", node.name,
            "{} gives int64, which may go to the AI CPU".format(node.op),
            "Use output_type=tf.int32."))
    return findings


def _is_at_its_start(norm, nodes):
    """Whether its moving statistics are those of a network without training."""
    mean, variance = [graphdef.constant(nodes, name)
                      for name in (list(norm.input[3:5]) + ["", ""])[:2]]
    return (mean is not None and variance is not None and mean.size > 0
            and not mean.any() and (variance == 1).all())


def _is_layer_norm(norm, nodes):
    """Whether its input is one sample, reshaped to [1, rows, row, 1]."""
    reshape = nodes.get(graphdef.source((norm.input or [""])[0]))
    if reshape is None or reshape.op != "Reshape" or (
            norm.attr["data_format"].s != b"NCHW") or len(reshape.input) < 2:
        return False
    sizes = nodes.get(graphdef.source(reshape.input[1]))
    if sizes is not None and sizes.op == "Pack" and sizes.input:
        sizes = nodes.get(graphdef.source(sizes.input[0]))
    return sizes is not None and graphdef.integers(
        nodes, sizes.name)[:1] == [1]


def of_moments(graph_def, nodes):
    """Batch norm that is written out, in training mode.

    The mean of (x - mean of x)^2, as tf.nn.moments makes it, or the mean of
    x^2 less the square of the mean, both over axes that hold the batch's.
    """
    findings = []
    live = graphdef.dependents(graph_def, [
        node.name for node in graph_def.node if node.op != "Const" and (
            not node.input or node.op.startswith("Placeholder"))])
    for node in graph_def.node:
        axes, of = _variance(node, nodes)
        # Standardised weights are of no batch.
        if node.name not in live or 0 not in axes and min(axes, default=0) > -2:
            continue
        # A sample out of its batch has rows first.
        doubt = 0 not in axes or of is not None and of.op == "Squeeze" and (
            0 in (of.attr["squeeze_dims"].list.i or [0]))
        findings.append(Finding(
            DOUBT if doubt else REJECT, "batch_norm_training", node.name,
            "the variance over {}: batch norm in training mode, written out "
            "(tf.nn.moments)".format(
                "the batch" if not doubt else "the first axis, perhaps the "
                "batch" if 0 in axes else
                "axes counted from the last, perhaps the batch's too"),
            "Build the graph with is_training=False, so that the moving "
            "statistics are used."))
    return findings


def _variance(node, nodes):
    """The axes of a node that is a variance, and of which node; else []."""
    if node.op == "Sub" and len(node.input) > 1:        # E[x^2] - E[x]^2
        squares, mean = [_read(nodes, name) for name in node.input[:2]]
        axes, squared = _mean_axes(squares, nodes), _squared(mean, nodes)
        if axes and _squared(_read(nodes, squares.input[0]), nodes) and (
                _mean_axes(squared, nodes)):
            return axes, nodes.get(graphdef.source(squared.input[0]))
        return [], None
    axes = _mean_axes(node, nodes)
    deviation = axes and _read(nodes, node.input[0])
    if not deviation:
        return [], None
    if deviation.op != "SquaredDifference":
        deviation = _squared(deviation, nodes)
    if deviation and deviation.op in ("SquaredDifference", "Sub") and (
            len(deviation.input) > 1):
        if _mean_axes(_read(nodes, deviation.input[1]), nodes):
            return axes, nodes.get(graphdef.source(deviation.input[0]))
    return [], None


def _read(nodes, name):
    """The node behind what only passes a mean on, or None."""
    node = nodes.get(graphdef.source(name))
    for _ in range(4):
        if node is not None and node.input and node.op in (
                "StopGradient", "Identity", "Squeeze", "Reshape",
                "ExpandDims"):
            node = nodes.get(graphdef.source(node.input[0]))
    return node


def _mean_axes(node, nodes):
    """The axes of a Mean, a list; [] if it is none or they are unknown."""
    if not node or node.op != "Mean" or len(node.input) < 2:
        return []
    return graphdef.integers(nodes, node.input[1])


def _squared(node, nodes):
    """What a node is the square of, by Square, Mul or Pow; else None."""
    if not node or not node.input:
        return None
    if node.op == "Pow" and len(node.input) > 1:
        power = graphdef.constant(nodes, node.input[1])
        return _read(nodes, node.input[0]) if (
            power is not None and np.ravel(power)[:9].tolist() == [2]) else None
    if node.op == "Square" or node.op == "Mul" and (
            len(set(map(graphdef.source, node.input))) == 1):
        return _read(nodes, node.input[0])
    return None
