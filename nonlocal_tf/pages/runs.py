"""A run's folder, read: settings, records, checkpoints, what froze.

Nothing here is changed or waited for: a run may be going on. What is missing
or damaged is a line of `remarks`.
"""

import json
import math
import os
from typing import NamedTuple, Optional

from nonlocal_tf.errors import UserError
from nonlocal_tf.export.interface import NOTE
from nonlocal_tf.storage import gist, sha256
from nonlocal_tf.training import checkpoint_files
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.progress import read_records

_SAME = ("network", "dataset", "platform", "protocol", "recipe", "data_url",
         "train_url")
_CONVERTED = (                  # settings that converted weights have
    "network", "protocol", "resnet_size", "base_width", "classes", "non_local",
    "instantiation", "inner_ratio", "sub_sample", "block", "scale",
    "image_size", "frames", "frame_interval", "frozen_norm", "block_norm")


class Run(NamedTuple):
    """name: to tell it from others. settings: name -> value. config: the
    same, or None where they are not this version's. checkpoints: (step, note)
    each, note {} where it cannot be read. frozen: rows of cells. converted:
    the file of its weights where nothing was trained; settings are then those
    of the network alone.
    """

    name: str
    folder: str
    settings: dict
    config: Optional[TrainConfig]
    steps: list
    epochs: list
    checkpoints: list
    frozen: list
    remarks: list
    converted: str = ""

    @property
    def note(self):
        """Of the newest checkpoint."""
        return self.checkpoints[-1][1] if self.checkpoints else {}


def read(folders):
    """A `Run` of each folder.

    Raises:
      UserError: one is not of a run.
    """
    short = [os.path.basename(os.path.abspath(each)) for each in folders]
    names = folders if len(set(short)) < len(short) else short
    return [_read(folder, name) for folder, name in zip(folders, names)]


def _read(folder, name):
    models = os.path.join(folder, "Model")
    remarks, steps = [], checkpoint_files.steps_in(models)
    settings = _object(os.path.join(folder, "config.json"), remarks)
    if "train_url" not in settings and not steps:
        raise UserError(
            "RUN must be a folder that was trained, or converted, to, with "
            "config.json or Model/; {!r} {}. Name the folder that was given "
            "with --train_url.".format(folder, "has neither" if os.path.isdir(
                folder) else "is no folder"))
    notes = [(step, _object(checkpoint_files.prefix_in(
        models, step) + ".json", remarks)) for step in steps]
    converted = ""
    if not settings and notes:
        settings = notes[-1][1].get("config", {})
        converted = notes[-1][1].get("converted", {}).get("file", "")
    try:
        config = TrainConfig(**checkpoint_files.current(settings))
    except (KeyError, TypeError, ValueError, UserError) as error:
        remarks.append("The settings are not of this version: {}".format(
            gist(error)))
        config = None
    if converted:
        settings = {name: settings[name] for name in _CONVERTED
                    if name in settings}
    records = _records(os.path.join(folder, "metrics.jsonl"), remarks)
    return Run(name, folder, settings, config, *[
        [each for each in records if each["kind"] == kind]
        for kind in ("step", "epoch")], checkpoints=notes,
        frozen=_frozen(os.path.join(folder, "PB_Model")), remarks=remarks,
        converted=converted)


def defaults(config):
    """Setting -> value of a run with this network and recipe, else as it is
    without a flag; None where the data decide."""
    given = {name: getattr(config, name) for name in _SAME}
    return dict(TrainConfig(**given).as_dict(), npu_option=[])


def differing(runs):
    """Names of the settings that are not the same in all runs that have them;
    all have, but converted ones."""
    found = []
    for name in sorted(set().union(*[run.settings for run in runs])):
        values = [run.settings.get(name) for run in runs
                  if not run.converted or name in run.settings]
        if name != "train_url" and any(
                value != values[0] for value in values):
            found.append(name)
    return found


def finite(records, name, times=1):
    """Steps and values of the records that have a number under a name."""
    found = [(each["step"], times * each[name]) for each in records
             if isinstance(each.get(name), (int, float))
             and math.isfinite(each[name])]
    return [step for step, _ in found], [value for _, value in found]


def attention(run, measure):
    """Block -> steps and values of a measure of `health`."""
    found = {}
    for record in run.epochs:
        for row in record.get("attention") or ():
            found.setdefault(row["block"], []).append(
                dict(row, step=record["step"]))
    return {block: finite(rows, measure) for block, rows in found.items()}


def _object(path, remarks):
    """A JSON file's dict; {} where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        remarks.append("There is no {}.".format(os.path.basename(path)))
    except (OSError, ValueError, TypeError) as error:
        remarks.append("{} is damaged: {}.".format(
            os.path.basename(path), gist(error).rstrip(".")))
    return {}


def _records(path, remarks):
    """Whole records of metrics.jsonl; damaged lines are counted."""
    try:
        found, damaged = read_records(path)
    except OSError:
        remarks.append("There is no metrics.jsonl: no curves.")
        return []
    if damaged:
        remarks.append("metrics.jsonl: left out as damaged: line {}.".format(
            ", ".join(damaged[:10]) + (" and more" * (len(damaged) > 10))))
    return found


def _frozen(folder):
    """File, bytes, step, input and whether it is the one of its note."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    rows = []
    for name in names:
        if not name.endswith((".pb", ".onnx", ".om")):
            continue
        path = os.path.join(folder, name)
        digest = sha256(path)
        note = _object(path + NOTE, [])
        rows.append([
            name, "{:,}".format(os.path.getsize(path)), note.get("step", ""),
            " x ".join(map(str, note.get("shape", ()))), digest[:12],
            "none (freeze_pb.py writes one for clips alone)" if not note else
            "of this file" if note.get("sha256") == digest else
            "of another file"])
    return rows
