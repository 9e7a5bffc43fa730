"""What goes into a frozen network and out of it: names, shapes, pixels."""

import re

import numpy as np

from nonlocal_tf.architecture import DIGIT_SIZE

INPUT, OUTPUT, PROBABILITIES = "input", "output", "probabilities"
FILE_NAME = re.compile(r"^\d+_batch_\d+_\d+\.bin$")     # see `file_name`


def shape(image_size, batch_size, layout):
    """Of the placeholder `input`."""
    if layout == "flat":
        return [batch_size, DIGIT_SIZE * DIGIT_SIZE]
    return [batch_size, image_size, image_size, 1]


def prepare(images, image_size, layout):
    """Digits as the placeholder `input` wants them.

    Args:
      images: uint8 [N, 28, 28, 1].
      image_size: S.
      layout: "image" or "flat".
    Returns:
      float32 in 0..1, C-contiguous: [N, S, S, 1], zeros around, an odd rest
      at the bottom and at the right; or [N, 784].
    """
    scaled = images.astype(np.float32) / np.float32(255)
    if layout == "flat":
        return scaled.reshape(len(images), -1)
    rest = image_size - DIGIT_SIZE
    sides = (rest // 2, rest - rest // 2)
    return np.pad(scaled, ((0, 0), sides, sides, (0, 0)), mode="constant")


def file_name(index, batch_size):
    """Of the .bin of batch `index`, counted from 0; the rule: bins.py."""
    return "{}_batch_{}_{}.bin".format(
        index + 1, index * batch_size, (index + 1) * batch_size)
