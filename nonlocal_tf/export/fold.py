"""A session's graph as a GraphDef of constants that TensorFlow 1.15 reads.

Three passes. `freeze`: what does not depend on a placeholder (variables, the
concatenated kernels of a block) becomes one constant each. `fold_batch_norm`:
batch norm behind a convolution goes into its kernel and a bias. `sorted_nodes`
keeps the nodes that the outputs need, each behind its inputs.
"""

import numpy as np
import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef
from nonlocal_tf.export.preflight import operations

tf1 = tf.compat.v1

# TensorFlow 1.15's TF_GRAPH_DEF_VERSION: what the file is made for.
PRODUCER = 134
_VARIABLE_READS = ("ReadVariableOp", "Identity")


def freeze(session, outputs):
    """The part of a session's graph that `outputs` need, without variables.

    Args:
      session: holds the variables; its graph is only read.
      outputs: operations. They keep their names.
    Returns:
      A GraphDef: placeholders, constants and what lies between; no variables,
      no control inputs, no devices, and no attribute that TensorFlow 1.15
      does not know.
    Raises:
      UserError: an operation needs an attribute that 1.15 does not have.
    """
    order = graphdef.topological(
        outputs, lambda operation: [each.op for each in operation.inputs])
    live = set()                        # depends on a placeholder
    for operation in order:
        if operation.type == "Placeholder" or any(
                tensor.op in live for tensor in operation.inputs):
            live.add(operation)
    frontier = {tensor.name: tensor for operation in order
                if operation in live for tensor in operation.inputs
                if tensor.op not in live}
    values = session.run(frontier)
    taken = {operation.name for operation in order}
    names = {name: _constant_name(tensor, taken)
             for name, tensor in frontier.items()}
    graph_def = tf1.GraphDef()
    graph_def.versions.producer = PRODUCER
    graph_def.node.extend(
        graphdef.const_node(name, value) for name, value in sorted({
            names[tensor]: value for tensor, value in values.items()}.items(),
            key=lambda item: item[0]))
    names.update(_passed_names([each for each in order if each in live],
                               outputs))
    known = operations.known_operations()
    for operation in order:
        if operation in live:
            node = graph_def.node.add()
            node.CopyFrom(_plain_node(operation, known))
            node.input.extend(names.get(tensor.name) or _input_name(tensor)
                              for tensor in operation.inputs)
    return sorted_nodes(graph_def, [output.name for output in outputs])


def _passed_names(operations, outputs):
    """What reads an Identity reads its input: tensor -> name of the input."""
    passed = {}
    for operation in operations:
        if operation.type == "Identity" and operation not in outputs:
            tensor = operation.inputs[0]
            passed[operation.outputs[0].name] = passed.get(
                tensor.name, _input_name(tensor))
    return passed


def _constant_name(tensor, taken):
    """The variable's name for a variable's value, else the operation's."""
    operation = tensor.op
    while operation.type in _VARIABLE_READS and operation.inputs:
        operation = operation.inputs[0].op
    if operation.type in ("VarHandleOp", "VariableV2"):
        return operation.name
    name = tensor.op.name
    if tensor.value_index:              # not split_1, which may be another
        name += "/output_{}".format(tensor.value_index)
        while name in taken:
            name += "_"
    return name


def _input_name(tensor):
    """As an input in a NodeDef: without ":0"."""
    return tensor.name[:-2] if tensor.name.endswith(":0") else tensor.name


def _plain_node(operation, known):
    """Its NodeDef without inputs, device and attributes new since 1.15."""
    node = tf1.NodeDef(name=operation.name, op=operation.type)
    allowed = known.get(operation.type, (None, None))[1]
    if allowed is None:
        raise UserError(
            "Each operation must be known to ATC and to TensorFlow 1.15; {!r} "
            "is a {}. Freeze with TensorFlow 1.15 or 2.6.".format(
                operation.name, operation.type))
    for name, value in operation.node_def.attr.items():
        node.attr[name].CopyFrom(value)
    kept = operations.drop_new_attributes(node, allowed)
    if kept:
        raise UserError(
            "TensorFlow 1.15 does not know the attribute {} of {!r} ({}), "
            "which is not at its default. Freeze with TensorFlow 1.15 or "
            "2.6.".format(kept[0], operation.name, operation.type))
    return node


