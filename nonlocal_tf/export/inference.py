"""The network of a checkpoint, for inference alone."""

import numpy as np
import tensorflow as tf

from nonlocal_tf import health
from nonlocal_tf.architecture import DIGIT_SIZE
from nonlocal_tf.export import interface, predict
from nonlocal_tf.layers import log_mean_softmax
from nonlocal_tf.tasks import make_network

tf1 = tf.compat.v1


class InferenceGraph:
    """Builds a checkpoint's network for inference, into the default graph.

    Args:
      config: its `TrainConfig`.
      face: an `interface.Interface`.
      with_probabilities: whether there is a softmax output too.

    Attributes:
      input: the placeholder.
      logits: float32 [B, classes]; of several views the logarithm of the mean
        of their softmaxes.
      variables: the network's, moving statistics too.
      attention: float32 [blocks, inputs, 4]; see `health.measure`.
      outputs: operations, the interface's `output` and, where asked for,
        `probabilities` (float32 [B, classes]).
    """

    def __init__(self, config, face, with_probabilities=False):
        self.face = face
        self.input = tf1.placeholder(face.dtype, face.shape, face.name)
        network = make_network(config)
        watched = []
        self.logits = network(
            _as_the_network_has_it(self.input, config, face.layout),
            is_training=False, watch=watched)
        if face.views > 1:
            self.logits = log_mean_softmax(tf.reshape(
                self.logits, [-1, face.views, config.classes]))
        self.outputs = [tf.identity(self.logits, face.output).op
                        if face.plan else tf.argmax(
                            self.logits, 1, output_type=tf.int32,
                            name=face.output).op]
        if with_probabilities:
            self.outputs.append(tf.nn.softmax(
                self.logits, name=interface.PROBABILITIES).op)
        self.variables = list(network.variables)
        self.attention = health.measure(watched)

    def answers(self, session, samples):
        """Logits [N, classes], and the attention in the first of N samples."""
        logits, attention = [], []
        for batch, valid in predict.batches_of(samples, self.face):
            found, measured = session.run(
                [self.logits, self.attention], {self.input: batch})
            logits.append(found[:valid])
            attention.append(measured[:, :valid * self.face.views])
        return np.concatenate(logits), np.concatenate(
            attention, 1)[:, :health.SAMPLES]


def _as_the_network_has_it(x, config, layout):
    """The placeholder as [B, S, S, 1] or [B, T, H, W, 3]."""
    if layout == "flat":
        side = config.digit_size or DIGIT_SIZE
        return tf.reshape(x, [-1, side, side, 1])
    axes = interface.CLIPS.get(layout, ())
    if axes != tuple(sorted(axes)):
        return tf.transpose(x, np.argsort(axes))
    return x
