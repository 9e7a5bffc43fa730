"""Scores what msame or ais_bench answered on videos: see score.py."""

import json
import os

import numpy as np

from nonlocal_tf import scores, storage
from nonlocal_tf.command import say, say_some
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import interface, results

_WORST = 10                             # classes that are printed


def score(flags):
    """Prints the score; returns 0, or 1 where files are missing or surplus.

    Args:
      flags: the namespace of score.py.
    Raises:
      UserError: labels or results cannot be read, or do not match.
    """
    labels = read_info(flags.labels)
    folder = results.find_folder(flags.output)
    found = results.read(
        folder, len(labels), flags.output_index,
        flags.batchsize or _batch_size(flags.labels), flags.classes,
        numbered=True, needed=labels >= 0)
    records = _records(labels, found)
    summary = scores.summary(records)
    if not summary["readable"]:
        raise UserError(
            "{!r} must hold results for the readable of the {} videos in {!r};"
            " it has none of theirs.".format(
                folder, len(labels), flags.labels))
    classes = flags.classes or found.scored or 1 + max(
        labels.max(), found.classes.max())
    if labels.max() >= classes:
        raise UserError(
            "The labels in {!r} must be below {}, the number of scores that a "
            "video has in {!r}; one is {}. Are the results of another network,"
            " or fp16? Then give --classes.".format(
                flags.labels, classes, folder, labels.max()))
    say("{}: {} of each video, each file's videos by its name".format(
        folder, "{} scores".format(classes) if found.scored
        else "the class"))
    scores.say_rates(summary, found.scored)
    say("mean of the classes {:.2%}".format(summary["mean_class"]))
    table = scores.class_table(records, list(map(str, range(classes))))
    _say_classes(table[1:], found.scored)
    if flags.class_table:
        storage.write_text(flags.class_table, scores.csv_text(table))
        say("{}: {} classes".format(flags.class_table, classes))
    missing = _missing(labels, found)
    if missing:
        say("missing, and not in the score{}: results of".format(
            "" if flags.batchsize else
            " (did each .bin hold several videos? Then give --batchsize)"))
        say_some(missing)
    if found.surplus:
        say("surplus, as there are {} videos:".format(len(labels)))
        say_some(found.surplus)
    return int(bool(missing or found.surplus))


def _batch_size(path):
    """Videos a .bin, by the manifest beside a .info; else 1."""
    path = os.path.join(os.path.dirname(path), interface.MANIFEST)
    if not os.path.isfile(path):
        return 1
    with open(path, encoding="utf-8") as file:
        made = json.load(file)
    return made["shape"][0] // (made["views"]["clips"] * made["views"]["crops"])


def read_info(path):
    """Labels by the index of their video: int [N], -1 for none.

    Raises:
      UserError: a line is not "INDEX LABEL", or an index is not there once.
    """
    labels = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("--labels must be a text file that can be read; {!r}: "
                        "{}.".format(path, storage.gist(error)))
    for number, line in enumerate(lines, 1):
        try:
            index, label = map(int, line.split())
        except ValueError:
            index = label = -2
        if label < -1 or not 0 <= index < len(lines) or index in labels:
            raise UserError(
                "Each line of {!r} must be INDEX LABEL, of the {} indices from"
                " 0 on each once and a label from 0, or -1 for a video that "
                "cannot be read; line {} is {!r}.".format(
                    path, len(lines), number, line[:40]))
        labels[index] = label
    if not labels:
        raise UserError("--labels must have a line for each video; {!r} is "
                        "empty.".format(path))
    return np.array([labels[index] for index in range(len(lines))])


def _records(labels, found):
    """What `scores` takes, of the videos that are judged."""
    records = []
    for label, top in zip(labels.tolist(), found.top.tolist()):
        if label < 0:
            records.append({"label": label, "missing": False,
                            "error": "it could not be read"})
        elif top[0] >= 0:
            records.append({
                "label": label, "top": [{"class": each} for each in top],
                "first": top[0], "truncated": False, "looped": False})
    return records


def _say_classes(rows, with_top5):
    """The classes that are told worst, of those that have videos."""
    rows = sorted((row for row in rows if row[3]), key=lambda row: row[4:])
    say("{}{} classes that occur, worst first:".format(
        "{} of the ".format(_WORST) if len(rows) > _WORST else "", len(rows)))
    for label, _, _, count, top1, top5 in rows[:_WORST]:
        say("  class {}: top-1 {:.2%}{} of {}".format(
            label, top1, ", top-5 {:.2%}".format(top5) if with_top5 else "",
            count))
    if len(rows) > _WORST:
        say("  and {} more; --class_table FILE.csv writes them all".format(
            len(rows) - _WORST))


def _missing(labels, found):
    """The batches that a readable video needs and no file holds."""
    lines = []
    for first in range(0, len(labels), found.width):
        batch = slice(first, first + found.width)
        lacking = (found.classes[batch] < 0) & (labels[batch] >= 0)
        if lacking.any():
            lines.append("{}.bin ({})".format(
                first // found.width, _span(first, len(lacking))))
    return lines


def _span(first, count):
    return "video {}".format(first) if count == 1 else (
        "videos {} to {}".format(first, first + count - 1))
