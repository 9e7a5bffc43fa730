"""A video with text in its frames."""

import numpy as np

from nonlocal_tf.data.video import decode
from nonlocal_tf.data.video.opencv import opencv, write_mp4

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
    frames = decode.each(path, range(video.count), video)
    write_mp4(target, map(_drawn, frames, texts), video.fps or 25,
              video.width, video.height)


def _drawn(frame, text):
    """White on a black bar, as large as fits."""
    cv2 = opencv()
    height, width = (side // 2 * 2 for side in frame.shape[:2])
    frame = np.ascontiguousarray(frame[:height, :width])
    scale = max(height / 480.0, 0.4)
    size = cv2.getTextSize(text, _FONT, scale, 1)[0]
    scale *= min(1, (width - 8) / max(size[0], 1))
    bar = int(size[1] * 1.8)
    frame[height - bar:] //= 4
    cv2.putText(frame, text, (4, height - bar // 4 - 1), _FONT, scale,
                (255, 255, 255), 1, cv2.LINE_AA)
    return frame
