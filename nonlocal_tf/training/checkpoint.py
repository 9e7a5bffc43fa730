"""Checkpoints that are whole, and the check that one fits the run.

`<train_url>/Model/model.ckpt-N.{data-00000-of-00001,index,json}`: TensorFlow's
own two files, and the run's settings and progress. All are written in a
folder beside them and renamed, `.index` last, which makes the checkpoint
count. `checkpoint` names the newest for `tf.train.latest_checkpoint`.
"""

import dataclasses
import json
import os
import re
import shutil

import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.architecture import map_sides
from nonlocal_tf.errors import UserError
from nonlocal_tf.training import messages
from nonlocal_tf.training.checkpoint_files import (
    ENDINGS,
    KEEP,
    current,
    index_first,
    name_of,
    prefix_in,
    step_of,
    steps_in,
)
from nonlocal_tf.training.progress import Progress

tf1 = tf.compat.v1

_PARTIAL = ".partial"
# What versions did that had no such setting.
_EARLIER = {"ranks": 1, "loss_scale": "none", "precision": "float32",
            "block": "paper", "augment": False, "network": "digits",
            "classes": 10, "digit_size": 28, "protocol": None, "frames": None,
            "frame_interval": None, "frozen_norm": False, "block_norm": None,
            "optimizer": "adam", "flip": None}


