"""Real handwritten digits that move: eight directions, no frame tells which.

A video has one digit of `data.digits`, 28x28 on black 64x64, which moves at a
constant velocity and is seen whole all the time. Digits of the training part
are in training videos alone.

Centre and speed of a path are drawn alike for a direction and its reverse, and
a path lies symmetrically about its centre. So a video that is played backwards
is as likely as one of the opposite direction, and what does not see the order
of frames answers right in one half of such a pair at most. C2D does not see
it: it pools pairs of frames, takes means, and its non-local blocks compare
positions by content alone. It is right for 50 % at most, on average; the order
is what I3D's kernels over frames and TSM's shift bring. Clips of every other
frame lie half a frame off the middle, and those that begin again at the end
have a jump: not wholly symmetric. Mirroring a clip changes its class.

Every file is Motion JPEG: its frames are compressed each by itself, so that
compression tells no direction either.
"""

import os

import numpy as np
from absl import logging

from nonlocal_tf.data.digits import digits
from nonlocal_tf.data.video.decode import inspect
from nonlocal_tf.data.video.opencv import opencv
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import (
    locked,
    make_folder,
    replacing_folder,
    write_text,
)

# By label, clockwise from right; name: x and y of a step, y downwards.
DIRECTIONS = {
    "right": (1, 0), "down right": (1, 1), "down": (0, 1),
    "down left": (-1, 1), "left": (-1, 0), "up left": (-1, -1), "up": (0, -1),
    "up right": (1, -1)}
FRAMES, SIDE = 24, 64
# As many of each direction with each of the ten digits.
VIDEOS = {"train": 800, "test": 240}

_DIGIT = 28
_UNIT = 64                      # steps of a pixel in which places are counted
_SPEEDS = (20, 45)              # of 32 a pixel and frame, along each axis
_ROOM = (SIDE - _DIGIT) * _UNIT
_SEED = 1711                    # arXiv 1711.07971
_CLASSES = "".join(name + "\n" for name in DIRECTIONS)


def make(folder):
    """Writes the set, 17 MB, into `folder` unless it is there.

    FOLDER/train and FOLDER/test, a folder for each class, 10 frames a second;
    lists train.txt and test.txt, `relative/path label` a line; classes.txt,
    the names by label.

    Args:
      folder: one that is not there, empty, or of this set, whole or not.
    Returns:
      Paths of train.txt and test.txt.
    Raises:
      UserError: the folder holds something else or cannot be written;
        OpenCV or scikit-learn is missing.
    """
    lists = tuple(os.path.join(folder, part + ".txt") for part in VIDEOS)
    if _is_whole(folder):
        return lists
    opencv()
    path = os.path.abspath(folder)
    make_folder(os.path.dirname(path), "--data_url")
    with locked("{}/.{}.lock".format(*os.path.split(path))):
        if not _is_whole(folder):
            logging.info("Writing %d videos of moving digits to %r ...",
                         sum(VIDEOS.values()), folder)
            images = digits()
            with replacing_folder(path) as new:
                _write(new, "train", *images[:2])
                _write(new, "test", *images[2:])
                write_text(os.path.join(new, "classes.txt"), _CLASSES)
    return lists


def video(images, labels, part, index):
    """The frames of a video before they are compressed.

    Args:
      images, labels: digits of the part, as `digits` gives them.
      part: "train" or "test".
      index: of the video; its direction is index % 8.
    Returns:
      uint8 [FRAMES, SIDE, SIDE].
    """
    random = np.random.RandomState(
        [_SEED, list(VIDEOS).index(part), index])
    step = list(DIRECTIONS.values())[index % len(DIRECTIONS)]
    members = np.flatnonzero(labels == index // len(DIRECTIONS) % 10)
    image = np.pad(images[members[random.randint(len(members))], ..., 0]
                   .astype(np.int64), 1, "constant")
    speed = random.randint(_SPEEDS[0], _SPEEDS[1] + 1)
    steps = 2 * np.arange(FRAMES) - FRAMES + 1          # about the centre
    places = []
    for sign in step:
        reach = abs(sign) * speed * (FRAMES - 1)
        centre = random.randint(reach, _ROOM - reach + 1)
        places.append(centre + sign * speed * steps)
    return np.stack([_frame(image, x, y) for x, y in zip(*places)])


def _frame(image, x, y):
    """A digit at a place in 1/64 pixels, bilinear, in whole numbers.

    Args:
      image: int [30, 30], with a border of one pixel.
    """
    (x, right), (y, down) = divmod(x, _UNIT), divmod(y, _UNIT)
    tall = image[1:] * (_UNIT - down) + image[:-1] * down       # [29, 30]
    full = tall[:, 1:] * (_UNIT - right) + tall[:, :-1] * right
    frame = np.zeros((SIDE + 1, SIDE + 1), np.uint8)
    frame[y:y + _DIGIT + 1, x:x + _DIGIT + 1] = (
        full + _UNIT ** 2 // 2) // _UNIT ** 2
    return frame[:SIDE, :SIDE]


def _listed(part):
    """[(path of a video below the folder, label)], in order."""
    names = [name.replace(" ", "_") for name in DIRECTIONS]
    return [("{}/{}/{:03}.avi".format(part, names[index % len(names)], index),
             index % len(names)) for index in range(VIDEOS[part])]


def _list_text(part):
    return "".join("{} {}\n".format(*line) for line in _listed(part))


def _is_whole(folder):
    """Whether the set is there.

    Raises:
      UserError: something else is, which writing would remove.
    """
    if not os.path.lexists(folder):
        return False
    found = set(os.listdir(folder)) if os.path.isdir(folder) else {""}
    if not found:
        return False
    others = found - {"classes.txt", "test", "test.txt", "train", "train.txt"}
    if others or _text(folder, "classes.txt") != _CLASSES:
        raise UserError(
            "The moving digits need a folder of their own; {!r} holds {}. "
            "Name a new one, or move that away.".format(
                folder, repr(min(others)) if any(others)
                else "something else"))
    return all(
        _text(folder, part + ".txt") == _list_text(part) and all(
            os.path.exists(os.path.join(folder, path))
            for path, _ in _listed(part)) for part in VIDEOS)


def _text(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def _write(folder, part, images, labels):
    cv2 = opencv()
    for index, (name, _) in enumerate(_listed(part)):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        writer = cv2.VideoWriter(
            path, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 10,
            (SIDE, SIDE), False)
        for frame in video(images, labels, part, index):
            writer.write(np.ascontiguousarray(frame))
        writer.release()
        # The writer says nothing of a disk that is full.
        if not os.path.exists(path) or inspect(path).count != FRAMES:
            raise UserError(
                "{!r} must have {} frames after it was written; it has not. "
                "Make room on its disk, or name another folder.".format(
                    name, FRAMES))
    write_text(os.path.join(folder, part + ".txt"), _list_text(part))
