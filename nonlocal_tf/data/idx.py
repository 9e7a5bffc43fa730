"""IDX, the format of MNIST's four files, plain or gzip.

An images file is a big-endian header of four 32-bit numbers (2051, N, S, S) and
N * S * S bytes, S being 28 in MNIST; a labels file is (2049, N) and N bytes.
Whether a file is gzip is decided by its first two bytes, not by its name.
"""

import functools
import gzip
import operator
import struct
import zlib

import numpy as np

from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import writing

_IMAGES, _LABELS = 2051, 2049                          # 0x00000803, 0x00000801


def read_images(path):
    """Reads an IDX file of square images, plain or gzip.

    Returns:
      [N, S, S, 1] uint8, C-contiguous, N >= 1, S >= 1.
    Raises:
      UserError: the file cannot be read or is not exactly such a file.
    """
    return _read(path, _IMAGES)[..., np.newaxis]


def read_labels(path):
    """Reads an IDX file of labels, plain or gzip.

    Returns:
      [N] int32, each in 0..255, N >= 1.
    Raises:
      UserError: the file cannot be read or is not exactly such a file.
    """
    return _read(path, _LABELS).astype(np.int32)


def write_idx(path, array):
    """Writes [N, S, S(, 1)] images or [N] labels, by rename.

    Raises:
      UserError: the file cannot be written.
    """
    shape = array.shape[:3]
    header = np.array((0x800 + len(shape),) + shape, ">u4")
    with writing(path) as file:
        file.write(header.tobytes() + array.astype(np.uint8).tobytes())


def _read(path, magic):
    """What is behind the header: uint8 [N, S, S], or [N]."""
    name = "an IDX file of {} (magic {})".format(
        "square images" if magic == _IMAGES else "labels", magic)
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
        return _body(content, magic)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise UserError(
            "{!r} must be {}, plain or gzip; {}. Delete the file so that it "
            "is downloaded or made again, or put the right one there.".format(
                path, name, error if isinstance(error, ValueError) else
                "its gzip is cut off or damaged ({})".format(error)))


def _body(content, magic):
    layout = ">" + "I" * (1 + magic % 256)             # dimensions
    start = struct.calcsize(layout)
    head = content[:start]
    numbers = struct.unpack(layout, head.ljust(start, b"\0"))
    shape, sides = numbers[1:], numbers[2:]
    if numbers[0] != magic or 0 in shape or sides[:1] != sides[1:]:
        raise ValueError(
            "it begins with {!r}, the numbers {}, in place of ({}, N >= 1{})"
            .format(head, numbers, magic, sides and ", S >= 1, S" or ""))
    size = start + functools.reduce(operator.mul, shape)
    if len(content) != size:
        raise ValueError(
            "its header promises {} items, so {} bytes in all; it has "
            "{}".format(shape[0], size, len(content)))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
