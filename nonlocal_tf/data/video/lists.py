"""Lists of videos and their labels, in the formats that people have.

A line has a path, or a path and a label: a number, or a name of a class; a
blank, a tab or a comma is between them, and paths may have blanks. Or the list
is a table with a header (path, label; Kinetics' CSV), UCF-101's trainlist with
classInd.txt beside it, or a folder with a folder for each class.
"""

import hashlib
import os
import re
from typing import NamedTuple, Optional

import numpy as np

from nonlocal_tf.data.video import formats
from nonlocal_tf.data.video import labels as all_labels
from nonlocal_tf.errors import UserError


class VideoList(NamedTuple):
    """Videos in the order of their list.

    paths: of the files, whether there or not. labels: int32 [N], from 0; -1
    where the list has none. class_names: by label, () if not known. remarks:
    lines that tell the user what was assumed. start: 0 or 1, from which its
    numbers count; None where labels are no numbers.
    """

    paths: tuple
    labels: np.ndarray
    class_names: tuple = ()
    remarks: tuple = ()
    start: Optional[int] = None

    def digest(self):
        """SHA-1 of paths and labels in their order, as hex digits."""
        rows = ["{} {}".format(label, os.path.abspath(path))
                for label, path in zip(self.labels, self.paths)]
        return hashlib.sha1("\n".join(rows).encode(
            "utf-8", "surrogateescape")).hexdigest()


def read(path, root="", class_names=(), classes=None, start=None):
    """The videos that a list names, or that lie in a folder per class.

    Args:
      path: of a list, or a folder with a folder for each class.
      root: folder to which paths in the list are relative; "": the list's.
      class_names: by label, of the network or of the training list: labels
        are its indices; () if there is none yet.
      classes: their number; None: not known yet.
      start: 0 or 1, from which its numbers count unless it tells itself, as
        that of the training list for the test's; None: by its numbers.
    Returns:
      A `VideoList`.
    Raises:
      UserError: the list cannot be read or understood, or its labels are none
        of the classes; one line with the list's line number.
    """
    if root and not os.path.isdir(root):
        raise UserError("--video_root must be the folder of the videos; {!r} "
                        "is none.".format(root))
    rows = formats.read(path, root)
    if os.path.isdir(path):
        base, remarks = path, ()
    else:
        base, remarks = _base(rows.paths, root or os.path.dirname(path))
        _refuse_frames(rows, base)
    labels, names, more, start = all_labels.resolve(
        rows, tuple(class_names), classes, start)
    paths = tuple(os.path.join(base, each) for each in rows.paths)
    return VideoList(paths, labels, names, rows.remarks + remarks + tuple(more)
                     + _repeated(rows, paths, labels.tolist()), start)


def _base(paths, folder):
    """What the paths are relative to, of `folder` and the current one."""
    some = [path for path in paths[:1000] if not os.path.isabs(path)]
    if any(os.path.exists(os.path.join(folder, path)) for path in some) or (
            not any(os.path.exists(path) for path in some)):
        return folder, ()
    return "", ("Paths are taken as relative to the current folder, where the "
                "videos are; in {!r} they are not.".format(folder or "."),)


def _refuse_frames(rows, base):
    """mmaction2's `folder FRAMES LABEL`, and lists of folders."""
    path = os.path.join(base, rows.paths[0])
    folder = re.sub(r"\s+\d+$", "", path)
    if os.path.isdir(path) or os.path.isdir(folder):
        raise UserError(
            "{}: a video must be a file; {!r} is a folder. Folders of frames "
            "are not read: list the videos that they were made from.".format(
                rows.at(0), folder))


def _repeated(rows, paths, labels):
    """Remarks about paths that are there again.

    Raises:
      UserError: one has two labels.
    """
    first, again = {}, []
    for index, path in enumerate(paths):
        other = first.setdefault(path, index)
        if other == index:
            continue
        if labels[other] != labels[index]:
            raise UserError(
                "{}: {!r} must have one label; it has {} here and {} on line "
                "{}. Take one of both away.".format(
                    rows.at(index), path, rows.labels[index],
                    rows.labels[other], rows.lines[other]))
        again.append(index)
    if not again:
        return ()
    return ("Lines whose video is on an earlier line too: {} (first: {})."
            .format(len(again), rows.at(again[0])),)


def check_labelled(listed, name):
    """Refuses a list without a label for each video."""
    bare = (listed.labels < 0).nonzero()[0]
    if len(bare):
        raise UserError(
            "--data_url must have a label for each video, to tell whether the "
            "answer is right; {!r} has none for {!r}. Add it, or ask python "
            "-m nonlocal_tf.classify, which needs none.".format(
                name, listed.paths[bare[0]]))