def describe(config, step, fixed, progress, **more):
    """The note of a checkpoint.

    Args:
      config: the `TrainConfig` of its run.
      step: its number.
      fixed: settings on which it depends, with their values.
      progress: a `Progress`.
      more: what else is known; of None nothing is said.
    """
    note = {"step": step, "fixed": fixed, "config": config.as_dict(),
            "progress": dataclasses.asdict(progress),
            "tensorflow": tf.__version__}
    note.update((name, value) for name, value in more.items()
                if value is not None)
    return note


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
      path: the folder, made if need be.
      writes: whether anything will be saved there.
    Raises:
      UserError: the folder cannot be written.
    """

    def __init__(self, path, writes=True):
        self.path = path
        if writes:
            storage.make_folder(path, "--train_url")
        self._partial = os.path.join(path, _PARTIAL)

    def steps(self):
        """Steps of the whole checkpoints, ascending."""
        return steps_in(self.path)

    def newest(self, resume, fixed):
        """The note (see `save`) of the newest checkpoint; None without one.

        Args:
          resume: whether one may be there.
          fixed: setting -> value, which it must have been made with.
        Raises:
          UserError: it may not be there, or is of another run or damaged.
        """
        steps = self.steps()
        if not steps:
            return None
        prefix = self.prefix(steps[-1])
        if not resume:
            raise UserError(
                "--resume=false needs a --train_url without checkpoints; {!r} "
                "is there. Name another folder, or move {!r} away.".format(
                    prefix, os.path.dirname(self.path)))
        note = read_note(prefix, self._remedy(steps[-1]))
        check_settings(prefix, note["fixed"], fixed)
        return note

    def prefix(self, step):
        """Path of a checkpoint without its endings."""
        return prefix_in(self.path, step)

    def save(self, session, saver, step, note):
        """Writes a checkpoint and removes those older than the newest three.

        Args:
          session, saver: hold the variables.
          step: its number.
          note: what goes into the JSON file; see `describe`.
        Raises:
          UserError: it could not be written; the earlier ones are whole.
        """
        try:
            self._write(session, saver, step, note)
            self._prune()
        except (OSError, tf.errors.OpError) as error:
            raise messages.not_saved(step, self.path, error)

    def _write(self, session, saver, step, note):
        shutil.rmtree(self._partial, ignore_errors=True)
        os.mkdir(self._partial)
        try:
            written = os.path.join(self._partial, "model.ckpt")
            written = saver.save(session, written, global_step=step,
                                 write_meta_graph=False, write_state=False)
            storage.write_text(
                written + ".json", json.dumps(note, indent=1, sort_keys=True))
            for ending in ENDINGS:
                storage.sync(written + ending)
                os.replace(written + ending, self.prefix(step) + ending)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _prune(self):
        """Removes what is old, and what a killed process left half done."""
        steps = self.steps()[-KEEP:]
        for name in index_first(os.listdir(self.path)):
            step = step_of(name)
            if name.endswith(storage.PARTIAL) or (
                    step is not None and step not in steps):
                os.remove(os.path.join(self.path, name))
        names = list(map(name_of, steps))
        storage.write_text(os.path.join(self.path, "checkpoint"), "".join(
            ['model_checkpoint_path: "{}"\n'.format(names[-1])]
            + ['all_model_checkpoint_paths: "{}"\n'.format(name)
               for name in names]))

    def restore(self, session, saver, step):
        """Reads every variable of the default graph; see `restore`."""
        wanted = tf1.global_variables()
        restore(session, saver, wanted, self.prefix(step), self._remedy(step),
                exact=True)

    def _remedy(self, step):
        return ("Remove {}.* to go on from an earlier one, or give another "
                "--train_url.".format(self.prefix(step)))


def read_note(prefix, remedy):
    """The JSON object beside the variables: see `CheckpointFolder.save`.

    Args:
      prefix: path of the checkpoint, without its endings.
      remedy: what to do if it cannot be read, a sentence for the error.
    Raises:
      UserError: the JSON file is missing, damaged or of another program.
    """
    path = prefix + ".json"
    try:
        with open(path, encoding="utf-8") as file:
            note = json.load(file)
        number = re.search(r"-(\d+)$", prefix)
        if number and note["step"] != int(number.group(1)):
            raise ValueError("it is of step {}".format(note["step"]))
        dict(**note["fixed"]), dict(**note["config"])
        Progress(**note["progress"])
        _check_pooling(path, note)
        note["config"] = current(note["config"])
        note["fixed"] = dict(_EARLIER, **note["fixed"])
        if note["fixed"]["loss_scale"] == "fixed":
            note["fixed"]["loss_scale"] = note["config"]["loss_scale"]
        return note
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "A checkpoint needs its own JSON file; {!r}: {}. {}".format(
                path, storage.gist(error), remedy))


def _check_pooling(path, note):
    """Versions without --block gave an odd rest a key of its own."""
    config = note["config"]
    odd = [stage for stage, side in map_sides(config["image_size"]).items()
           if side > 1 and side % 2 and stage in str(note["fixed"].get(
               "non_local"))]
    if config.get("sub_sample") and "block" not in config and odd:
        raise UserError(
            "{!r} is of an earlier version, which pooled keys of odd maps ({}) "
            "in another way, so that its weights do not fit. Train anew, or "
            "go on with that version.".format(path, ", ".join(odd)))


def restore(session, saver, variables, prefix, remedy, exact):
    """Reads the variables of a checkpoint into the session.

    Args:
      session, saver: hold the variables.
      variables: those that the saver reads.
      prefix, remedy: see `read_note`.
      exact: whether the checkpoint may hold no others.
    Raises:
      UserError: it holds other variables than the graph, or is damaged.
    """
    try:
        stored = tf1.train.load_checkpoint(
            prefix).get_variable_to_shape_map()
        _check_variables(prefix, stored, variables, remedy, exact)
        saver.restore(session, prefix)
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(
            "Checkpoint {!r} is cut short or damaged ({}). {}".format(
                prefix, type(error).__name__, remedy))


def _check_variables(prefix, stored, variables, remedy, exact):
    """Compares names and shapes with those of the graph."""
    wanted = {variable.op.name: variable.shape.as_list()
              for variable in variables}
    extra = sorted(set(stored) - set(wanted)) if exact else []
    differing = (
        ["missing " + name for name in sorted(set(wanted) - set(stored))]
        + ["extra " + name for name in extra]
        + ["{} is {}, not {}".format(name, stored[name], wanted[name])
           for name in sorted(set(wanted) & set(stored))
           if list(stored[name]) != wanted[name]])
    if differing:
        raise UserError(
            "Checkpoint {!r} is of another network; {} variables differ: {}{}."
            " Give the flags that it was trained with. {}".format(
                prefix, len(differing), "; ".join(differing[:6]),
                "; ..." if len(differing) > 6 else "", remedy))


def _images_a_step(fixed):
    """Of all processes together."""
    return fixed.get("batch_size", 0) * fixed.get("ranks", 1)


def check_settings(prefix, stored, wanted):
    """Refuses a checkpoint whose settings decide on another result.

    Of batch size and processes, it is the images of a step that do.

    Args:
      prefix: the checkpoint, for the error.
      stored, wanted: setting -> value.
    Raises:
      UserError: names each setting that differs, with both values.
    """
    same_step = _images_a_step(stored) == _images_a_step(wanted)
    kept = ("batch_size", "ranks") if same_step else ()
    differing = [
        "{} {} (now {})".format(name, stored.get(name), wanted.get(name))
        for name in sorted(set(stored).union(wanted).difference(kept))
        if stored.get(name) != wanted.get(name)]
    if differing:
        raise UserError(
            "Checkpoint {!r} was made with {}. Give the same values to go "
            "on, or another --train_url to start anew.{}".format(
                prefix, ", ".join(differing), "" if same_step else
                " (--batchsize times the processes must stay {}.)".format(
                    _images_a_step(stored))))
