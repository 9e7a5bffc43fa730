"""The network of a checkpoint, for inference alone."""

import dataclasses
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf import health
from nonlocal_tf.architecture import DIGIT_SIZE
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy, predict
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training import checkpoint, checkpoint_files
from nonlocal_tf.training.config import TrainConfig

tf1 = tf.compat.v1

REMEDY = "Name another with --checkpoint, or train anew."


class Checkpoint(NamedTuple):
    """A checkpoint that was found, and what trained it."""

    prefix: str                         # path without endings
    step: int
    config: TrainConfig
    class_names: tuple                  # by label; empty: not known


def find(train_url, prefix, image_size=0):
    """The checkpoint `prefix`, or else the newest under `train_url`.

    Args:
      train_url: what the trainer was given.
      prefix: path of a checkpoint, with or without an ending; "" for none.
      image_size: in place of the size that was trained; 0 for that one.
    Raises:
      UserError: there is none, or it is not whole.
    """
    prefix = _prefix(train_url, prefix)
    missing = _missing(prefix)
    if missing:
        folder = os.path.dirname(prefix)
        whole = [checkpoint_files.prefix_in(folder, step)
                 for step in checkpoint_files.steps_in(folder)]
        whole = [each for each in whole if not _missing(each)]
        raise UserError(
            "A checkpoint is three files; {!r} lacks {}. {}".format(
                prefix, ", ".join("*" + end for end in missing),
                "A whole one is there: --checkpoint " + whole[-1]
                if whole else REMEDY))
    note = checkpoint.read_note(prefix, REMEDY)
    try:
        config = TrainConfig(**note["config"])
        if image_size:
            config = dataclasses.replace(config, image_size=image_size)
    except TypeError as error:
        raise UserError("The settings in {!r} are not of this version ({}). "
                        "{}".format(prefix + ".json", error, REMEDY))
    return Checkpoint(prefix, note["step"], config,
                      tuple(note.get("class_names", ())))


def _prefix(train_url, prefix):
    """The checkpoint to freeze, a path without endings."""
    if prefix and os.path.isdir(prefix):
        raise UserError("--checkpoint must name a checkpoint, such as {}; {!r} "
                        "is a folder. Name the folder of a run with "
                        "--train_url.".format(checkpoint_files.prefix_in(
                            os.path.join("output", "Model"), 220), prefix))
    for ending in checkpoint_files.ENDINGS:
        if prefix.endswith(ending):
            return prefix[:-len(ending)]
    if prefix:
        return prefix
    folder = os.path.join(train_url, "Model")
    steps = checkpoint_files.steps_in(folder)
    if not steps:
        raise UserError(
            "There must be a checkpoint to freeze; {!r} has none. {}".format(
                folder, "Did you mean --train_url {}?".format(
                    os.path.dirname(train_url.rstrip("/")) or ".")
                if checkpoint_files.steps_in(train_url) else
                "Train first (train_gpu.py), or name the folder that was "
                "trained to with --train_url, or a checkpoint with "
                "--checkpoint."))
    return checkpoint_files.prefix_in(folder, steps[-1])


def _missing(prefix):
    """The endings of a checkpoint's files that are not there."""
    return [end for end in checkpoint_files.ENDINGS
            if not os.path.isfile(prefix + end)]


class InferenceGraph:
    """Builds a checkpoint's network for inference, into the default graph.

    Args:
      config: its `TrainConfig`.
      batch_size: B, static; None leaves it open.
      layout: "image", float32 [B, S, S, 1] in 0..1, already padded to S =
        config.image_size; or "flat", float32 [B, side * side] of the images in
        the files, padded in the graph.
      with_probabilities: whether there is a softmax output too.

    Attributes:
      input: the placeholder `input`.
      logits: float32 [B, classes].
      variables: the network's, moving statistics too.
      attention: float32 [blocks, images, 4]; see `health.measure`.
      outputs: operations `output` (int32 [B], the class) and, where asked
        for, `probabilities` (float32 [B, classes]).
    """

    def __init__(self, config, batch_size, layout, with_probabilities=False):
        side = config.digit_size or DIGIT_SIZE
        shape = deploy.shape(config.image_size, batch_size, layout, side)
        self.input = tf1.placeholder(tf.float32, shape, deploy.INPUT)
        images = self.input
        if layout == "flat":
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
        self._saver = tf1.train.Saver(self.variables)
        self.attention = health.measure(watched)

    def restore(self, session, prefix):
        """Reads the network's variables; Adam's are left where they are."""
        checkpoint.restore(session, self._saver, self.variables, prefix,
                           REMEDY, exact=False)

    def answers(self, session, images):
        """Logits [N, classes], and the attention in the first of the images."""
        logits, attention = [], []
        for batch, valid in predict.digits(images, self.input.shape.as_list()):
            found, measured = session.run(
                [self.logits, self.attention], {self.input: batch})
            logits.append(found[:valid])
            attention.append(measured[:, :valid])
        return np.concatenate(logits), np.concatenate(
            attention, 1)[:, :health.SAMPLES]
