"""A video with text in its frames."""

import os
import tempfile

import numpy as np

from nonlocal_tf.data.video import decode
from nonlocal_tf.data.video.opencv import opencv
from nonlocal_tf.errors import UserError

_FONT = 0                               # cv2.FONT_HERSHEY_SIMPLEX: ASCII


def annotate(path, target, video, texts):
    """Writes a video with a line of text at the foot of each frame.

    One frame at a time is in memory. A last odd column or row is left out,
    and so is the sound.

    Args:
      path, video: see `decode.each`.
      target: a .mp4 file, written by rename.
      texts: ASCII, one for each frame, in their order.
    Raises:
      UserError: OpenCV cannot write it, or see `decode.each`.
    """
    cv2 = opencv()
    width, height = video.width // 2 * 2, video.height // 2 * 2
    with tempfile.TemporaryDirectory(
            dir=os.path.dirname(os.path.abspath(target))) as folder:
        part = os.path.join(folder, "part.mp4")
        writer = cv2.VideoWriter(
            part, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"),
            video.fps or 25, (width, height))
        if not writer.isOpened():
            raise UserError(
                "{!r} cannot be written: OpenCV makes no MPEG-4 of {} x {} "
                "pixels here.".format(target, width, height))
        frames = decode.each(path, range(video.count), video)
        for frame, text in zip(frames, texts):
            frame = np.ascontiguousarray(frame[:height, :width, ::-1])
            _draw(cv2, frame, text)
            writer.write(frame)
        writer.release()
        os.replace(part, target)


def _draw(cv2, frame, text):
    """White on a black bar, as large as fits."""
    height, width = frame.shape[:2]
    scale = max(height / 480.0, 0.4)
    size = cv2.getTextSize(text, _FONT, scale, 1)[0]
    scale *= min(1, (width - 8) / max(size[0], 1))
    bar = int(size[1] * 1.8)
    frame[height - bar:] //= 4
    cv2.putText(frame, text, (4, height - bar // 4 - 1), _FONT, scale,
                (255, 255, 255), 1, cv2.LINE_AA)
