"""By which known step two systems' clips of one video differ."""

import numpy as np

from nonlocal_tf.protocols import PROTOCOLS

_GAIN = 0.8         # a step counts if it leaves less of the difference
_STEP = 8           # of the pixels by which clips are told apart


def _normalisations():
    """Name -> mean and deviation, of what may have been done to 0 .. 255."""
    found = {"none": (0, 1), "x / 255": (0, 255), "x / 127.5 - 1": (127.5,) * 2}
    rows = {}
    for name, row in PROTOCOLS.items():
        rows.setdefault((row.mean, row.deviation), []).append(name)
    for (mean, deviation), names in rows.items():
        name = "by mean and deviation of " + ", ".join(names)
        found[name] = mean, deviation
        if mean != mean[::-1]:
            found[name + ", in the order blue, green, red"] = (
                mean[::-1], deviation[::-1])
    return found


def grey(*clips):
    """Normalisations that were undone, and the clips, float32 0 to 255.

    Those that give whole numbers within range, as frames have before they are
    normalised; else, of all within range, the two whose values are alike.
    """
    found = []
    for clip in clips:
        likely = []
        for name in _normalisations():
            grey = undone(clip, name)
            if -1 < grey.min() and grey.max() < 256 and np.ptp(grey) > 16:
                likely.append((name, grey))
        whole = [pair for pair in likely if np.abs(
            pair[1] - np.rint(pair[1])).mean() < 0.05]
        found.append(whole or likely or [
            ("none that is known", undone(clip, ""))])
    quantiles = [[np.percentile(grey, range(101)) for _, grey in each]
                 for each in found]
    _, i, j = min((np.abs(a - b).mean(), i, j) for i, a in enumerate(
        quantiles[0]) for j, b in enumerate(quantiles[1]))
    return [pair[0] for pair in (found[0][i], found[1][j])], [
        pair[1] for pair in (found[0][i], found[1][j])]


def undone(clip, name):
    """A clip before its normalisation, float32; of an unknown one as it is."""
    mean, deviation = _normalisations().get(name, (0, 1))
    return (np.asarray(clip, np.float64) * deviation + mean).astype(np.float32)


def alike(a, b):
    """Whether no grey level differs by more than arithmetic in float32."""
    return np.abs(a - b).max() < 0.01


def steps(a, b):
    """Lines that name what brings two clips near each other.

    Args:
      a, b: float32 [T, H, W, 3], 0 to 255, of one shape.
    """
    yield "mean difference {:.3g}, in grey levels".format(_difference(a, b))
    # A mirrored or shifted clip shows its other steps only when undone.
    _, mirrored, swapped, offset = min(
        (_difference(*_laid(a, _turned(b, mirrored, swapped), offset))
         / _GAIN ** (mirrored + swapped + (offset != (0, 0))),
         mirrored, swapped, offset)
        for mirrored in (0, 1) for swapped in (0, 1)
        for offset in _offsets(a, _turned(b, mirrored, 0)))
    b = _turned(b, mirrored, swapped)
    a, b = _laid(a, b, offset)
    named = ["channel order: one is red, green, blue, the other blue, green, "
             "red"] * swapped + ["flip: one is mirrored"] * mirrored
    if offset != (0, 0):
        named.append("crop{}: A begins {} right of B and {} below".format(
            " or size rule" if max(map(abs, offset)) <= 2 else "",
            offset[1], offset[0]))
    order = np.array([min(range(len(b)), key=lambda other: _difference(
        frame, b[other])) for frame in a])
    if _difference(a, b[order]) < _GAIN * _difference(a, b):
        named.append("frame index: A's 0 to {} are nearest to B's {}".format(
            len(a) - 1, " ".join(map(str, order))))
        b = b[order]
    yield from named
    yield "left{}: {:.3g}{}".format(
        " when that is undone" if named else "", _difference(a, b),
        _rest(a, b))


def _difference(a, b):
    return float(np.abs(a - b).mean())


def _turned(clip, mirrored, swapped):
    clip = clip[:, :, ::-1] if mirrored else clip
    return clip[..., ::-1] if swapped else clip


def _offsets(a, b):
    """(0, 0), and by how much the crops differ by phase correlation."""
    a, b = (np.fft.fft2((grey - grey.mean()) * np.outer(
        np.hanning(grey.shape[0]), np.hanning(grey.shape[1])))
        for grey in (clip.mean((0, 3)) for clip in (a, b)))
    power = np.conj(a) * b
    peak = np.fft.ifft2(power / (np.abs(power) + 1e-9)).real
    found = [(0, 0)]
    y, x = np.unravel_index(peak.argmax(), peak.shape)
    for dy in (int(y), int(y) - len(peak)):
        for dx in (int(x), int(x) - len(peak[0])):
            if abs(dy) < 0.7 * len(peak) and abs(dx) < 0.7 * len(peak[0]):
                found.append((dy, dx))
    return found


def _laid(a, b, offset):
    """What both show, if A's [0, 0] is B's [dy, dx]."""
    for axis, shift in zip((1, 2), offset):
        length = a.shape[axis] - abs(shift)
        a = np.take(a, np.arange(length) + max(-shift, 0), axis)
        b = np.take(b, np.arange(length) + max(shift, 0), axis)
    return a, b


def _rest(a, b):
    """What a difference looks like that no step explains."""
    if alike(a, b):
        return ""
    change = a - b
    if np.abs(change).max() > 1.6:
        return (": another interpolation, size or frame" if _difference(a, b)
                < 5 else ": other frames, or a step that is not known") + (
            "; --video FILE tells more")
    bias = change.mean()
    if np.abs(a - np.rint(a)).max() > 0.02 or (
            np.abs(b - np.rint(b)).max() > 0.02):
        return ": rounding of the resize, whole numbers against floats"
    return ": rounding of the resize" + (
        ", {} is cut to whole numbers".format("A" if bias < 0 else "B")
        if abs(bias) > 0.9 * np.abs(change).mean() else "")


def order(a, b):
    """For each of A's clips the nearest of B's, int [N].

    Args:
      a, b: [N, T, H, W, 3], normalised alike.
    """
    a, b = (np.asarray(clips[:, 0, ::_STEP, ::_STEP], np.float32)
            for clips in (a, b))
    return np.array([np.abs(b - clip).mean((1, 2, 3)).argmin() for clip in a])
