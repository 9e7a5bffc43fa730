"""What a network got wrong: counts, and pictures of the surest mistakes."""

import csv
import glob
import json
import os
import time
from typing import NamedTuple

import numpy as np

from nonlocal_tf import scores
from nonlocal_tf.architecture import block_names
from nonlocal_tf.data.pictures import centred
from nonlocal_tf.errors import UserError

MOST = 12                      # pictures
_SECONDS = 60                   # for test images, and for pictures
_FRAMES, _SIDE = 8, 96          # of a picture, at most


class Answers(NamedTuple):
    """counts: [label, answer]. wrong: (label, answer, probability, input),
    the surest first; an input is an image or the path of a video. words: over
    what.
    """

    names: list
    counts: np.ndarray
    wrong: list
    words: str


def of_clips(run):
    """`Answers` of the newest finished folder in evaluate/, and its step.

    Raises:
      UserError: there is none.
    """
    found = sorted(glob.glob(os.path.join(
        glob.escape(run.folder), "evaluate", "*", "summary.json")),
        key=os.path.getmtime)
    if not found:
        raise UserError(
            "No videos were tested. Run: python -m nonlocal_tf.evaluate "
            "--train_url {} --data_url LIST".format(run.folder))
    folder = os.path.dirname(found[-1])
    try:
        with open(found[-1], encoding="utf-8") as file:
            summary = json.load(file)
        with open(os.path.join(folder, "confusion.csv"), encoding="utf-8",
                  newline="") as file:
            head, *rows = csv.reader(file)
        with open(os.path.join(folder, "videos.jsonl"),
                  encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        counts = np.array([row[1:] for row in rows], int)
        wrong = [(each["label"], each["top"][0]["class"],
                  each["top"][0]["probability"], each["path"])
                 for each in scores.worst(records)]
        words = ("evaluate/{}: {}, {}, {} views; top-1 {:.2%}, top-5 {:.2%} "
                 "of {} videos, {} of them readable.".format(
                     os.path.basename(folder), summary["checkpoint"].split(
                         ",")[0], summary["protocol"], summary["views"],
                     summary["top1"], summary["top5"], summary["videos"],
                     summary["readable"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("The results in {!r} cannot be read ({}). Give "
                        "evaluate again.".format(folder, error))
    return Answers(head[1:], counts, wrong, words + (
        " Older results are there too." if len(found) > 1 else "")), int(
            summary["checkpoint"].split(",")[0].split()[-1])


def of_images(found):
    """`Answers` of the network of a `trained.Checkpoint` to test images.

    Raises:
      UserError: they are not there, or not the network's.
    """
    from nonlocal_tf import tasks, trained
    from nonlocal_tf.data import batches, datasets
    config = found.config
    if not datasets.has_test(config.dataset, config.data_folder()):
        raise UserError("The test images are not in {!r}, seen from here. "
                        "Start this where the training was started.".format(
                            config.data_folder()))
    images, labels = tasks.of(config).load_test(
        config, found.class_names, None, None)
    order = np.random.RandomState(0).permutation(len(images))
    network, size = trained.Network(found), min(32, len(images))
    counts = np.zeros([config.classes] * 2, int)
    wrong, done, until = [], 0, time.monotonic() + _SECONDS
    while done < len(order) and time.monotonic() < until:
        part = order[done:done + size]
        answers = network(batches.padded(images[part], size))
        for at, shares in zip(part, answers):
            counts[labels[at], shares.argmax()] += 1
            if shares.argmax() != labels[at]:
                wrong.append((int(labels[at]), int(shares.argmax()),
                              float(shares.max()), images[at]))
        done += len(part)
    words = "The newest checkpoint, step {}, on {} test images of {!r}: {:.2%}."
    if done < len(order):
        words += (" These are chosen at random of {:,}, as many as were "
                  "answered in {} s.".format(len(order), _SECONDS))
    return Answers(
        list(found.names),
        counts, sorted(wrong, key=lambda each: -each[2]), words.format(
            found.step, "all {:,}".format(done) if done == len(order) else
            "{:,}".format(done), config.data_folder(),
            counts.trace() / counts.sum()))


def pictures(found, wrong):
    """PNG bytes, or a line why not, of the surest mistakes.

    A clip's frames, and below them, or beside a picture, the same under what
    the last block attends to: |affinity|, mean over all queries.

    Args:
      found: a `trained.Checkpoint`, of what answered.
      wrong: of `Answers`.
    """
    from nonlocal_tf.pages import geometry, seen, sheets
    config, until = found.config, time.monotonic() + _SECONDS
    names = block_names(config.placement())
    looks = {}                          # by shape
    for *_, given in wrong[:MOST]:
        if time.monotonic() > until:
            yield "Not drawn: {} s are over.".format(_SECONDS)
            continue
        try:
            batch = centred(
                given.reshape(given.shape[:2]), config.image_size
            ) if isinstance(given, np.ndarray) else (
                seen.read(given, config).batch)
        except UserError as error:
            yield str(error)
            continue
        frames = batch[0] if batch.ndim == 5 else batch
        tinted = None
        if names:
            if batch.shape not in looks:
                looks[batch.shape] = seen.mean_of_last(found, batch.shape)
            layout = geometry.maps(config, frames.shape[:3])[
                names[-1].split("/")[0]]
            weights = looks[batch.shape](batch).reshape(
                [axis.count for axis in layout.keys])
            tinted = sheets.tinted(frames, sheets.Row(
                names[-1], layout, geometry.shown_frames(
                    layout, config, len(frames)), None, weights, False))
        yield _png(given, frames, tinted)


def _png(given, frames, tinted):
    from nonlocal_tf.pages import attention
    plain = given.reshape((1,) + given.shape[:2] + (1,)) if isinstance(
        given, np.ndarray) else frames
    tiles = [_strip(each) for each in (plain, tinted) if each is not None]
    return attention.png(np.concatenate(tiles, 0 if len(frames) > 1 else 1))


def _strip(frames):
    """Some frames beside each other, small."""
    times = np.linspace(0, len(frames) - 1, min(len(frames), _FRAMES))
    rows, columns = (
        np.arange(_SIDE) * side // _SIDE for side in frames.shape[1:3])
    small = frames[np.rint(times).astype(int)][:, rows][:, :, columns]
    return np.concatenate(
        list(np.broadcast_to(small, small.shape[:3] + (3,))), 1)
