"""The size that a system gives to frames, and OpenCV's way to it."""

import numpy as np

from nonlocal_tf.data.video.opencv import opencv


def _truncate(side, target, short):
    """Caffe2's: in float32, whose ratio may give 255 for 256: not below."""
    ratio = np.float32(target) / np.float32(short)
    return max(int(np.float32(side) * ratio), target)


_RULES = {
    "truncate": _truncate,
    "even": lambda side, target, short: int(round(side * (target / short))),
    "half_up": lambda side, target, short: int(side * (target / short) + 0.5),
}


def resized_size(width, height, short_side, rule):
    """Width and height of a frame whose shorter side becomes `short_side`.

    Args:
      rule: `size_rule` of a `protocols.Protocol`.
    """
    return tuple(_RULES[rule](side, short_side, min(width, height))
                 for side in (width, height))


def resize(image, width, height, interpolation="linear"):
    """A frame in another size, as cv2.resize makes it.

    Args:
      image: uint8 [H, W, 3].
      interpolation: "linear" or "cubic".
    Returns:
      uint8 [height, width, 3].
    """
    cv2 = opencv()
    return cv2.resize(image, (width, height), interpolation={
        "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}[interpolation])
