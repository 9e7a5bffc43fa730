"""Pictures of what one query attends to: a PNG sheet, and of clips an MP4."""

from typing import NamedTuple

import numpy as np

from nonlocal_tf.data.video.opencv import opencv, write_mp4
from nonlocal_tf.pages.attention import DIVERGING, SEQUENTIAL, strongest

_SIDE = 224                     # of a tile, at least
_OPACITY = 0.6
_BAR = 34                       # rows of two lines of text
_GAP = 4                        # columns between frames
_ARROWS = 20
_FONT = 0                       # cv2.FONT_HERSHEY_SIMPLEX: ASCII
_ARROW = (93, 255, 155)


class Row(NamedTuple):
    """What one query of a block attends to.

    name, layout: of the block; see `attention.block`. frames: of the clip, in
    which its positions attend. query: index in T, H, W. weights: float32
    [T', H', W'] of the keys. signed: whether they are no shares.
    """

    name: str
    layout: tuple
    frames: int
    query: tuple
    weights: np.ndarray
    signed: bool


def heat(row, shape):
    """The weight of the nearest key at each pixel, [T, H, W] of `shape`."""
    return row.weights[np.ix_(*[
        axis.nearest(np.arange(size))
        for axis, size in zip(row.layout.keys, shape)])]


def colours(values, largest, signed):
    """uint8 [..., 3] of weights, on the page's scale."""
    stops = np.array(DIVERGING if signed else SEQUENTIAL, float)
    share = values / (largest or 1)
    share = (share + 1) / 2 if signed else share
    at = np.linspace(0, 1, len(stops))
    return np.rint(np.stack([np.interp(share, at, part) for part in stops.T],
                            -1)).astype(np.uint8)


def tinted(frames, row):
    """Frames under the map of a `Row`, uint8 [T, H, W, 3]."""
    largest = float(np.abs(row.weights).max())
    shape = frames.shape[:3]
    images = (1 - _OPACITY) * frames + _OPACITY * colours(
        heat(row, shape), largest, row.signed)
    rows, columns = [axis.end(size) for axis, size in zip(
        row.layout.keys[1:], shape[1:])]
    for bare in np.s_[row.frames:], np.s_[:, rows:], np.s_[:, :, columns:]:
        images[bare] = frames[bare]
    return np.rint(images).astype(np.uint8)


def sheet(frames, rows):
    """uint8 [H, W, 3]: of a picture a tile a block, of a clip a line each.

    Args:
      frames: uint8 [T, H, W, 1 or 3].
      rows: a `Row` of each block.
    """
    tiles = [_tiles(frames, row, arrows=True) for row in rows]
    if len(frames) > 1:
        return np.concatenate(tiles)
    return _grid(tiles)


def video(path, frames, rows):
    """Writes an MP4, two frames a second, of the tiles of all blocks.

    Raises:
      UserError: OpenCV cannot write it.
    """
    tiles = [_tiles(frames, row, arrows=False) for row in rows]
    width = tiles[0].shape[1] // len(frames)
    images = [_grid([tile[:, at * width:(at + 1) * width] for tile in tiles])
              for at in range(len(frames))]
    height, width, _ = images[0].shape
    write_mp4(path, images, 2, width, height, " Name one --block.")


def _grid(tiles):
    """Tiles of one size, five beside each other at most."""
    columns = min(len(tiles), 5)
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[at:at + columns], 1)
                           for at in range(0, len(tiles), columns)])


def _tiles(frames, row, arrows):
    """A clip's frames beside each other, with the map and two lines above."""
    cv2 = opencv()
    times, height, width, _ = frames.shape
    factor = -(-_SIDE // width)
    largest = float(np.abs(row.weights).max())
    images = tinted(frames, row)
    images = images.repeat(factor, 1).repeat(factor, 2)
    ends = [np.flatnonzero(axis.nearest(np.arange(size)) == at)[[0, -1]]
            for axis, size, at in zip(
                row.layout.queries, frames.shape, row.query)]
    for time in range(ends[0][0], min(ends[0][1] + 1, row.frames)):
        for colour, line in ((0, 4), (255, 2)):
            cv2.rectangle(images[time], *[
                (int((ends[2][end] + end) * factor), int(
                    (ends[1][end] + end) * factor)) for end in (0, 1)],
                (colour,) * 3, line)
    images = np.pad(images, [(0, 0), (0, 0), (0, _GAP), (0, 0)],
                    "constant", constant_values=96)
    joined = np.ascontiguousarray(np.concatenate(list(images), 1))
    if arrows and times > 1:
        _draw_arrows(cv2, joined, row, factor, images.shape[2])
    bar = np.zeros((_BAR,) + joined.shape[1:], np.uint8)
    query = "query " + ", ".join(
        "{} {}".format(name, at) for name, at in zip("tyx", row.query)
        if times > 1 or name != "t")
    least = -largest if row.signed else 0.0
    for line, text in enumerate((
            "{}  {}".format(row.name, query),
            "{:.3g} to {:.3g}".format(least, largest))):
        cv2.putText(bar, text, (3, 13 + 15 * line), _FONT, 0.42,
                    (255, 255, 255), 1, cv2.LINE_AA)
    scale = np.linspace(least, largest, 80)
    bar[19:31, 130:210] = colours(scale, largest, row.signed)
    return np.concatenate([bar, joined])


def _draw_arrows(cv2, image, row, factor, width):
    """From the query to the strongest keys, as in the paper's Fig. 3."""
    def place(axes, index):
        time, y, x = [axis.centres()[at] for axis, at in zip(axes, index)]
        return (int(int(time) * width + factor * (x + 0.5)),
                int(factor * (y + 0.5)))

    start = place(row.layout.queries, row.query)
    flat = row.weights.reshape(1, -1)
    for key in strongest(flat, min(_ARROWS, flat.size))[0]:
        end = place(row.layout.keys, np.unravel_index(key, row.weights.shape))
        for colour, line in (((0, 0, 0), 3), (_ARROW, 1)):
            cv2.arrowedLine(image, start, end, colour, line, cv2.LINE_AA, 0,
                            8.0 / max(np.hypot(end[0] - start[0],
                                               end[1] - start[1]), 8))
