"""The size that a system gives to frames, and OpenCV's way to it in NumPy."""

import numpy as np

from nonlocal_tf.data.video.opencv import opencv
from nonlocal_tf.errors import UserError


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
      interpolation: "linear", or "cubic", for which OpenCV is needed.
    Returns:
      uint8 [height, width, 3].
    Raises:
      UserError: "cubic" without OpenCV.
    """
    try:
        cv2 = opencv()
    except UserError:
        if interpolation != "linear":
            raise
        return linear(image, width, height)
    return cv2.resize(image, (width, height), interpolation={
        "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}[interpolation])


def linear(image, width, height):
    """cv2.resize with INTER_LINEAR, bit for bit, without OpenCV.

    Its arithmetic on uint8 (modules/imgproc/src/resize.cpp): weights are
    multiples of 1/2048; a row keeps 4 of their 11 bits less, the sum of two
    rows is rounded at the end.
    """
    left, right, (a, b) = _taps(image.shape[1], width)
    wide = image[:, left] * a[:, None] + image[:, right] * b[:, None]
    wide >>= 4                                           # [H, width, 3]
    above, below, (a, b) = _taps(image.shape[0], height)
    upper = a[:, None, None] * wide[above] >> 16
    lower = b[:, None, None] * wide[below] >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _taps(source, size):
    """The two places between which each pixel lies, and their weights."""
    place = ((np.arange(size) + 0.5) * (1.0 / (size / source)) - 0.5).astype(
        np.float32)
    first = np.floor(place)
    here, beside = (np.clip(index, 0, source - 1).astype(int)
                    for index in (first, first + 1))
    weights = [np.rint(share * np.float32(2048)).astype(np.int32)
               for share in (1 - (place - first), place - first)]
    return here, beside, weights
