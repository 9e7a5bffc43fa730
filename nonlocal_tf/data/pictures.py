"""PNG pictures: a folder of them for each class, or one to be classified.

DIR/train/CLASS/*.png and DIR/test/CLASS/*.png. The classes are the folders in
train/, in the order of their names, or of their numbers where all are such;
the first has label 0. TensorFlow decodes, and is imported when it does.
"""

import contextlib
import glob
import os
import re
import struct

import numpy as np
from absl import logging

from nonlocal_tf.data import idx
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import gist

_SIDE_LIMIT = 4096
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LUMA = np.array([19595, 38470, 7471], np.uint32)      # ITU-R 601, of 65536
_NUMBERED = re.compile(r"^(.+):(\d+)$")                # FILE-idx3-ubyte:7


def is_set(folder):
    """Whether a folder has, or seems meant to have, pictures by class."""
    return any(os.path.isdir(os.path.join(folder, part)) for part in (
        "train", "test")) or bool(
            glob.glob(os.path.join(glob.escape(folder), "*", "*.png")))


def class_names(folder):
    """The names of the classes by label."""
    names = _folders(folder, "train")
    if all(re.match("^[0-9]+$", name) for name in names):
        names = sorted(names, key=int)
    return tuple(names)


def read_part(folder, part, names):
    """The pictures of "train" or "test".

    Args:
      folder: DIR.
      part: the folder's name.
      names: of the classes, by label.
    Returns:
      uint8 [N, S, S, 1] and int32 [N]: the first of each class by their
      names, then the second, so that some images are some of each class.
    Raises:
      UserError: one line, which names the folder or the file.
    """
    unknown = sorted(set(_folders(folder, part)) - set(names))
    if unknown:
        raise UserError(
            "{!r} must have folders of the classes alone ({}); {!r} is none. "
            "Move it away, or train with it.".format(
                os.path.join(folder, part), ", ".join(names), unknown[0]))
    found, others = [], []
    for label, name in enumerate(names):
        place = os.path.join(folder, part, name)
        files = [file for file in os.listdir(place) if file[0] != "."] if (
            os.path.isdir(place)) else []
        pngs = sorted(file for file in files if file.lower().endswith(".png"))
        found += [(number, label, os.path.join(place, file))
                  for number, file in enumerate(pngs)]
        others += [os.path.join(place, file) for file in set(files) - set(pngs)]
    if others:
        logging.warning("Left out, not .png: %d in %r, such as %r", len(
            others), os.path.join(folder, part), min(others))
    if not found:
        raise UserError("{!r} must have .png files in folders of the classes; "
                        "it has none. Put them there.".format(
                            os.path.join(folder, part)))
    _, labels, paths = zip(*sorted(found))
    pictures = []
    with _decoder() as decode:
        for path in paths:
            pictures.append(decode(path, _SIDE_LIMIT))
            rows, columns = pictures[-1].shape
            if rows != columns or pictures[-1].shape != pictures[0].shape:
                raise UserError(
                    "{!r} must be square, with the {} columns of {!r}, as all "
                    "of a set; it has {} rows and {} columns. Make them equal, "
                    "or leave the odd one out.".format(
                        path, pictures[0].shape[1], paths[0], rows, columns))
    return np.stack(pictures)[..., np.newaxis], np.array(labels, np.int32)


def centred(picture, side):
    """A picture with zeros around, [1, S, S, 1]: the digits' network's input.

    An odd rest goes to the bottom and to the right.
    """
    return np.pad(picture, [(rest // 2, rest - rest // 2) for rest in (
        side - each for each in picture.shape)], "constant")[None, ..., None]


def read(path, side, invert=False):
    """One picture, uint8 [H, W].

    Args:
      path: a PNG of at most `side` rows and columns; or FILE:7, the picture
        with number 7, from 0, of an IDX file, plain or gzip.
      invert: whether black on white becomes white on black.
    Raises:
      UserError: one line, which names the file.
    """
    numbered = not os.path.exists(path) and _NUMBERED.match(path)
    if numbered:
        file, number = numbered.group(1), int(numbered.group(2))
        images = idx.read_images(file)
        if number >= len(images):
            raise UserError("{!r} has the pictures 0 to {}; got {}.".format(
                file, len(images) - 1, number))
        picture = images[number, ..., 0]
        picture = 255 - picture if invert else picture
    else:
        with _decoder() as decode:
            picture = decode(path, side, invert)
    _check_size(path, picture.shape, side)
    return picture


def _folders(folder, part):
    """The names of the folders in DIR/train or DIR/test, sorted."""
    try:
        place = os.path.join(folder, part)
        return [name for name in sorted(os.listdir(place))
                if os.path.isdir(os.path.join(place, name))
                and not name.startswith(".")]
    except OSError as error:
        raise UserError(
            "{!r} must have the folders train and test, and in each a folder "
            "of PNGs for each class; {}: {}. Sort the pictures so, or name "
            "another --data_url.".format(folder, part, error.strerror))


@contextlib.contextmanager
def _decoder():
    """A function of (path, limit of the sides, invert) to uint8 [H, W].

    In a session, as in every other part; it leaves a GPU alone. Pixels without
    alpha are not asked for it: with fewer than 8 bits they would get 1 of 255.
    """
    import tensorflow as tf
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session(
            config=tf1.ConfigProto(device_count={"GPU": 0})) as session:
        content = tf1.placeholder(tf.string, [])
        pixels = {channels: tf1.image.decode_png(content, channels)
                  for channels in (3, 4)}

        def decode(path, limit, invert=False):
            data = _checked(path, limit)
            alpha = data[25] & 4 or b"tRNS" in data[:data.find(b"IDAT")]
            try:
                with _quiet():
                    found = session.run(
                        pixels[4 if alpha else 3], {content: data})
            except (tf.errors.OpError, MemoryError) as error:
                raise UserError(
                    "{!r} must be a whole PNG; TensorFlow cannot decode it "
                    "({}). Was it cut short?".format(
                        path, gist(error)))
            return _grey(found, invert)
        yield decode


@contextlib.contextmanager
def _quiet():
    """TensorFlow 2.6 writes a line to stderr for each picture."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _grey(pixels, invert):
    """RGB or RGBA [H, W, C] to what PIL's "L" is, over black; all uint8.

    Inverted before the black: what is transparent is paper, not ink.
    """
    grey = (pixels[..., :3].dot(_LUMA) + 0x8000) >> 16
    grey = 255 - grey if invert else grey
    if pixels.shape[-1] == 4:
        grey = (grey * pixels[..., 3] + 127) // 255
    return grey.astype(np.uint8)


def _checked(path, limit):
    """The bytes of a PNG file, of which the first 26 are its header."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError("{!r} must be a PNG that can be read, but: {}.".format(
            path, error.strerror))
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or len(data) < 26:
        raise UserError(
            "{!r} must be a PNG; it begins with {!r}. Convert it; of an IDX "
            "file name a picture, FILE-idx3-ubyte:7.".format(path, data[:8]))
    columns, rows, bits = struct.unpack(">IIB", data[16:25])
    if bits == 16:
        raise UserError("{!r} must have 8 bits a channel, or fewer; it has "
                        "16. Convert it.".format(path))
    _check_size(path, (rows, columns), limit)
    return data


def _check_size(path, shape, limit):
    if max(shape) > limit:
        raise UserError(
            "{!r} must have at most {}x{} pixels; it has {}x{} (rows x "
            "columns). Make it smaller.".format(path, limit, limit, *shape))
