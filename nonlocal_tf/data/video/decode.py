"""Frames of video files, read forward from the first.

Seeking is inexact in OpenCV (issues 4890, 9053), and headers miscount: frames
are counted by decoding them. What no record can tell: on a file that is tagged
BT.709, OpenCV 4 takes BT.601's colour matrix, and OpenCV 5 the tagged one.
"""

import contextlib
import json
import os
from typing import NamedTuple

import numpy as np
from absl import logging

from nonlocal_tf.data.video.opencv import decoder, opencv
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import gist, write_text


class Video(NamedTuple):
    """What decoding a file from beginning to end found.

    count: frames. header: their number by the file's header, 0 if it has
    none. fps: frames a second by the header, 0 likewise. width, height: as
    seen, after `rotation`, in degrees clockwise, which is applied.
    """

    count: int
    header: int
    fps: float
    width: int
    height: int
    rotation: int

    @property
    def truncated(self):
        """Whether frames are missing.

        Matroska's number is duration times rate: one too many at times, and
        wrong where the rate is uneven.
        """
        return self.count + 1 < self.header

    def __str__(self):
        text = "{} frame{} of {} x {}, {:.4g} a second".format(
            self.count, "s" * (self.count != 1), self.width, self.height,
            self.fps)
        if self.rotation:
            text += ", turned by {} degrees".format(self.rotation)
        if self.header != self.count:
            text += ", {} by its header".format(self.header or "none")
        return text + (
            ": cut off, damaged or of uneven rate" * self.truncated)


def inspect(path):
    """Decodes a whole file, and says what is in it.

    Returns:
      A `Video`. A file that is cut off or damaged shows by `truncated`.
    Raises:
      UserError: there is no such file, it is empty or no video, or not even
        one frame can be decoded.
    """
    cv2 = opencv()
    with _opened(path) as capture:
        first = _next(cv2, capture)
        if first is None:
            raise UserError(
                "{!r} must be a video; OpenCV decodes none of its frames. It "
                "is damaged or cut off: fetch it again.".format(path))
        count = 1
        while capture.grab():
            count += 1
        header, fps = (
            capture.get(what) if 0 < capture.get(what) < 1e9 else 0
            for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        turn = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
    return Video(count, int(header), float(fps), first.shape[1],
                 first.shape[0], turn)


def frames(path, indices, video=None, change=None):
    """Chosen frames of a file; nothing else stays in memory.

    Args:
      path: of the file.
      indices: int array of any shape.
      video: what `inspect` found, if known: saves decoding twice.
      change: what makes the frame to keep of each, uint8 [H, W, 3].
    Returns:
      uint8 [..., H, W, 3], red, green, blue; the `Video`.
    Raises:
      UserError: as `inspect`; a frame is asked for that is not there; frames
        differ in size.
    """
    video = video or inspect(path)
    indices = np.asarray(indices)
    last = int(indices.max())
    if not 0 <= indices.min() <= last < video.count:
        raise UserError(
            "{!r} must have {} frames; it has {}. Choose a longer video or "
            "fewer frames.".format(path, last + 1, video.count))
    numbers, result = np.unique(indices), None
    for number, frame in zip(numbers, each(path, numbers, video)):
        frame = frame if change is None else change(frame)
        if result is None:
            result = np.empty(indices.shape + frame.shape, np.uint8)
        result[indices == number] = frame
    return result, video


def each(path, numbers, video):
    """Yields chosen frames one by one, uint8 [H, W, 3].

    Args:
      path, video: see `frames`.
      numbers: of the frames, ascending.
    Raises:
      UserError: a frame is missing, or of another size than the first.
    """
    cv2, at = opencv(), 0
    with _opened(path) as capture:
        for number in numbers:
            for _ in range(number - at):
                capture.grab()
            frame, at = _next(cv2, capture), number + 1
            if frame is None or frame.shape[:2] != (video.height, video.width):
                raise UserError(
                    "{!r} must have {} frames of one size; frame {} is {}. "
                    "Fetch it again, or encode it anew.".format(
                        path, video, number, "missing" if frame is None else
                        "{1} x {0}".format(*frame.shape)))
            yield frame


def _next(cv2, capture):
    """The next frame, uint8 [H, W, 3]; None behind the last."""
    there, frame = capture.read()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if there else None


@contextlib.contextmanager
def _opened(path):
    """A capture that stands before the first frame."""
    cv2 = opencv()
    size = _stamp(path)[0]
    # One thread, since files are decoded side by side; from OpenCV 4.7.
    threads = [cv2.CAP_PROP_N_THREADS, 1] if hasattr(
        cv2, "CAP_PROP_N_THREADS") else []
    # A whole path: FFmpeg takes what is before a colon for a protocol.
    capture = cv2.VideoCapture(
        os.path.abspath(path), cv2.CAP_FFMPEG, threads)
    try:
        if not capture.isOpened():
            raise UserError(
                "{!r} must be a video; its {} bytes are none that OpenCV "
                "reads, or it is cut off. Fetch it again, or remove it."
                .format(path, size))
        # OpenCV 4.11 does not turn frames unless asked; others do.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    except cv2.error as error:
        raise UserError("{!r} must be a video that OpenCV decodes; it stops: "
                        "{}. Encode it anew.".format(path, gist(error)))
    finally:
        capture.release()


def _stamp(path):
    """[bytes, nanoseconds]: size and time of a file that can be read."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        raise UserError(
            "{!r} must be a video file: {}. Name one that can be read.".format(
                path, gist(error)))
    if not status.st_size:
        raise UserError(
            "{!r} must be a video; it is empty. Fetch it again, or remove it."
            .format(path))
    return [status.st_size, status.st_mtime_ns]


class Counts:
    """`inspect` of each file once, kept in a JSON file; threads share one.

    What is known holds while a file's path, size and time are the same, and
    the decoder is.

    Args:
      path: of the JSON file, which `save` writes; by default one of the
        user's, nonlocal_tf/videos.json in $XDG_CACHE_HOME or ~/.cache.
    """

    def __init__(self, path=""):
        self._path = path or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
            "nonlocal_tf", "videos.json")
        self._videos, self._is_new = self._read(), False

    def _read(self):
        """What the file knows; one that is damaged knows nothing."""
        try:
            with open(self._path, encoding="utf-8") as file:
                known = json.load(file)
            if known["decoder"] == decoder():
                return dict(known["videos"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return {}

    def video(self, path):
        """The `Video` of a file; errors as of `inspect`."""
        stamp = _stamp(path)
        key = os.path.abspath(path)
        known = self._videos.get(key, [])
        if known[:2] != stamp:
            known = self._videos[key] = stamp + list(inspect(path))
            self._is_new = True
        return Video(*known[2:])

    def save(self):
        """Writes what is new, by rename; where that fails it is lost."""
        if not self._is_new:
            return
        self._is_new = False
        try:
            os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
            write_text(self._path, json.dumps({
                "decoder": decoder(),
                "videos": dict(self._read(), **self._videos)}, indent=0))
        except OSError as error:
            logging.warning("Counts of frames are not kept in %r: %s",
                            self._path, gist(error))
