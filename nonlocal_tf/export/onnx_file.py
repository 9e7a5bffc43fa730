"""A frozen graph as an ONNX file, for atc --framework=5."""

import logging

from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import predict
from nonlocal_tf.export.interface import OPSET
from nonlocal_tf.storage import gist


def serialised(graph_def, outputs):
    """The bytes of a file with the graph's own names.

    By tf2onnx, static shapes, simplified by onnxsim where that is installed.

    Args:
      graph_def: a frozen GraphDef of ours.
      outputs: names of its output nodes.
    Raises:
      UserError: tf2onnx is missing.
    """
    tf2onnx, _ = _packages()
    from nonlocal_tf.export import graphdef
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    names = [node.name for node in graphdef.placeholders(graph_def)] + outputs
    model, _ = tf2onnx.convert.from_graph_def(
        graph_def, input_names=[name + ":0" for name in names
                                if name not in outputs],
        output_names=[name + ":0" for name in outputs], opset=OPSET)
    try:
        import onnxsim
        model, _ = onnxsim.simplify(model)
    except ImportError:
        pass
    except Exception as error:          # of C++, and of many kinds
        say("onnxsim left the file as it is: {}".format(gist(error)))
    _rename(model.graph, {name + ":0": name for name in names})
    return model.SerializeToString()


def answers(data, samples, face):
    """Logits [N, classes] and the classes [N], by ONNX Runtime on the CPU.

    Args:
      data: the bytes of a file that `serialised` made.
      samples, face: see `predict.batches_of`.
    """
    _, onnxruntime = _packages()
    import onnx
    model = onnx.load_from_string(data)
    logits = _logits_name(model.graph, face.output)
    if logits != face.output:           # in memory alone
        model.graph.output.add(name=logits)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"])
    return predict.joined(
        [session.run([logits, face.output], {face.name: batch})
         for batch, _ in predict.batches_of(samples, face)],
        len(samples) // face.views)


def _packages():
    try:
        import onnxruntime
        import tf2onnx.convert
    except ImportError as error:
        raise UserError(
            "--format onnx needs tf2onnx and onnxruntime, to write and to "
            "check: {}. Install them: pip install -r requirements/onnx.txt"
            .format(error))
    return tf2onnx, onnxruntime


def _rename(graph, names):
    """Gives tensors other names, wherever they stand."""
    for entry in list(graph.input) + list(graph.output):
        entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


def _logits_name(graph, output):
    """What the ArgMax reads that `output` comes from, or `output` itself."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers[output]
    while node.op_type in ("Cast", "Identity", "Squeeze", "Reshape"):
        node = makers.get(node.input[0])
        if node is None:
            return output
    return node.input[0] if node.op_type == "ArgMax" else output
