"""The network for inference in three shapes: live, frozen file, ONNX."""

import os

import tensorflow as tf

from benchmarks import inputs, ours
from nonlocal_tf.export import fold, graphdef, inference, interface, predict
from nonlocal_tf.tasks import make_network, of

tf1 = tf.compat.v1
_LAYOUT = "image"                       # padded ones
_CALIBRATION = 8                        # images or clips


def samples(config, count):
    """float32 [B, S, S, 1], 0 to 1, as the file wants them; or uint8 clips."""
    images, _ = inputs.batch(config, count)
    return interface.digits(images, config.image_size, _LAYOUT) if (
        config.network == "digits") else images


def sane_values(config, threads):
    """First weights that hide nothing, by short names.

    The moving statistics are those of a batch, so that activations stay in
    range; the blocks' last gammas, which start at 0, are 1/2.
    """
    images, _ = inputs.batch(config, _CALIBRATION)
    with tf.Graph().as_default() as graph:
        tf1.set_random_seed(0)
        network = make_network(config, momentum=0.0)    # keeps nothing old
        network(tf.constant(images), is_training=True)
        updates = tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
        variables = ours.by_short_name(network.variables)
        with tf1.Session(graph=graph,
                         config=ours.session_config(threads)) as session:
            session.run(tf1.global_variables_initializer())
            values = session.run(variables)
            for name, value in values.items():
                if name.endswith("gamma") and not value.any():
                    value += 0.5
            ours.assign(session, network.variables, values)
            session.run(updates)
            return session.run(variables)


class Live:
    """Called with padded images; the package's own inference graph.

    Args:
      config: a `TrainConfig`.
      values: the weights by short names.
      threads: of the session.
    """

    def __init__(self, config, values, threads):
        with tf.Graph().as_default() as graph:
            self._graph = inference.InferenceGraph(
                config, interface.of(config, None, _LAYOUT))
            self._session = tf1.Session(
                graph=graph, config=ours.session_config(threads))
            ours.assign(self._session, self._graph.variables, values)

    def __call__(self, images):
        return self._session.run(
            self._graph.logits, {self._graph.input: images})

    def freeze(self, folder):
        """Writes model.pb as freeze_pb.py does; returns its path."""
        names = [operation.name for operation in self._graph.outputs]
        frozen, _ = fold.fold_batch_norm(
            fold.freeze(self._session, self._graph.outputs), names)
        path = os.path.join(folder, "model.pb")
        with open(path, "wb") as file:
            file.write(frozen.SerializeToString(deterministic=True))
        return path


class Clips:
    """Called with uint8 clips; the same of a network of clips."""

    def __init__(self, config, values, threads):
        with tf.Graph().as_default() as graph:
            self._clips = tf1.placeholder(
                tf.uint8, of(config).input_shape(config, None))
            network = make_network(config)
            self._logits = network(self._clips, is_training=False)
            self._session = tf1.Session(
                graph=graph, config=ours.session_config(threads))
            ours.assign(self._session, network.variables, values)

    def __call__(self, clips):
        return self._session.run(self._logits, {self._clips: clips})


class File:
    """Called with padded images; a frozen file in TensorFlow."""

    def __init__(self, path, threads):
        frozen = graphdef.read(path)
        self._logits = predict.logits_name(frozen, "output") + ":0"
        with tf.Graph().as_default() as graph:
            graphdef.load(frozen, path)
            self._session = tf1.Session(
                graph=graph, config=ours.session_config(threads))

    def __call__(self, images):
        return self._session.run(
            self._logits, {"input:0": images})


class Onnx:
    """Called with padded images; a frozen file in ONNX Runtime."""

    def __init__(self, path, threads):
        import onnxruntime
        from tf2onnx import convert
        frozen = graphdef.read(path)
        self._logits = predict.logits_name(frozen, "output") + ":0"
        model, _ = convert.from_graph_def(
            frozen, input_names=["input:0"],
            output_names=[self._logits])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # As TensorFlow does, and PyTorch here: see pytorch.py.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # Its threads would go on spinning after a run, in the others' turns.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options,
            providers=["CPUExecutionProvider"])

    def __call__(self, images):
        return self._session.run(
            [self._logits], {"input:0": images})[0]
