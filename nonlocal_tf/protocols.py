"""The known video systems as data: network, preprocessing, views, names.

Weights are right only together with how their inputs were made. Each system
is one row; sources of every number are in docs/video.md. No TensorFlow here.

  video-nonlocal-net  the authors' Caffe2 code
  mmaction2-0.x, -1.x OpenMMLab; the two differ in the views of a test
  paddle              PaddlePaddle/models, PaddleVideo's non-local model
  mindspore           mindvideo's nonlocal3d
"""

from typing import NamedTuple

from nonlocal_tf.architecture import PLACEMENTS
from nonlocal_tf.errors import UserError

VIDEO_NETWORKS = ("c2d", "i3d", "tsm")
CLASSES = 400           # of Kinetics, where nothing tells
FROZEN_GROUP = 4        # frames in which res3's blocks attend, norms frozen


class Views(NamedTuple):
    """What a test takes of a video.

    frames, interval: of a clip; interval 0: one frame of each of `frames`
    equal segments. clips: evenly in time, by `starts`, with span = frames *
    interval: "middle" of each segment; "wrap", int(n / clips * k); "spread",
    int(k a + a / 2) with a = (n - span + 1) / clips; "ends", round(k (n - span
    + interval - 1) / (clips - 1)); "random". crops: 1 centre; 3 along the
    longer side, "left middle right" or "left right middle"; 5 corners and
    centre; 10: each also flipped. outer: "crop" or "clip", whose views are
    together. short_side: to which frames are resized.
    """

    frames: int
    interval: int
    clips: int
    starts: str
    crops: int
    crop_size: int
    crop_order: str = ""
    outer: str = "crop"
    short_side: int = 256


class TrainCrop(NamedTuple):
    """How training cuts a square of the network's size.

    short_sides: least and largest that frames are resized to. scales: of a
    crop's sides to the short side, whose indices differ by `gap` at most, at
    one of 5 or 13 `places`; then resized. No scales: a crop of the right
    size at any place, or with `open_end` at any but the last.
    """

    short_sides: tuple = (256, 256)
    scales: tuple = ()
    gap: int = 1
    places: int = 5
    open_end: bool = False


class Trunk(NamedTuple):
    """A ResNet over clips: what differs between systems.

    stem_taps: frames of conv1's kernel. stem_stride, pool1_frames,
    pool1_stride: over time; pool1 is 3x3 with stride 2 in space, zero padded
    by `pool1_pad`. pool2: whether frame pairs are pooled after res2.
    inflated: whether chosen bottlenecks have a 3x1x1 first convolution.
    shift: 1 / shift of the channels come from the next frame and as many from
    the one before, in every bottleneck; 0: none. head_frames: dropout and
    classifier for each frame, then their mean. places: larger images have a
    softmax at each place. zero_residual: whether a branch's last gamma starts
    at 0. block: arguments of `NonLocalBlock`. five: placement of five blocks
    in ResNet-50.
    """

    views: Views
    stem_taps: int
    stem_stride: int = 1
    pool1_frames: int = 1
    pool1_stride: int = 1
    pool1_pad: int = 0
    pool2: bool = True
    inflated: bool = False
    shift: int = 0
    head_frames: bool = False
    places: bool = False
    zero_residual: bool = False
    block: dict = {}
    five: dict = PLACEMENTS[50, 5]
    train_crop: TrainCrop = TrainCrop()


class Protocol(NamedTuple):
    """A system.

    mean, deviation: of red, green, blue, 0 to 255. size_rule,
    interpolation: of resizing; "truncate": float32 ratio, both sides cut;
    "even": rounded, half to even; "half_up": int(side * ratio + 0.5).
    dropout: of features before the classifier. inference_factor: of those
    features outside training. class_names: of the published weights.
    halving: (frames, interval) of the networks that halve time in conv1 and
    in pool1.
    """

    networks: dict
    mean: tuple
    deviation: tuple
    size_rule: str
    interpolation: str = "linear"
    dropout: float = 0.5
    inference_factor: float = 1.0
    class_names: str = "kinetics400"
    halving: tuple = ()


_THREE = (3, 256, "left middle right")
_C2_VIEWS = Views(8, 8, 10, "wrap", *_THREE)
_PADDLE_VIEWS = _C2_VIEWS._replace(outer="clip")
# 1/sqrt(K) in the softmax forms alone, as the systems have it.
_C2_BLOCK = {"sub_sample": True, "pool_first": True, "scale": True}
_MM_BLOCK = {"sub_sample": True, "out_bias": False}
_C2D = dict(stem_taps=1, places=True, block=_C2_BLOCK, zero_residual=True,
            train_crop=TrainCrop((256, 320)))
_I3D = dict(_C2D, stem_taps=5, inflated=True)
# NumPy's randint leaves the upper end out, of sides as of places.
_PADDLE_CROP = dict(train_crop=TrainCrop((256, 319), open_end=True))
_MM_SCALES = (1, 0.875, 0.75, 0.66)
_MM_I3D = dict(stem_taps=5, stem_stride=2, pool1_stride=2, pool1_pad=1,
               inflated=True, block=_MM_BLOCK,
               train_crop=TrainCrop(scales=(1, 0.8), gap=0))
_MM_TSM = dict(stem_taps=1, pool1_pad=1, pool2=False, shift=8,
               head_frames=True, block=_MM_BLOCK,
               five={"res3": (0, 2), "res4": (0, 2, 4)},
               train_crop=TrainCrop(scales=_MM_SCALES, places=13))
