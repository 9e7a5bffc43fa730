"""A finished network: its checkpoint, and its answers."""

import dataclasses
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf import tasks
from nonlocal_tf.architecture import DIGIT_CLASSES
from nonlocal_tf.errors import UserError
from nonlocal_tf.training import checkpoint, checkpoint_files
from nonlocal_tf.training.config import TrainConfig

tf1 = tf.compat.v1

REMEDY = "Name another with --checkpoint, or train anew."


class Checkpoint(NamedTuple):
    """A checkpoint that was found, and what trained it."""

    prefix: str                         # path without endings
    step: int
    config: TrainConfig
    note: dict                          # all that is known of it

    @property
    def class_names(self):
        """By label, a tuple; empty where they are not known."""
        return tuple(self.note.get("class_names") or ())

    @property
    def names(self):
        """Of all classes, by label; a number where none is known."""
        known = self.class_names
        return known + tuple(map(str, range(
            len(known), self.config.classes or DIGIT_CLASSES)))


def find(train_url, prefix="", image_size=0):
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
    return Checkpoint(prefix, note["step"], config, note)


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
            "There must be a checkpoint; {!r} has none. {}".format(
                folder, "Did you mean --train_url {}?".format(
                    os.path.dirname(train_url.rstrip("/")) or ".")
                if checkpoint_files.steps_in(train_url) else
                "Train first (train_gpu.py) or convert weights (python -m "
                "nonlocal_tf.convert), or name that folder with --train_url, "
                "or a checkpoint with --checkpoint."))
    return checkpoint_files.prefix_in(folder, steps[-1])


def _missing(prefix):
    """The endings of a checkpoint's files that are not there."""
    return [end for end in checkpoint_files.ENDINGS
            if not os.path.isfile(prefix + end)]


def restore(session, variables, prefix):
    """Reads a network's variables; an optimizer's are left where they are.

    Args:
      session: of the network's graph.
      variables, prefix: of the network and its checkpoint.
    Raises:
      UserError: the checkpoint is of another network, or damaged.
    """
    with session.graph.as_default():
        saver = tf1.train.Saver(variables)
    checkpoint.restore(session, saver, variables, prefix, REMEDY, exact=False)


def assign(session, variables, values):
    """Gives variables values: name -> variable, and name -> array of some."""
    operations = [variables[name].initializer for name in values]
    session.run(operations, {operation.inputs[1]: value for operation, value
                             in zip(operations, values.values())})


def check_finite(what, values, found):
    """Refuses what a `Checkpoint`'s network gives if it is not finite."""
    if not np.isfinite(values).all():
        raise UserError(
            "The {} of {!r} must be numbers; they are not finite. Its weights "
            "are damaged, or its training diverged: fetch or convert them "
            "again, or train with a lower --learning_rate.".format(
                what, found.prefix))


class Network:
    """Answers batches, whatever their shapes.

    Args:
      found: a `Checkpoint`.
    Raises:
      UserError: when called: see `restore`; or an answer is not finite.
    """

    def __init__(self, found):
        self._found = found
        self._runs = {}

    def __call__(self, batch):
        """uint8 batches of the task to probabilities [B, classes]."""
        shape = batch.shape
        if shape not in self._runs:
            self._runs = {shape: self._build(shape)}    # of the newest alone
        probabilities = self._runs[shape](batch)
        check_finite("answers", probabilities, self._found)
        return probabilities

    def _build(self, shape):
        graph = tf.Graph()
        with graph.as_default():
            images = tf1.placeholder(tf.uint8, shape, "images")
            network = tasks.make_network(self._found.config, device="CPU")
            probabilities = tf.nn.softmax(network(images, is_training=False))
            session = tf1.Session()
            restore(session, list(network.variables), self._found.prefix)
        return lambda batch: session.run(probabilities, {images: batch})
