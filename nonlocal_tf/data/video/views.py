"""Clips of a video file as the networks take them, by a system's protocol."""

import itertools

import numpy as np

from nonlocal_tf.data.video.crops import test_crops, train_crop
from nonlocal_tf.data.video.decode import each, frames, inspect
from nonlocal_tf.data.video.indices import span, test_indices, train_indices
from nonlocal_tf.data.video.opencv import decoder
from nonlocal_tf.data.video.resize import resize, resized_size

_STARTS = {
    "middle": "the middle of each of {frames} equal parts",
    "wrap": "clips that start at int(n / {clips} k)",
    "spread": "clips that start in the middle of {clips} equal parts",
    "ends": "clips from the first frame to the last, evenly",
    "random": "a clip from a random start, the same in each test",
}


def each_view(path, protocol, views, video=None):
    """Yields the views of a test, in the system's order.

    The resized frames stay in memory, the views do not.

    Args:
      path: of the video.
      protocol: `protocols.Protocol`.
      views: `protocols.Views`, that of the network or another.
      video: what `decode.inspect` found, if known.
    Yields:
      uint8 [T, S, S, 3], red, green, blue.
    Raises:
      UserError: with the first: see `decode.frames`, `crops.test_crops`.
    """
    video = video or inspect(path)
    for _, view in each_window(path, protocol, views, video, video.count):
        yield view


def each_window(path, protocol, views, video, length):
    """Yields the views of each part of a video, as if it were the whole.

    The resized frames of one part stay in memory.

    Args:
      path, protocol, views, video: see `each_view`.
      length: frames of a part; the last has what is left, and less than half
        of a part belongs to the one before.
    Yields:
      (first frame, frame behind the last), and a view: see `each_view`.
    """
    width, height = _size(protocol, views, video)
    crops = test_crops(views, width, height)
    parts = max(int(video.count / length + 0.5), 1)
    bounds = [length * part for part in range(parts)] + [video.count]
    windows = list(zip(bounds, bounds[1:]))
    clips = [test_indices(views, end - first) for first, end in windows]
    decoded = each(path, itertools.chain.from_iterable(
        first + np.unique(rows) for (first, _), rows in zip(windows, clips)),
        video)
    for window, rows in zip(windows, clips):
        wanted = np.unique(rows)
        images = np.empty([len(wanted), height, width, 3], np.uint8)
        for image in images:
            image[:] = resize(next(decoded), width, height,
                              protocol.interpolation)
        for crop, clip in _order(views, crops, rows):
            yield window, cut(images[np.searchsorted(wanted, clip)], crop,
                              views.crop_size)


def test_views(path, protocol, views, video=None):
    """All of `each_view`, uint8 [views, T, S, S, 3]."""
    return np.stack(list(each_view(path, protocol, views, video)))


def train_clip(path, protocol, trunk, size, seed, epoch, index, video=None,
               flip=True):
    """A training clip, a function of (seed, epoch, index) and the file.

    Frames, short side, crop and mirroring are the same for its whole length.

    Args:
      path, protocol, video: see `each_view`.
      trunk: `protocols.Trunk`.
      size: S.
      flip: whether half of the clips are mirrored.
      seed, epoch, index: each 0 to 2**32 - 1; index within the training set.
    Returns:
      uint8 [T, S, S, 3].
    Raises:
      UserError: see `each_view`.
    """
    random = np.random.RandomState([seed, epoch, int(index)])
    video = video or inspect(path)
    indices = train_indices(trunk.views, video.count, random)
    rule = trunk.train_crop
    width, height = resized_size(
        video.width, video.height,
        random.randint(rule.short_sides[0], rule.short_sides[1] + 1),
        protocol.size_rule)
    x, y, w, h = train_crop(rule, size, width, height, random)
    mirrored = random.randint(2) and flip

    def change(image):
        image = resize(image, width, height, protocol.interpolation)
        return resize(image[y:y + h, x:x + w], size, size)

    clip, _ = frames(path, indices, video, change)
    return clip[:, :, ::-1] if mirrored else clip


def explain(protocol, views, video):
    """What `each_view` does to a video, in words, a line for each step."""
    width, height = _size(protocol, views, video)
    crops = test_crops(views, width, height)
    clips = test_indices(views, video.count)
    lines = ["decoded by {}: {}".format(decoder(), video),
             "frames: " + _STARTS[views.starts].format(**views._asdict())]
    lines += ["  " + " ".join(map(str, clip)) for clip in clips]
    if span(views) > video.count:
        lines.append("  of {} frames, more than the video has: some come again"
                     .format(span(views)))
    lines.append("resized to {} x {} ({}), {}".format(
        width, height, protocol.size_rule, protocol.interpolation))
    lines.append("cut {0} x {0} at x, y: {1}".format(
        views.crop_size, "; ".join(
            "{}, {}{}".format(x, y, " mirrored" * mirrored)
            for x, y, mirrored in crops)))
    lines.append("{} views, uint8: {}".format(len(crops) * len(clips), {
        "crop": "of each crop all clips", "clip": "of each clip all crops"}[
            views.outer]))
    lines.append("in the graph: (x - ({})) / ({})".format(*(
        ", ".join("{:.6g}".format(value) for value in values)
        for values in (protocol.mean, protocol.deviation))))
    return lines


def cut(clip, crop, size):
    """A square [..., size, size, 3] of frames [..., H, W, 3].

    Args:
      crop: x, y, mirrored.
    """
    x, y, mirrored = crop
    clip = clip[..., y:y + size, x:x + size, :]
    return clip[..., ::-1, :] if mirrored else clip


def _size(protocol, views, video):
    return resized_size(video.width, video.height, views.short_side,
                        protocol.size_rule)


def _order(views, crops, clips):
    if views.outer == "crop":
        return [(crop, clip) for crop in crops for clip in clips]
    return [(crop, clip) for clip in clips for crop in crops]
