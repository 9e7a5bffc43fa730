"""The network of a checkpoint, for inference alone."""

import numpy as np
import tensorflow as tf

from nonlocal_tf import health, trained
from nonlocal_tf.architecture import DIGIT_SIZE
from nonlocal_tf.export import deploy, predict
from nonlocal_tf.tasks import make_network

tf1 = tf.compat.v1


class InferenceGraph:
    """Builds a checkpoint's network for inference, into the default graph.

    Args:
      config: its `TrainConfig`.
      batch_size: B, static; None leaves it open.
      layout: "image", float32 [B, S, S, 1] in 0..1, already padded to S =
        config.image_size; or "flat", float32 [B, side * side] of the images in
        the files, padded in the graph. Of a network of clips "image" alone,
        float32 [B, T, S, S, 3], normalised, and with a static B.
      with_probabilities: whether there is a softmax output too.

    Attributes:
      input: the placeholder `input`, of clips `video`.
      logits: float32 [B, classes].
      variables: the network's, moving statistics too.
      attention: float32 [blocks, images, 4]; see `health.measure`.
      outputs: operations `output` (int32 [B], the class) and, where asked
        for, `probabilities` (float32 [B, classes]).
    """

    def __init__(self, config, batch_size, layout, with_probabilities=False):
        name, shape = deploy.input_of(config, batch_size, layout)
        self.input = tf1.placeholder(tf.float32, shape, name)
        images = self.input
        if layout == "flat":
            side = config.digit_size or DIGIT_SIZE
            images = tf.reshape(images, [-1, side, side, 1])
        network = make_network(config)
        watched = []
        self.logits = network(images, is_training=False, watch=watched)
        self.outputs = [tf.argmax(
            self.logits, 1, output_type=tf.int32, name=deploy.OUTPUT).op]
        if with_probabilities:
            self.outputs.append(
                tf.nn.softmax(self.logits, name=deploy.PROBABILITIES).op)
        self.variables = list(network.variables)
        self.attention = health.measure(watched)

    def restore(self, session, prefix):
        """Reads the network's variables; Adam's are left where they are."""
        trained.restore(session, self.variables, prefix)

    def answers(self, session, images):
        """Logits [N, classes], and the attention in the first of the images."""
        logits, attention = [], []
        for batch, valid in predict.batches_of(
                images, self.input.shape.as_list()):
            found, measured = session.run(
                [self.logits, self.attention], {self.input: batch})
            logits.append(found[:valid])
            attention.append(measured[:, :valid])
        return np.concatenate(logits), np.concatenate(
            attention, 1)[:, :health.SAMPLES]