_MM_COLOURS = dict(mean=(123.675, 116.28, 103.53),
                   deviation=(58.395, 57.12, 57.375), size_rule="half_up")
_MM_THREE = (3, 256, "left right middle")

PROTOCOLS = {
    "video-nonlocal-net": Protocol(
        {"c2d": Trunk(_C2_VIEWS, **_C2D), "i3d": Trunk(_C2_VIEWS, **_I3D)},
        (114.75,) * 3, (57.375,) * 3, "truncate",
        halving=((32, 2), (128, 1))),
    "mmaction2-1.x": Protocol(
        # Of 8x8 clips; its 16x4 ones are tested at 256 pixels.
        {"c2d": Trunk(Views(8, 8, 10, "ends", 3, 224, "left right middle",
                            short_side=224), stem_taps=1,
                      block=_MM_BLOCK,
                      train_crop=TrainCrop(scales=_MM_SCALES)),
         "i3d": Trunk(Views(32, 2, 10, "ends", *_MM_THREE), **_MM_I3D),
         "tsm": Trunk(Views(8, 0, 1, "middle", 10, 224), **_MM_TSM)},
        **_MM_COLOURS),
    "mmaction2-0.x": Protocol(
        {"i3d": Trunk(Views(32, 2, 10, "spread", *_MM_THREE), **_MM_I3D),
         "tsm": Trunk(Views(8, 0, 1, "middle", 1, 224), **_MM_TSM)},
        **_MM_COLOURS),
    "paddle": Protocol(
        {"c2d": Trunk(_PADDLE_VIEWS, **dict(_C2D, **_PADDLE_CROP)),
         "i3d": Trunk(_PADDLE_VIEWS, **dict(_I3D, **_PADDLE_CROP))},
        (114.75,) * 3, (57.375,) * 3, "even", inference_factor=0.5),
    "mindspore": Protocol(
        {"i3d": Trunk(Views(32, 6, 1, "random", 1, 224), stem_taps=5,
                      pool1_pad=1, inflated=True,
                      block=dict(_MM_BLOCK, zero_start=None))},
        tuple(255 * value for value in (0.485, 0.456, 0.406)),
        # Blue is 0.255 in its code, not 0.225.
        tuple(255 * value for value in (0.229, 0.224, 0.255)), "half_up",
        interpolation="cubic"),
}

# Where no protocol is named.
DEFAULT_PROTOCOL = {"c2d": "video-nonlocal-net", "i3d": "video-nonlocal-net",
                    "tsm": "mmaction2-1.x"}


def sampling(config, protocol=""):
    """A network's `Trunk` with the views and crops of a `TrainConfig`.

    Published sizes go with 224 pixels; another --image_size changes all in
    proportion, rounded half up. Frames from equal segments are one clip; of a
    network whose row has such, clips at an interval are ten from end to end.

    Args:
      config: of a network of clips.
      protocol: in place of the config's.
    """
    found = trunk(protocol or config.protocol, config.network, config.frames,
                  config.frame_interval)

    def sized(side):
        return int(side * config.image_size / 224 + 0.5)

    views = found.views._replace(
        frames=config.frames, interval=config.frame_interval,
        crop_size=sized(found.views.crop_size),
        short_side=sized(found.views.short_side))
    if not views.interval:
        views = views._replace(starts="middle", clips=1)
    elif views.starts == "middle":
        views = views._replace(starts="ends", clips=10)
    return found._replace(views=views, train_crop=found.train_crop._replace(
        short_sides=tuple(map(sized, found.train_crop.short_sides))))


def one_view(row, side):
    """Middle clip and centre of `sampling`, for tests while it trains."""
    return row.views._replace(
        clips=1, starts="ends" if row.views.interval else "middle", crops=1,
        crop_size=side, short_side=row.train_crop.short_sides[0])


def has_out_bias(config):
    """Whether the blocks' last convolution has a bias; without a norm it has.

    Args:
      config: a `TrainConfig` of a network of clips.
    """
    block = PROTOCOLS[config.protocol].networks[config.network].block
    return block.get("out_bias", True) or config.block_norm == "none"


def steps(row, frames):
    """Frames of res3's maps, of clips of `frames`."""
    frames = -(-frames // row.stem_stride)
    frames = frames // row.pool1_frames if row.pool1_frames > 1 else (
        -(-frames // row.pool1_stride))
    return frames // 2 if row.pool2 else frames


def side(row, image_size):
    """Rows and columns of res5's maps: 7 of 224."""
    found = (-(-image_size // 2) + 2 * row.pool1_pad - 3) // 2 + 1
    return -(-found // 8)


def trunk(protocol, network, frames=0, interval=0):
    """The `Trunk` of a network in a system.

    Args:
      protocol: a key of `PROTOCOLS`.
      network: one of `VIDEO_NETWORKS`.
      frames, interval: of a clip; 0: those of the row.
    Raises:
      UserError: the system has no such network.
    """
    row = PROTOCOLS[protocol]
    if network not in row.networks:
        raise UserError(
            "--network of --protocol {} must be {}; got {}, which is of {}."
            .format(
                protocol, " or ".join(row.networks), network, ", ".join(
                    name for name, other in PROTOCOLS.items()
                    if network in other.networks)))
    found = row.networks[network]
    if (frames, interval) in row.halving:
        found = found._replace(stem_stride=2, pool1_frames=2, pool1_stride=2)
    return found
