"""attention.html: what each block attends to, one file without a network.

The template beside this file draws what is computed here. A row of weights is
kept in 8 bits, as shares of its largest; of maps that are too large only the
strongest keys of each query.
"""

import base64
import json
import math
import os
import struct
import zlib

import numpy as np

_BYTES = 5 * 2 ** 20            # of all weights before base64
_PICTURE_BYTES = 2 * 2 ** 20    # of the frames' pixels
_LEAST_KEYS = 20

# From the least to the largest weight, and from -largest to +largest.
SEQUENTIAL = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58),
              (252, 165, 10), (252, 255, 164))
DIVERGING = ((33, 102, 172), (146, 197, 222), (247, 247, 247),
             (244, 165, 130), (178, 24, 43))


def block(name, layout, affinity, signed, kept):
    """What the page has of a block.

    Args:
      name: such as "res3/0".
      layout: its `geometry.Map`.
      affinity: float32 [N, M].
      signed: whether they are no shares; see `quantised`.
      kept: keys of each query, or None for all; see `kept_keys`.
    """
    shares = np.abs(affinity)
    total = shares.sum(1, keepdims=True)
    shares /= np.where(total > 0, total, 1)
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum(1)
    keys = affinity.shape[1]
    best = np.sort(np.partition(shares, max(keys - 5, 0), 1)[:, -5:], 1)
    found = {
        "name": name, "signed": signed, "kept": kept,
        "queries": layout.queries, "keys": layout.keys,
        "entropy": _text(entropy / math.log(max(keys, 2)), "<f4"),
        "five": _text(best.sum(1), "<f4")}
    if kept:
        places = strongest(affinity, kept)
        affinity = np.take_along_axis(affinity, places, 1)
        kind = _index_type(keys)
        found.update(places=_text(places, kind), wide=kind == "<u4")
    values, largest = quantised(affinity, signed)
    return dict(found, values=_text(values, "u1"),
                largest=_text(largest, "<f4"))


def strongest(rows, count):
    """Places of the `count` largest magnitudes of each row, descending."""
    rows = np.abs(rows)
    places = np.argpartition(rows, -count, 1)[:, -count:]
    order = np.argsort(-np.take_along_axis(rows, places, 1), 1, kind="stable")
    return np.take_along_axis(places, order, 1)


def quantised(rows, signed):
    """Rows in 8 bits: 255 for the largest, or 1 and 255 for its two signs.

    Returns:
      uint8 of the rows' shape, and the largest magnitude of each, float32.
    """
    largest = np.abs(rows).max(1)
    scaled = rows / np.where(largest > 0, largest, 1)[:, None]
    return np.rint(128 + 127 * scaled if signed else 255 * scaled).astype(
        np.uint8), largest.astype(np.float32)


def kept_keys(sizes):
    """How many keys of each query the page keeps of blocks; None for all.

    Args:
      sizes: N and M of each.
    """
    left, counts = _BYTES, [None] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda at: np.prod(sizes[at]))
    for behind, at in zip(range(len(sizes), 0, -1), order):
        n, m = sizes[at]
        share, each = left // behind, n * (1 + int(_index_type(m)[-1]))
        if n * m > share:               # the smaller ones leave the rest
            counts[at] = min(m, max(_LEAST_KEYS, share // each))
        left -= n * m if counts[at] is None else counts[at] * each
    return counts


def page(title, frames, blocks, notes, **more):
    """The page as text.

    Args:
      title: a line.
      frames: uint8 [T, H, W, 1 or 3], what the network saw.
      blocks: of `block`.
      notes: lines below it.
      more: what else the template reads; see there.
    """
    small, factor = frames, 1
    while small.nbytes > _PICTURE_BYTES:
        factor *= 2
        small = frames[:, ::factor, ::factor]
    if factor > 1:
        notes = notes + ["The frames are drawn at 1/{} of their size.".format(
            factor)]
    data = dict(
        more, title=title, shape=frames.shape[:3], blocks=blocks, notes=notes,
        picture="data:image/png;base64," + base64.b64encode(png(
            small.reshape((-1,) + small.shape[2:]))).decode(),
        sequential=SEQUENTIAL, diverging=DIVERGING)
    path = os.path.join(os.path.dirname(__file__), "attention.html")
    with open(path, encoding="utf-8") as file:
        return file.read().replace("@DATA@", json.dumps(data).replace(
            "<", "\\u003c"))


def png(pixels):
    """A PNG file's bytes of uint8 [H, W, 1 or 3]."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    lines = np.zeros([height, 1 + width * channels], np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    ) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")


def _index_type(keys):
    return "<u2" if keys <= 2 ** 16 else "<u4"


def _text(array, kind):
    return base64.b64encode(np.ascontiguousarray(
        array, kind).tobytes()).decode()
