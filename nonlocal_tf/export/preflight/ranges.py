"""The range of a graph's values on real inputs, against that of fp16."""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef, predict, rehearsal
from nonlocal_tf.export.preflight import affinity, trim
from nonlocal_tf.export.preflight.operations import DOUBT, Finding

tf1 = tf.compat.v1

LARGEST = 65504.0               # of fp16
MOST = 4                        # inputs of a folder that are run
# They hand values on that another node has made.
_MOVES = ("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims",
          "Transpose", "StopGradient", "Slice", "StridedSlice", "Split",
          "SplitV", "ConcatV2", "Concat", "Pad", "PadV2", "MirrorPad", "Tile",
          "Pack", "Unpack", "Gather", "GatherV2", "ReverseV2", "BroadcastTo",
          "Switch", "RefSwitch", "_SwitchN", "Merge", "RefMerge")
_BY_MATRIX = affinity.PRODUCTS + ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
_REMEDIES = (                   # ATC's pages of these flags
    "--precision_mode=force_fp32 (newer CANN: cube_fp16in_fp32out) gives a "
    "matrix operation a float32 result where the device has it; or "
    "--keep_dtype=FILE with its name.",
    "--precision_mode=allow_fp32_to_fp16 leaves it in float32 where the "
    "device has it; or --keep_dtype=FILE with its name.")


class Value(NamedTuple):
    """The largest magnitude of a tensor, over all runs."""

    node: str
    op: str
    largest: float              # of the finite values
    finite: bool                # whether all are


class Ranges(NamedTuple):
    """What some runs of a graph have shown."""

    runs: int
    offered: int                # inputs that there were
    values: list                # a `Value` for each tensor, largest first
    scores: dict                # name of a `Matrix` -> `Value` of its scores
    inner: int                  # operations in branches, loops: not measured

    def beyond(self):
        """The values that fp16 does not hold."""
        return [each for each in self.values
                if not each.finite or each.largest > LARGEST]


def measure(graph_def, request, matrices, text):
    """Runs what ATC compiles on this CPU, in the graph's own types.

    Args:
      graph_def, request: see `checks.examine`.
      matrices: those of `affinity.matrices`.
      text: .bin files, or folders of them, one for each input, with commas
        between; of folders the first `MOST` files are run.
    Returns:
      The `Ranges` of all floating-point tensors, weights too, but for those
      that a tf.cond or tf.while_loop of TensorFlow 1 makes inside.
    Raises:
      UserError: a file does not fit, or the graph cannot be run.
    """
    graph_def = trim.loadable(trim.trim(graph_def, request), request)
    inputs = _inputs(graph_def)
    runs = _runs(inputs, text)
    with tf.Graph().as_default() as graph, predict.interruptible() as execute:
        graphdef.load(graph_def, "the graph")
        inner = graphdef.in_control_flow(graph_def)
        tensors = [each for operation in graph.get_operations()
                   if operation.name not in inner
                   for each in operation.outputs if _counts(each)]
        matrices = [each for each in matrices
                    if graphdef.source(each.scores) not in inner]
        scores = [graph.get_tensor_by_name(each.scores) for each in matrices]
        fetches = [_measured(each) for each in tensors + scores]
        found = [_run(execute, fetches, {
            entry.name + ":0": rehearsal.read_bin(entry, path)
            for entry, path in zip(inputs, paths)}) for paths in runs[:MOST]]
    largest, finite = np.moveaxis(np.array(found), 2, 0)    # [runs, tensors]
    values = [
        Value(tensor.op.name, tensor.op.type, float(size), bool(whole))
        for tensor, size, whole in zip(
            tensors + scores, largest.max(0), finite.all(0))]
    of_scores = values[len(tensors):]
    values = values[:len(tensors)] + _constants(graph_def)
    return Ranges(
        len(found), len(runs),
        sorted(values, key=lambda each: (each.finite, -each.largest)),
        {matrix.name: value for matrix, value in zip(matrices, of_scores)},
        len(inner))


def _constants(graph_def):
    """A `Value` for each constant of floats."""
    values = []
    for node in graph_def.node:
        array = graphdef.array_of(node)
        if array is not None and array.size and (
                tf.as_dtype(array.dtype).is_floating):
            size = np.abs(array.astype(np.float64)).max()
            values.append(Value(node.name, node.op, float(size),
                                bool(np.isfinite(size))))
    return values


def findings(ranges):
    """One `Finding` for each value that fp16 does not hold."""
    return [Finding(
        DOUBT, "fp16_range", each.node, "{} reaches {}: {}".format(
            each.op, "{:.6g}".format(each.largest) if each.finite else
            "infinity or no number", "fp16 ends at 65504" if each.finite else
            "in float32 already, on this CPU"),
        _REMEDIES[each.op not in _BY_MATRIX] if each.finite else
        "Look at the weights and at the inputs: this is no matter of fp16.")
        for each in ranges.beyond()]


def _counts(tensor):
    """Whether its values are made in the run, are there, and are floats."""
    operation = tensor.op
    return (tensor.dtype.base_dtype.is_floating
            and operation.type != "Const" and operation.type not in _MOVES
            # The other results of a batch norm are for its gradient.
            and not (operation.type in graphdef.BATCH_NORMS
                     and tensor.value_index)
            and tensor.shape.num_elements() != 0)


def _measured(tensor):
    """Its largest magnitude, and whether all values are finite."""
    return (tf.cast(tf.reduce_max(tf.abs(tensor)), tf.float64),
            tf.reduce_all(tf.math.is_finite(tensor)))


def _run(execute, fetches, feed):
    try:
        return execute(fetches, feed)
    except (MemoryError, ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(
            "--run: the graph could not be executed on this CPU: {} Leave "
            "--run out to examine it alone.".format(storage.gist(error)))


def _inputs(graph_def):
    for node in graphdef.placeholders(graph_def):
        if None in (graphdef.declared_shape(node) or [None]):
            raise UserError(
                "--run needs every size of the inputs; {!r} has an open one. "
                "Give --input_shape.".format(node.name))
    return rehearsal.inputs_of(graph_def, "the graph")


def _runs(inputs, text):
    """For each run a path for each input, sizes checked."""
    entries = [entry.strip() for entry in text.split(",")]
    if len(entries) != len(inputs):
        raise UserError(
            "--run must name a .bin, or a folder of them, for each input, "
            "with commas between: {}; got {!r}.".format(
                ", ".join(each.name for each in inputs), text))
    runs = [entries]
    if os.path.isdir(entries[0]):
        runs = [[os.path.join(entry, name) for entry in entries]
                for name in sorted(os.listdir(entries[0]))
                if not name.startswith(".")]
        if not runs:
            raise UserError("--run must name a folder with .bin files; {!r} "
                            "is empty.".format(entries[0]))
    for paths in runs[:MOST]:
        for entry, path in zip(inputs, paths):
            rehearsal.check_size(entry, path)
    return runs
