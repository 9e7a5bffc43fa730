"""What a network says of video files: its answers to views, averaged.

Which frames, sizes and crops it sees is its checkpoint's protocol's. All five
average the probabilities of the views.
"""

import contextlib
import itertools
import re
from typing import NamedTuple, Optional

import numpy as np

from nonlocal_tf.data.ahead import ahead
from nonlocal_tf.data.video import decode, indices
from nonlocal_tf.data.video.views import each_window
from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import PROTOCOLS, Protocol, Views, sampling

_AHEAD = 2              # batches that are decoded while the network runs
_FIRST_CROPS = {1: "the centre", 3: "left, or of portraits top",
                5: "upper left", 10: "upper left"}


class Plan(NamedTuple):
    """What is taken of a video.

    name: of the protocol. protocol: its row, with the network's own mean and
    deviation. views: of the network's clips, in its size.
    """

    name: str
    protocol: Protocol
    views: Views

    @property
    def count(self):
        """Views of a video."""
        return self.views.clips * self.views.crops

    def __str__(self):
        views = self.views
        return (
            "{}: {} view{} of a video, {} clip{} of {} frames {}, times {} "
            "crop{} of {} pixels; shorter side {}".format(
                self.name, self.count, "s" * (self.count > 1), views.clips,
                "s" * (views.clips > 1), views.frames,
                "at an interval of {}".format(views.interval)
                if views.interval else "from equal segments", views.crops,
                "s" * (views.crops > 1), views.crop_size,
                views.short_side))

    def lines(self, own):
        """What to tell the user, of a network of the protocol `own`."""
        yield "As " + str(self)
        if self.name != own:
            yield ("The network is of {}, whose mean and deviation stay."
                   .format(own))

    def first(self):
        """Which the first view is, in words."""
        return "clip 1 of {}, crop 1 of {}, {}".format(
            self.views.clips, self.views.crops,
            _FIRST_CROPS[self.views.crops])


def plan(config, protocol="", views=""):
    """The `Plan` of a network.

    Frames, their interval and sizes go by its training; see `sampling`. Crops
    that the row does not have: three are as large as the shorter side, five
    and ten as the training's images. Where left and right differ (--flip
    false), no view is mirrored: ten crops are five.

    Args:
      config: a `TrainConfig` of a network of clips.
      protocol: in place of the network's: frames, sizes and crops are chosen
        as there; mean and deviation stay the network's, being its weights'.
      views: "CLIPSxCROPS", in place of the row's.
    Raises:
      UserError: the protocol lacks the network, or there are no such views.
    """
    name = protocol or config.protocol
    own = PROTOCOLS[config.protocol]
    row = sampling(config, name).views
    clips, crops = _parse(views, config.frame_interval) or (
        row.clips, row.crops)
    if crops == 10 and not config.flip:
        crops = 5
    if crops != row.crops and crops > 1:
        row = row._replace(
            crop_order="left middle right",
            crop_size=row.short_side if crops == 3 else config.image_size)
    return Plan(
        name, PROTOCOLS[name]._replace(
            mean=own.mean, deviation=own.deviation),
        row._replace(clips=clips, crops=crops))


def _parse(text, interval):
    """"10x3" as (10, 3); None for ""."""
    if not text:
        return None
    found = re.match(r"^([1-9]\d{0,3})x(1|3|5|10)$", text)
    if not found:
        raise UserError(
            "--views must be CLIPSxCROPS, with 1, 3, 5 or 10 crops, such as "
            "10x3; got {!r}.".format(text))
    clips, crops = map(int, found.groups())
    if clips > 1 and not interval:
        raise UserError(
            "--views of a network whose frames come from equal segments of "
            "the whole video must have one clip; got {}. Give 1x{}.".format(
                text, crops))
    return clips, crops


def add_flags(parser):
    """The flags of which network, and of what it is shown."""
    parser.add_run()
    parser.add_argument(
        "--protocol", choices=tuple(PROTOCOLS), default="", help="chooses "
        "frames, sizes and crops as another system than the network's does; "
        "mean and deviation stay the network's")
    parser.add_argument(
        "--views", default="", metavar="CLIPSxCROPS", help="of a video, such "
        "as 10x3, 10x1, 1x1; 1, 3, 5 or 10 crops, of 10 half mirrored, or "
        "5 after --flip false (default: the protocol's)")
    parser.add_argument(
        "--view_batch", type=int, default=1, metavar="N", help="views that "
        "go through the network at a time, and are in memory; more are "
        "quicker on a GPU (default: %(default)s)")


