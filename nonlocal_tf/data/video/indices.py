"""Which frames of a video its clips take: the rule of each system.

Frames count from 0, as they were decoded; Paddle takes the header's count for
a clip's start, which may be wrong by one. Behind the last frame comes the
first again, as all five systems have it.
"""

import numpy as np


def span(views):
    """Frames of a video that a clip stands for."""
    return views.frames * max(views.interval, 1)


def test_indices(views, count):
    """The frames of a test's clips, the same at each call.

    Args:
      views: `protocols.Views`.
      count: n, frames of the video, 1 or more.
    Returns:
      int [clips, frames], each 0 to n - 1.
    """
    if not views.interval:
        return _middles(views.frames, count)[None]
    starts = _STARTS[views.starts](views, count, np.random.RandomState(0))
    return _clips(starts, views, count)


def train_indices(views, count, random):
    """The frames of a training clip.

    TSM: one of each of `frames` equal segments; of fewer frames than that
    mmaction2's rule. Else a start from 0 to n - span, 0 if there is none.

    Returns:
      int [frames], each 0 to n - 1.
    """
    steps = np.arange(views.frames)
    if not views.interval:
        length = count // views.frames
        if length:
            return steps * length + random.randint(length, size=views.frames)
        return np.around(
            steps * (count / views.frames)).astype(int) % count
    if views.starts == "random":
        start = _random(views, count, random)
    else:
        start = random.randint(max(count - span(views), 0) + 1, size=1)
    return _clips(start, views, count)[0]


def _clips(starts, views, count):
    steps = np.arange(views.frames) * views.interval
    return (np.asarray(starts)[:, None] + steps) % count


def _middles(parts, count):
    """int(k n / parts + n / (2 parts)), in mmaction2's order of rounding."""
    length = count / parts
    return (np.arange(parts) * length + length / 2.0).astype(int)


def _wrap(views, count, _):
    """int(n / clips * k): no room is kept for the last clips' frames."""
    return (count / views.clips * np.arange(views.clips)).astype(int)


def _spread(views, count, _):
    return _middles(views.clips, max(count - span(views) + 1, 0))


def _ends(views, count, _):
    """The first clip at the first frame, the last one to the last frame."""
    room = max(count - (views.frames - 1) * views.interval - 1, 0)
    if views.clips == 1:
        return [room // 2]
    return np.round(
        np.arange(views.clips) * (room / (views.clips - 1))).astype(int)


def _random(views, count, random):
    """MindSpore's, also in a test: 0 to |n - (frames interval + 1)|."""
    return random.randint(
        abs(count - span(views) - 1) + 1, size=views.clips)


_STARTS = {"wrap": _wrap, "spread": _spread, "ends": _ends, "random": _random}
