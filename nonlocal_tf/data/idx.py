"""IDX, the format of MNIST's four files, plain or gzip.

An images file is a big-endian header of four 32-bit numbers (2051, N, 28, 28)
and N * 784 bytes; a labels file is (2049, N) and N bytes. Whether a file is
gzip is decided by its first two bytes, not by its name.
"""

import gzip
import struct
import zlib

import numpy as np

from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import replacing

SIDE = 28                                              # pixels
CLASSES = 10
_IMAGES, _LABELS = 2051, 2049                          # 0x00000803, 0x00000801


def read_images(path):
    """Reads an IDX file of 28x28 images, plain or gzip.

    Returns:
      [N, 28, 28, 1] uint8, C-contiguous, N >= 1.
    Raises:
      UserError: the file cannot be read or is not exactly such a file.
    """
    return _read(path, _IMAGES, SIDE, SIDE).reshape(-1, SIDE, SIDE, 1)


def read_labels(path):
    """Reads an IDX file of labels, plain or gzip.

    Returns:
      [N] int32, each in 0..9, N >= 1.
    Raises:
      UserError: the file cannot be read or is not exactly such a file.
    """
    labels = _read(path, _LABELS)
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        raise UserError(
            "The labels in {!r} must be 0 to {}, since the network tells {} "
            "classes apart; label {} (counted from 0) is {}. Leave the other "
            "classes out, or number ten from 0.".format(
                path, CLASSES - 1, CLASSES, wrong[0], labels[wrong[0]]))
    return labels.astype(np.int32)


def write_idx(path, array):
    """Writes [N, 28, 28(, 1)] images or [N] labels, by rename.

    Raises:
      UserError: the file cannot be written.
    """
    shape = array.shape[:3]
    header = np.array((0x800 + len(shape),) + shape, ">u4")
    try:
        with replacing(path) as file:
            file.write(header.tobytes() + array.astype(np.uint8).tobytes())
    except OSError as error:
        raise UserError(
            "{!r} must be written, but: {}. Free some space, mend the "
            "permissions or name another folder.".format(
                path, error.strerror or error))


def _read(path, magic, *sides):
    """What is behind the header, as a flat uint8 array."""
    name = ("an IDX file of 28x28 images (magic 2051)" if sides
            else "an IDX file of labels (magic 2049)")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise UserError(
            "{!r} must be {} that can be read, but: {}. Mend its permissions "
            "or put the right file there.".format(path, name, error.strerror))
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return _body(content, magic, sides)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise UserError(
            "{!r} must be {}, plain or gzip; {}. Delete the file so that it "
            "is downloaded or made again, or put the right one there.".format(
                path, name, error if isinstance(error, ValueError) else
                "its gzip is cut off or damaged ({})".format(error)))


def _body(content, magic, sides):
    layout = ">II" + "I" * len(sides)
    start = struct.calcsize(layout)
    head = content[:start]
    numbers = struct.unpack(layout, head.ljust(start, b"\0"))
    count = numbers[1]
    if numbers != (magic, count) + sides or not count:
        raise ValueError(
            "it begins with {!r}, the numbers {}, in place of {}".format(
                head, numbers, str((magic, "N >= 1") + sides).replace("'", "")))
    size = start + count * int(np.prod(sides))
    if len(content) != size:
        raise ValueError(
            "its header promises {} items, so {} bytes in all; it has "
            "{}".format(count, size, len(content)))
    return np.frombuffer(content, np.uint8, offset=start)