class Window(NamedTuple):
    """Frames of a video from `first` to before `end`, and what they show.

    probabilities: float64 [classes], mean over the views. alone: of the first
    view. views: their number.
    """

    first: int
    end: int
    probabilities: np.ndarray
    alone: np.ndarray
    views: int


class Answer(NamedTuple):
    """What a video shows; without `windows` it has an `error`."""

    path: str
    video: Optional[decode.Video] = None
    windows: tuple = ()
    error: str = ""

    @property
    def probabilities(self):
        """float64 [classes], mean over the windows."""
        return np.mean([window.probabilities for window in self.windows], 0)


def best(probabilities, count):
    """The classes of the `count` largest, the largest first."""
    return np.argsort(probabilities, kind="mergesort")[::-1][:count]


def is_looped(plan, windows):
    """Whether a clip spans more frames than a window: some come again."""
    return any(indices.span(plan.views) > window.end - window.first
               for window in windows)


def each(network, plan, paths, view_batch, seconds=0):
    """Yields an `Answer` for each file; the next is decoded meanwhile.

    Memory holds some batches of views and the resized frames of a window.

    Args:
      network: uint8 [view_batch, T, S, S, 3] to probabilities, such as a
        `trained.Network`.
      plan: a `Plan`.
      paths: of files.
      view_batch: views at a time; the last batch is filled up.
      seconds: length of a window; 0: the whole video is one.
    """
    counts = decode.Counts()
    try:
        with contextlib.closing(_ahead(_parts(
                plan, paths, view_batch, seconds, counts))) as parts:
            for number, group in itertools.groupby(
                    parts, lambda part: part.number):
                yield _answer(network, paths[number], group)
    finally:
        counts.save()


class _Part(NamedTuple):
    """A batch of views, of which `count` are some of a window's."""

    number: int                         # of the file
    video: Optional[decode.Video] = None
    window: tuple = ()
    views: Optional[np.ndarray] = None
    count: int = 0
    error: str = ""


def _parts(plan, paths, view_batch, seconds, counts):
    for number, path in enumerate(paths):
        try:
            video = counts.video(path)
            if seconds and not video.fps:
                raise UserError(
                    "{!r} must have a rate by its header for --window; it has "
                    "none. Leave --window out.".format(path))
            views = each_window(
                path, plan.protocol, plan.views, video,
                max(int(seconds * video.fps + 0.5), 1) if seconds
                else video.count)
            for window, pairs in itertools.groupby(
                    views, lambda pair: pair[0]):
                for batch, count in _batches(pairs, view_batch):
                    yield _Part(number, video, window, batch, count)
        except UserError as error:
            yield _Part(number, error=str(error))


def _batches(pairs, size):
    """Pairs' second members, uint8 [size, ...], and how many are some."""
    while True:
        views = [view for _, view in itertools.islice(pairs, size)]
        if not views:
            return
        batch = np.zeros((size,) + views[0].shape, np.uint8)
        batch[:len(views)] = views
        yield batch, len(views)


def _answer(network, path, parts):
    windows, video = {}, None           # (first, end) -> sum, first, count
    for part in parts:
        if part.error:                  # after some windows it is one, too
            return Answer(path, error=part.error)
        video = part.video
        shares = network(part.views)[:part.count].astype(np.float64)
        total, alone, count = windows.get(part.window, (0, shares[0], 0))
        windows[part.window] = (
            total + shares.sum(0), alone, count + part.count)
    return Answer(path, video, tuple(
        Window(first, end, total / count, alone, count)
        for (first, end), (total, alone, count) in windows.items()))


def _ahead(items):
    """The items of a generator, made in a thread before they are needed."""
    for item in ahead(lambda _: next(items, None), itertools.repeat(None), 1,
                      _AHEAD):
        if item is None:
            return
        yield item
