"""Our side of the benchmarks: steps, blocks and frozen graphs in TensorFlow."""

import tensorflow as tf

from benchmarks import common, inputs
from nonlocal_tf import trained
from nonlocal_tf.non_local import NonLocalBlock
from nonlocal_tf.platforms import gpu
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import TrainGraph

tf1 = tf.compat.v1
_STEPS = 1000000                # of the run that is not run to its end
# An interval with which no system halves time; no dropout, and Adam alone, as
# PyTorch's side has it.
_OF_CLIPS = {"frame_interval": 8, "dropout": 0.0, "optimizer": "adam",
             "lr_schedule": "constant", "warmup_epochs": 0.0,
             "weight_decay": 0.0, "clip_norm": 0.0}


def quiet():
    """Leaves of TensorFlow's messages its errors alone."""
    tf1.logging.set_verbosity(tf1.logging.ERROR)


def train_config(flags, **settings):
    """A `TrainConfig` from what the benchmarks' flags have, and `settings`."""
    names = ("image_size", "base_width", "threads")
    if common.unit(flags) == "clips":
        names += ("network", "frames")
        settings.update(_OF_CLIPS)
    settings = dict({name: getattr(flags, name) for name in names
                     if hasattr(flags, name)}, **settings)
    settings.setdefault("micro_batch", str(settings["batch_size"]))
    return TrainConfig(**settings)


def session_config(threads):
    """A ConfigProto, as the trainers have it."""
    return gpu.Platform(TrainConfig(threads=threads)).session_config()


def by_short_name(variables):
    """A module's variables by their names below its scope."""
    return {each.op.name.split("/", 1)[1]: each for each in variables}


def assign(session, variables, values):
    """Gives a module's variables the values of these short names."""
    variables = by_short_name(variables)
    trained.assign(session, variables, {
        name: values[name] for name in variables})


class _Step:
    """A call runs `_step` in `_session`."""

    def __call__(self):
        self._session.run(self._step)

    def close(self):
        """Frees its memory."""
        self._session.close()


class TrainStep(_Step):
    """A call is one step of `nonlocal_tf.training.loop`, always on one batch.

    Args:
      config: a `TrainConfig`.
      values: the first weights by short names; the network's own by default.

    Attributes:
      first_loss: of the first call.
    """

    def __init__(self, config, values=None):
        self.first_loss = None
        with tf.Graph().as_default() as graph:
            platform = gpu.Platform(config)
            self._graph = TrainGraph(config, _STEPS, platform)
            self._session = tf1.Session(
                graph=graph, config=platform.session_config())
            self._session.run(self._graph.initialize)
            if values is not None:
                assign(self._session, self._graph.network.variables, values)
        self._batch = inputs.batch(config, config.batch_size)

    def __call__(self):
        totals = self.run(*self._batch)
        if self.first_loss is None:
            self.first_loss = float(totals[0])

    def run(self, images, labels, **options):
        """One step on a batch; returns what the loop fetches."""
        return self._session.run(
            [self._graph.train_op, self._graph.totals],
            {self._graph.images: images, self._graph.labels: labels},
            **options)[1]

    def traced(self, images, labels):
        """One step; the RunMetadata with the times of its kernels."""
        metadata = tf1.RunMetadata()
        self.run(images, labels, run_metadata=metadata, options=tf1.RunOptions(
            trace_level=tf1.RunOptions.FULL_TRACE))
        return metadata

    def parameters(self):
        """The number of trained parameters."""
        return self._graph.network.parameters()

    def values(self):
        """The network's weights by short names."""
        return self._session.run(
            by_short_name(self._graph.network.variables))

    def trainable(self):
        """The short names of those that are trained."""
        return list(by_short_name(self._graph.network.trainable_variables))


class Matmul(_Step):
    """A call is one product of square matrices: what the machine can do.

    Args:
      size: rows of the matrices.
      precision: "float32" or "bfloat16".
      threads: of the session.
    """

    def __init__(self, size, precision, threads):
        self.flops = 2 * size ** 3
        with tf.Graph().as_default() as graph:
            a, b = [tf1.Variable(
                tf.cast(tf.random.normal([size, size]), precision),
                use_resource=True) for _ in range(2)]
            self._step = tf.matmul(a, b).op
            self._session = tf1.Session(
                graph=graph, config=session_config(threads))
            self._session.run(tf1.global_variables_initializer())


class Block(_Step):
    """A call is one non-local block, forward and backward, in training.

    Args:
      form: of `nonlocal_tf.architecture.INSTANTIATIONS`.
      values: its variables by short names.
      x, gradient: float32 [B, H, W, C]: input, and the result's gradient.
      threads: of the session.
      affinity_limit: of `NonLocalBlock`; None: never in chunks.
    """

    def __init__(self, form, values, x, gradient, threads,
                 affinity_limit=None):
        channels, inner = values["g/kernel"].shape[2:]
        with tf.Graph().as_default() as graph:
            block = NonLocalBlock(channels, inner, form,
                                  affinity_limit=affinity_limit)
            x, gradient = [tf1.Variable(
                array, use_resource=True, name=name) for name, array in (
                    ("x", x), ("gradient", gradient))]
            trained = [x] + list(block.trainable_variables)
            gradients = tf1.gradients(
                block(tf.convert_to_tensor(x), is_training=True), trained,
                tf.convert_to_tensor(gradient))
            # A value of each, fetched: what nobody reads is optimized away.
            self._step = tf.stack(
                [tf.reshape(each, [-1])[0] for each in gradients])
            self._session = tf1.Session(
                graph=graph, config=session_config(threads))
            self._session.run(tf1.global_variables_initializer())
            assign(self._session, block.variables, values)
