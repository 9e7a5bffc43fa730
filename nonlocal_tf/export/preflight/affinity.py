"""The matrices of attention in a graph, and the memory that each takes."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef
from nonlocal_tf.export.preflight import trim

PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3",
            "Einsum")
# What lies between two products, or a product and a softmax; a softmax that
# is written out, too.
_BETWEEN = ("Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose",
            "StopGradient", "Cast", "Neg", "Relu", "Sigmoid", "Tanh", "Exp",
            "Mul", "RealDiv", "Div", "DivNoNan", "Add", "AddV2", "Sub",
            "BiasAdd", "Maximum", "Minimum", "Select", "SelectV2")
_SUMS = ("Add", "AddV2", "Sub")


class Matrix(NamedTuple):
    """Scores of N positions against M, of the frozen batch."""

    name: str                   # the softmax; without one what makes the scores
    scores: str                 # the tensor of the scores, before the softmax
    shape: list                 # [.., N, M]; an open batch counts as 1
    softmax: bool

    def bytes(self, each):
        """Of all its values at `each` bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * each


def matrices(graph_def, request):
    """Of what ATC compiles, a list of `Matrix`, largest first.

    A matrix is a product, or a sum that is wider than both its terms, of two
    activations, that a softmax or another product of activations reads. One
    whose sizes are open, but for the batch, is passed over; a graph that
    TensorFlow cannot load has none.
    """
    trimmed = trim.loadable(trim.trim(graph_def, request), request)
    with tf.Graph().as_default() as graph:
        try:
            graphdef.load(trimmed, "the graph")
        except UserError:
            return []
        operations = graph.get_operations()
    active = graphdef.dependents(
        trimmed, [node.name for node in graphdef.placeholders(trimmed)])
    found = {}
    for reads in (_is_softmax, lambda each: _is_product(each, active)):
        for reader in filter(reads, operations):
            for maker in _makers(reader, active):
                matrix = _matrix(maker, reader)
                # A product that reads a matrix is the attention's result.
                if matrix and (matrix.softmax or not _makers(maker, active)):
                    found.setdefault(maker.name, matrix)
    return sorted(found.values(), key=lambda each: -each.bytes(1))


def _is_softmax(operation):
    return operation.type == "Softmax"


def _is_product(operation, active):
    """Of two activations: not of one with weights."""
    return operation.type in PRODUCTS and len(operation.inputs) == 2 and all(
        each.op.name in active for each in operation.inputs)


def _makers(reader, active):
    """The operations that make the matrices that a reader reads."""
    makers, seen = [], set()
    waiting = [each.op for each in reader.inputs]
    while waiting:
        operation = waiting.pop()
        if operation.name in seen or operation.name not in active:
            continue
        seen.add(operation.name)
        if _is_product(operation, active) or _is_wide_sum(operation, active):
            makers.append(operation)
        elif operation.type in _BETWEEN:
            waiting.extend(each.op for each in operation.inputs)
    return makers


def _is_wide_sum(operation, active):
    """[.., N, 1] + [.., 1, M], as the concatenation form has it."""
    if operation.type not in _SUMS:
        return False
    shapes = [each.shape for each in list(operation.inputs)
              + operation.outputs]
    if not all(each.op.name in active for each in operation.inputs) or any(
            each.rank is None or each.rank < 2 for each in shapes):
        return False
    (n, left), (right, m), _ = [each.as_list()[-2:] for each in shapes]
    return (left, right) == (1, 1) and 1 not in (n, m)


def _matrix(maker, reader):
    """The `Matrix` that a reader reads; None where its sizes are open."""
    shape = maker.outputs[0].shape
    if shape.rank is None or shape.rank < 2:
        return None
    sizes = shape.as_list()
    sizes[:-2] = [size or 1 for size in sizes[:-2]]
    if None in sizes:
        return None
    softmax = _is_softmax(reader)
    return Matrix(
        reader.name if softmax else maker.name,
        (reader.inputs[0] if softmax else maker.outputs[0]).name, sizes,
        softmax)