def fold_batch_norm(graph_def, outputs):
    """Puts batch norm behind a convolution into its kernel and a bias.

    norm(conv(x, K) + b) = conv(x, K s) + (b - mean) s + beta, with
    s = gamma / sqrt(variance + epsilon), computed in float64.

    Args:
      graph_def: as `freeze` gives it; it is left as it was.
      outputs: names of nodes.
    Returns:
      A new GraphDef, and the number of batch norms that are gone.
    """
    folded = tf1.GraphDef()
    folded.CopyFrom(graph_def)
    nodes = graphdef.by_name(folded)
    readers = {}
    for node in folded.node:
        for name in node.input:
            readers.setdefault(graphdef.source(name), []).append(node)
    count, added = 0, []
    for norm in folded.node:
        parts = _foldable(norm, nodes, readers, outputs)
        if parts is None:
            continue
        convolution, kernel, bias, scale, shift = parts
        kernel_name = norm.name + "/folded_kernel"
        bias_name = norm.name + "/folded_bias"
        for name, value in ((kernel_name, kernel * scale),
                            (bias_name, bias * scale + shift)):
            added.append(graphdef.const_node(name, value.astype(np.float32)))
            nodes[name] = added[-1]     # a second norm folds into it
        convolution.input[1] = kernel_name
        data_type = norm.attr["T"].type
        norm.Clear()
        norm.name, norm.op = bias_name[:-len("/folded_bias")], "BiasAdd"
        norm.input.extend([convolution.name, bias_name])
        norm.attr["T"].type = data_type
        norm.attr["data_format"].s = b"NHWC"
        count += 1
    folded.node.extend(added)
    return sorted_nodes(folded, outputs), count


def _foldable(norm, nodes, readers, outputs):
    """What `norm` can be folded into; None if it stays.

    Returns:
      The convolution in front of it, that one's kernel and bias, and the scale
      and shift of `norm`: float64.
    """
    if norm.op not in graphdef.BATCH_NORMS or graphdef.is_training(norm) or (
            norm.attr["data_format"].s != b"NHWC"):
        return None
    if any(":" in name for reader in readers.get(norm.name, [])
           for name in reader.input if graphdef.source(name) == norm.name):
        return None                     # somebody reads its statistics

    def feeds_norm_alone(node):
        return len(readers[node.name]) == 1 and node.name not in outputs

    def array(name):
        return graphdef.array_of(nodes[graphdef.source(name)])

    before, bias = nodes.get(norm.input[0]), np.zeros(())
    if before is not None and before.op == "BiasAdd" and (
            feeds_norm_alone(before)):
        bias = array(before.input[1])
        before = nodes.get(before.input[0])
    if before is None or before.op != "Conv2D" or not (
            feeds_norm_alone(before)):
        return None
    values = [array(before.input[1]), bias] + list(map(array, norm.input[1:5]))
    if any(value is None for value in values):
        return None                     # computed from the input
    kernel, bias, gamma, beta, mean, variance = [
        value.astype(np.float64) for value in values]
    scale = gamma / np.sqrt(variance + norm.attr["epsilon"].f)
    return before, kernel, bias, scale, beta - mean * scale


def sorted_nodes(graph_def, outputs):
    """The nodes that `outputs` (names) need, each behind its inputs."""
    nodes = graphdef.by_name(graph_def)
    result = tf1.GraphDef(versions=graph_def.versions)
    result.node.extend(
        nodes[name] for name in graphdef.needed(graph_def, outputs))
    return result
