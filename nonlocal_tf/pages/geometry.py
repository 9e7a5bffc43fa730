"""Where the positions of a block's map lie on the network's input.

An operation whose output i is centred at its input's stride * i + offset:

  convolution, 7x7 or 3x3, zero padded by half, or 1x1     stride s, offset 0
  max pool 3x3 with stride 2, zero padded by p              2, 1 - p
  max pool over f frames, or over f rows and columns        f, (f - 1) / 2
  every s-th frame                                          s, 0

Their composition is what `maps` has of a whole network. No TensorFlow here.
"""

from typing import NamedTuple

import numpy as np

from nonlocal_tf.architecture import STAGES
from nonlocal_tf.protocols import FROZEN_GROUP, trunk


class Axis(NamedTuple):
    """Position i, 0 to count - 1, is centred at pixel stride * i + offset."""

    count: int
    stride: float = 1
    offset: float = 0

    def through(self, stride, offset=0, count=None):
        """The axis behind an operation; `count` where it is no ceil(n / s)."""
        return Axis(-(-self.count // stride) if count is None else count,
                    self.stride * stride, self.offset + self.stride * offset)

    def pooled(self, window):
        """Behind a max pool, which drops an odd rest."""
        window = min(window, self.count)
        return self.through(window, (window - 1) / 2, self.count // window)

    def centres(self):
        """Of all positions, in pixels or frames of the input."""
        return self.stride * np.arange(self.count) + self.offset

    def nearest(self, pixels):
        """The position nearest to each pixel, the later one of two."""
        found = np.floor((np.asarray(pixels) - self.offset) / self.stride + .5)
        return np.clip(found, 0, self.count - 1).astype(int)

    def end(self, size):
        """The pixel behind those that belong to the last position.

        What lies further off than half a stride belongs to none: an odd rest,
        which a pool dropped.
        """
        end = int(np.ceil(self.offset + self.stride * (self.count - 0.5)))
        return size if size - end <= self.stride / 2 else end


class Map(NamedTuple):
    """A stage's positions: `Axis` of frames, rows and columns each."""

    queries: tuple
    keys: tuple


def maps(config, shape):
    """Stage -> `Map` of the blocks in it.

    Args:
      config: a `TrainConfig`.
      shape: T, H, W of the network's input; T is 1 of a picture.
    """
    axes = tuple(map(Axis, shape))
    found = {}
    for stage, queries in (
            _digits(axes) if config.network == "digits" else
            _video(axes, config)):
        if config.network != "digits" and config.frozen_norm and (
                stage == "res3"):       # the first group alone is watched
            queries = (queries[0]._replace(count=FROZEN_GROUP),) + queries[1:]
        found[stage] = Map(queries, (queries[0],) + tuple(
            axis.pooled(2) for axis in queries[1:]) if config.sub_sample
            else queries)
    return found


def shown_frames(layout, config, frames):
    """Frames of the input in which a block's watched positions attend."""
    return layout.queries[0].end(frames) if config.frozen_norm else frames


def _digits(axes):
    frames, *sides = axes
    sides = [axis.through(2) for axis in sides]             # stem
    for stage in STAGES:
        sides = [axis.through(2) for axis in sides]
        yield stage, (frames,) + tuple(sides)


def _video(axes, config):
    row = trunk(config.protocol, config.network, config.frames,
                config.frame_interval)
    frames, *sides = axes
    frames = frames.through(row.stem_stride)
    frames = frames.pooled(row.pool1_frames) if row.pool1_frames > 1 else (
        frames.through(row.pool1_stride))
    for stage in STAGES:
        if stage == "res2":             # stem, then pool1
            sides = [axis.through(2) for axis in sides]
            sides = [axis.through(
                2, 1 - row.pool1_pad, (axis.count + 2 * row.pool1_pad - 3)
                // 2 + 1) for axis in sides]
        else:
            sides = [axis.through(2) for axis in sides]
        if stage == "res3" and row.pool2:
            frames = frames.pooled(2)
        yield stage, (frames,) + tuple(sides)
