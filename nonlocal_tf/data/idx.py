"""IDX, the format of MNIST's four files, plain or gzip.

An images file is a big-endian header of four 32-bit numbers (2051, N, 28, 28)
and N * 784 bytes; a labels file is (2049, N) and N bytes. Whether a file is
gzip is decided by its first two bytes, not by its name. A file is read in
bounded pieces and never further than its header promises, so that neither a
false header nor a gzip bomb can claim the memory.
"""

import gzip
import os
import stat
import struct
import zlib

import numpy as np

from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import replacing

SIDE = 28                                              # pixels
CLASSES = 10
MAX_IMAGES = 10000000                                  # 7.8 GB
_IMAGES, _LABELS = 2051, 2049                          # 0x00000803, 0x00000801
_CHUNK = 1 << 20
_ADVICE = (
    "Delete the file so that it is downloaded or made again, or put the right "
    "one there.")
# First bytes (after the gzip, if any) that betray a wrong file.
_KNOWN_STARTS = (
    (struct.pack(">I", _IMAGES), "an IDX file of images"),
    (struct.pack(">I", _LABELS), "an IDX file of labels"),
    (b"\x00\x00", "an IDX file of another type or rank"),
    (b"<", "an HTML or XML page"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip in gzip"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"version ", "a Git LFS pointer"),
)


def read_images(path):
    """Reads an IDX file of 28x28 images.

    Args:
      path: a local file, plain or gzip.
    Returns:
      [N, 28, 28, 1] uint8, C-contiguous, N >= 1.
    Raises:
      UserError: the file cannot be read or is not exactly such a file.
    """
    pixels = _read(path, _IMAGES)
    return pixels.reshape(-1, SIDE, SIDE, 1)


def read_labels(path):
    """Reads an IDX file of labels, each in 0..9.

    Args:
      path: a local file, plain or gzip.
    Returns:
      [N] int32, N >= 1.
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


def read_pair(images_path, labels_path):
    """Reads images and their labels: `read_images`, `read_labels`.

    Raises:
      UserError: as theirs, or the two counts disagree.
    """
    images, labels = read_images(images_path), read_labels(labels_path)
    if len(images) != len(labels):
        raise UserError(
            "Each image needs one label: {!r} holds {} images, {!r} {} "
            "labels. Put two files of the same set there, or delete both so "
            "that they are downloaded or made again.".format(
                images_path, len(images), labels_path, len(labels)))
    return images, labels


def write_idx(path, array):
    """Writes images or labels as IDX; the file appears whole or not at all.

    The bytes depend on `array` alone (and, for gzip, on the zlib in use): the
    gzip header has neither a time nor a name.

    Args:
      path: gzip where it ends in ".gz", else plain; its folder must exist.
      array: [N, 28, 28] or [N, 28, 28, 1] images or [N] labels, of whole
        numbers in 0..255.
    Raises:
      ValueError: another shape, or values that are not bytes.
      UserError: the file cannot be written.
    """
    array = np.asarray(array)
    content = _header(array) + array.astype(np.uint8).tobytes()
    try:
        with replacing(path) as file:
            if not path.endswith(".gz"):
                file.write(content)
                return
            with gzip.GzipFile(
                    filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.write(content)
    except OSError as error:
        raise UserError(
            "{!r} must be written, but: {}. Free some space, mend the "
            "permissions or name another folder.".format(
                path, error.strerror or error))


def _header(array):
    shape = array.shape
    if shape not in ((len(array),), (len(array), SIDE, SIDE),
                     (len(array), SIDE, SIDE, 1)):
        raise ValueError("Not images or labels: shape {}".format(shape))
    if not np.array_equal(array, array.astype(np.uint8)):
        raise ValueError("Not whole numbers in 0..255")
    if array.ndim == 1:
        return struct.pack(">II", _LABELS, len(array))
    return struct.pack(">IIII", _IMAGES, len(array), SIDE, SIDE)


def _read(path, magic):
    """The N * 784 or N bytes behind the header, as a flat uint8 array."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):           # a pipe would block
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device"
            raise _wrong(path, magic, "it is {}".format(what))
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                return _read_body(file, path, magic)
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                return _read_body(unpacked, path, magic)
    except (EOFError, zlib.error) as error:
        raise _wrong(path, magic, "its gzip is cut off or damaged ({})".format(
            error))
    except OSError as error:
        if error.errno is None:                        # gzip's own checks
            raise _wrong(path, magic, "its gzip is damaged ({})".format(error))
        raise UserError(
            "{!r} must be {} that can be read, but: {}. Mend its permissions "
            "or put the right file there.".format(
                path, _name(magic), error.strerror))
    except MemoryError:
        raise _wrong(path, magic, "it does not fit into memory")


def _read_body(file, path, magic):
    count, header_bytes = _read_header(file, path, magic)
    size = count * (SIDE * SIDE if magic == _IMAGES else 1)
    body = bytearray()
    # One byte more than promised: it proves a longer file, and at the end of
    # a gzip it makes the reader check the CRC.
    while len(body) <= size:
        chunk = file.read(min(_CHUNK, size + 1 - len(body)))
        if not chunk:
            break
        body += chunk
    if len(body) != size:
        raise _wrong(
            path, magic, "its header promises {} items, so {} bytes in all; "
            "{}".format(
                count, header_bytes + size,
                "it goes on after them" if len(body) > size
                else "it ends after {}".format(header_bytes + len(body))))
    return np.frombuffer(body, np.uint8)


def _read_header(file, path, magic):
    """Checks the header; returns N and the header's size in bytes."""
    layout = ">IIII" if magic == _IMAGES else ">II"
    head = file.read(struct.calcsize(layout))
    if not head:
        raise _wrong(path, magic, "it is empty")
    if head[:4] != struct.pack(">I", magic):
        raise _wrong(path, magic, "it begins with the bytes {}{}".format(
            " ".join("{:02x}".format(byte) for byte in head[:4]),
            _looks_like(head)))
    if len(head) < struct.calcsize(layout):
        raise _wrong(path, magic, "it ends after {} of the header's {} "
                     "bytes".format(len(head), struct.calcsize(layout)))
    numbers = struct.unpack(layout, head)
    if numbers[2:] not in ((), (SIDE, SIDE)):
        raise _wrong(path, magic, "its images are {}x{}".format(*numbers[2:]))
    if not 1 <= numbers[1] <= MAX_IMAGES:
        raise _wrong(path, magic, "its header promises {} items, and 1 to {} "
                     "are possible".format(numbers[1], MAX_IMAGES))
    return numbers[1], len(head)


def _looks_like(head):
    for start, name in _KNOWN_STARTS:
        if head.lstrip().startswith(start):
            return ", as {} does".format(name)
    return ""


def _name(magic):
    return ("an IDX file of 28x28 images (magic 2051)" if magic == _IMAGES
            else "an IDX file of labels (magic 2049)")


def _wrong(path, magic, received):
    return UserError("{!r} must be {}, plain or gzip; {}. {}".format(
        path, _name(magic), received, _ADVICE))
