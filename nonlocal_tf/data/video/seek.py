"""Which frames, size and crop of a video a clip was made of."""

from typing import NamedTuple

import numpy as np

from nonlocal_tf.data.video import decode
from nonlocal_tf.data.video.crops import test_crops
from nonlocal_tf.data.video.indices import test_indices
from nonlocal_tf.data.video.opencv import opencv
from nonlocal_tf.data.video.resize import resized_size
from nonlocal_tf.protocols import PROTOCOLS, Views

_STEP = 5                               # of the pixels that are compared


class Source(NamedTuple):
    """Where a clip comes from; texts to compare and to show.

    left: mean difference that remains, in grey levels.
    """

    size: str
    interpolation: str
    channels: str
    crop: str
    frames: str
    left: float


def seek(path, clip):
    """The `Source` of a clip among those that the known systems may use.

    The first frame decides on size, interpolation, crop and order of the
    channels, over all frames of the video; it is decoded twice.

    Args:
      path: of the video.
      clip: float32 [T, S, S, 3], 0 to 255.
    Raises:
      UserError: see `decode.inspect`.
    """
    video = decode.inspect(path)
    ways = list(_ways(video, clip.shape[1]))
    # Where two ways do the same, or nearly, the first is taken.
    best = (np.inf,)
    for frame in decode.each(path, range(video.count), video):
        for way in ways:
            for crop, cut in _cuts(frame, way, clip.shape[1]):
                for channels in (slice(None), slice(None, None, -1)):
                    left = _difference(cut[..., channels], clip[0])
                    if left < best[0] - 1e-4:
                        best = left, way, crop, channels
    _, way, crop, channels = best
    found = np.full([len(clip), video.count], np.inf)
    for number, frame in enumerate(decode.each(
            path, range(video.count), video)):
        cut = dict(_cuts(frame, way, clip.shape[1], crop))[crop]
        for place, own in enumerate(clip):
            found[place, number] = _difference(cut[..., channels], own)
    frames, rules = _rules(found)
    width, height, interpolation = way
    return Source(
        "{} x {}".format(width, height), interpolation,
        "red, green, blue" if channels.step is None else "blue, green, red",
        "at {}, {}{}".format(*crop[:2], " mirrored" * crop[2]),
        " ".join(map(str, frames)) + rules,
        float(found.min(1).mean()))


def _ways(video, side):
    """(width, height, interpolation) that systems may give to frames."""
    for short in (side, int(side * 256 / 224 + 0.5)):
        sizes = sorted({resized_size(video.width, video.height, short, rule)
                        for rule in ("truncate", "even", "half_up")})
        for width, height in sizes:
            for interpolation in _INTERPOLATIONS:
                yield width, height, interpolation


_INTERPOLATIONS = {
    "linear": lambda cv2, *of: cv2.resize(*of, interpolation=cv2.INTER_LINEAR),
    "linear, not rounded": lambda cv2, image, size: cv2.resize(
        image.astype(np.float32), size, interpolation=cv2.INTER_LINEAR),
    "linear, cut to whole numbers": lambda cv2, image, size: np.floor(
        cv2.resize(image.astype(np.float32), size,
                   interpolation=cv2.INTER_LINEAR)),
    "cubic": lambda cv2, *of: cv2.resize(*of, interpolation=cv2.INTER_CUBIC),
    "area": lambda cv2, *of: cv2.resize(*of, interpolation=cv2.INTER_AREA),
}


def _cuts(frame, way, side, only=None):
    """Pairs of a crop (x, y, mirrored) and what it shows of a frame."""
    width, height, interpolation = way
    image = _INTERPOLATIONS[interpolation](opencv(), frame, (width, height))
    crops = [only] if only else sorted({
        (x, y, mirrored) for count in (1, 3, 10) for mirrored in (False, True)
        for x, y, _ in test_crops(Views(
            1, 1, 1, "", count, side, "left middle right"), width, height)})
    for x, y, mirrored in crops:
        cut = image[y:y + side, x:x + side]
        yield (x, y, mirrored), cut[:, ::-1] if mirrored else cut


def _difference(a, b):
    return float(np.abs(a[::_STEP, ::_STEP].astype(np.float32)
                        - b[::_STEP, ::_STEP]).mean())


def _rules(found):
    """The frames that fit best, and whose test takes them, in words.

    Of frames that are alike, as some videos have them, a rule's are taken.
    """
    taken, names = found.argmin(1), []
    length, count = found.shape
    for name, row in PROTOCOLS.items():
        for network, trunk in row.networks.items():
            clips = test_indices(trunk.views._replace(frames=length), count)
            for number, clip in enumerate(clips, 1):
                if (found[range(length), clip] <= found.min(1) + 1e-3).all():
                    taken = clip if not names else taken
                    names.append("{} {} clip {} of {}".format(
                        name, network, number, len(clips)))
    return taken, " ({})".format("; ".join(names)) if names else ""
