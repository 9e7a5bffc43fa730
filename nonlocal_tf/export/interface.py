"""What a frozen graph takes and gives: names, shapes, layouts, batches."""

import functools
import operator
from typing import NamedTuple, Optional

from nonlocal_tf import storage
from nonlocal_tf.architecture import DIGIT_SIZE
from nonlocal_tf.errors import UserError

NOTE = ".json"                  # ending of the note beside a frozen file
MANIFEST = "manifest.json"      # beside the folder of .bin files
FRAMEWORKS = {"pb": 3, "onnx": 5}       # of atc, by the file's format
OPSET = 11                      # of an ONNX file, as Ascend's guide has it
PROBABILITIES = "probabilities"
# Layouts of the digits' networks: [B, S, S, 1], padded beforehand, and
# [B, side * side], padded in the graph.
DIGITS = ("image", "flat")
# Of clips [B, T, H, W, C]: the axes in their order. NTCHW is that of Ascend's
# guide for TSM.
CLIPS = {"NTHWC": (0, 1, 2, 3, 4), "NTCHW": (0, 1, 4, 2, 3),
         "NCTHW": (0, 4, 1, 2, 3)}
VALUES = {"normalised": "float32", "uint8": "uint8"}    # of clips


class Interface(NamedTuple):
    """The input of a frozen graph, and its first output.

    name, shape, dtype: of the placeholder; its first size is None where the
    batch is open. layout: one of `DIGITS` or of `CLIPS`. output: "output",
    int32 [B], the class; or "class", float32 [B, classes], a score for each.
    plan: of clips the `answers.Plan`, of whose views each answer is the mean.
    """

    name: str
    shape: list
    dtype: str
    layout: str
    output: str
    plan: Optional[NamedTuple] = None

    @property
    def views(self):
        """Inputs of an answer."""
        return self.plan.count if self.plan else 1

    @property
    def unit(self):
        """What an answer is of, in the plural."""
        return "videos" if self.plan else "images"

    def bytes(self):
        """Of a .bin file, where no size is open."""
        return bin_bytes(self.shape, 1 if self.dtype == "uint8" else 4)

    def __str__(self):
        return "{} [{}]".format(self.dtype, ", ".join(
            "B" if size is None else str(size) for size in self.shape))


def add_flags(parser):
    """The flags of how the input is laid out."""
    parser.add_argument(
        "--input_layout", choices=DIGITS + tuple(CLIPS), default="",
        type=_layout, help="image: [B, S, S, 1] in 0..1, padded beforehand; "
        "flat: [B, 784] (of 28x28) in 0..1, padded in the graph; of clips the "
        "order of batch, time, channels, rows, columns (default: image, or "
        "NTHWC)")
    parser.add_argument(
        "--input", choices=tuple(VALUES), default="", help="of clips: float32, "
        "normalised beforehand; or uint8, which the graph normalises (default: "
        "normalised)")
    parser.add_argument(
        "--views", default="", metavar="CLIPSxCROPS", help="of a video, all "
        "in the batch, whose mean is the answer: 10x3, or protocol, as python "
        "-m nonlocal_tf.evaluate takes them (default: 1x1)")


def _layout(text):
    """NTCHW in either case; image and flat in small letters."""
    return text.lower() if text.lower() in DIGITS else text.upper()


def of(config, batch_size, layout="", values="", views=""):
    """The `Interface` of a network.

    Args:
      config: its `TrainConfig`.
      batch_size: answers of a run; None leaves them open.
      layout: "": the first one that the network can have.
      values: "normalised" or "uint8", which the graph normalises; "": the
        first. The digits' networks take what `prepared` makes.
      views: of a video, "CLIPSxCROPS"; "protocol": all that `evaluate` takes;
        "": "1x1".
    Raises:
      UserError: the network has no such input.
    """
    if config.network == "digits":
        if (layout or DIGITS[0]) not in DIGITS or values or views:
            raise UserError(
                "The digits' network has --input_layout {}, and neither "
                "--input nor --views; got {}.".format(" or ".join(DIGITS), (
                    "--input_layout {}".format(layout) if layout else
                    "--input " + values if values else "--views " + views)))
        side, pixels = config.digit_size or DIGIT_SIZE, config.image_size
        return Interface(
            "input", [batch_size, side * side] if layout == "flat" else
            [batch_size, pixels, pixels, 1], "float32", layout or DIGITS[0],
            "output")
    layout = layout or next(iter(CLIPS))
    if layout not in CLIPS or batch_size is None:
        raise UserError(
            "A network of clips is frozen with --batchsize 1 or more and "
            "--input_layout {}; got {} and {}.".format(
                ", ".join(CLIPS), batch_size or 0, layout))
    from nonlocal_tf import answers
    plan = answers.plan(config, views="" if views == "protocol"
                        else views or "1x1")
    clips = [batch_size * plan.count, config.frames, plan.views.crop_size,
             plan.views.crop_size, 3]
    return Interface(
        "video", [clips[axis] for axis in CLIPS[layout]],
        VALUES[values or "normalised"], layout, "class", plan)


def check_same(path, sha256):
    """Refuses a file that is another than its note is of."""
    if storage.sha256(path) != sha256:
        raise UserError("{!r} is another file than {!r} tells of. Bring both "
                        "from one freeze_pb.py.".format(path, path + NOTE))


def bin_bytes(shape, each=4):
    """Bytes of a .bin file of a shape; of a value: float32's."""
    return functools.reduce(operator.mul, shape, each)


def prepared(batch, interface):
    """A uint8 batch of the task as the placeholder wants it.

    Args:
      batch: digits [N, side, side, 1]; or clips [N, T, H, W, 3].
      interface: an `Interface`.
    """
    import numpy as np
    if not interface.plan:
        return digits(batch, interface.shape[1], interface.layout)
    axes = CLIPS[interface.layout]
    found = np.empty([batch.shape[axis] for axis in axes], interface.dtype)
    for place, clip in zip(found, batch):
        if interface.dtype == "float32":
            clip = normalised(clip, interface.plan.protocol)
        place[:] = clip.transpose([axis - 1 for axis in axes[1:]])
    return found


def digits(images, image_size, layout):
    """Digits in 0..1.

    Args:
      images: uint8 [N, side, side, 1].
      image_size: S.
      layout: "image" or "flat".
    Returns:
      float32, C-contiguous: [N, S, S, 1], zeros around, an odd rest at the
      bottom and at the right; or [N, side * side].
    """
    import numpy as np
    scaled = images.astype(np.float32) / np.float32(255)
    if layout == "flat":
        return scaled.reshape(len(images), -1)
    rest = image_size - images.shape[1]
    sides = (rest // 2, rest - rest // 2)
    return np.pad(scaled, ((0, 0), sides, sides, (0, 0)), mode="constant")


def normalised(clip, protocol):
    """A uint8 clip as OpenMMLab's code has it, bit for bit.

    mmcv.imnormalize subtracts in float32 and multiplies by 1 / deviation in
    float64; others differ from it by a rounding.
    """
    import numpy as np
    less = clip.astype(np.float32) - np.float32(protocol.mean)
    return (less * (1 / np.float64(np.float32(protocol.deviation)))).astype(
        np.float32)
