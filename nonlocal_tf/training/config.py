"""Every setting of a training run, with its flag, unit and default."""

import dataclasses
import math
import os
import re

from nonlocal_tf.architecture import (
    BLOCKS,
    DEPTHS,
    INSTANTIATIONS,
    format_placement,
    parse_placement,
)
from nonlocal_tf.data.datasets import DATASETS
from nonlocal_tf.errors import bad
from nonlocal_tf.platforms import machine, npu_options
from nonlocal_tf.protocols import PROTOCOLS, VIDEO_NETWORKS, trunk
from nonlocal_tf.recipes import RECIPES, recipe
from nonlocal_tf.secrets import masked
from nonlocal_tf.storage import is_remote
from nonlocal_tf.training import defaults

NPU = "for --platform npu"              # heads these flags in --help
CLOUD = "where it runs"
VIDEO = "for --network {}".format(", ".join(VIDEO_NETWORKS))
SPEED = "speed and memory"
PRECISIONS = ("float32", "bfloat16", "mixed_float16")


def _setting(default, text, aliases=(), choices=None, fixed=False, group=""):
    """A field with its help; `fixed`: a resumed run must have the same."""
    return dataclasses.field(default=default, metadata={
        "help": text, "aliases": aliases, "choices": choices, "fixed": fixed,
        "group": group})


def _speed(default, text, choices=None, fixed=False):
    return _setting(default, text, choices=choices, fixed=fixed, group=SPEED)


def _video(default, text, choices=None, fixed=True):
    return _setting(default, text, choices=choices, fixed=fixed, group=VIDEO)


def _npu(default, text, choices=None, fixed=False):
    """A setting that the GPU platform does not read."""
    return _setting(default, text, choices=choices, fixed=fixed, group=NPU)


# Setting, least, most: far beyond what a machine can train.
_RANGES = (
    ("epoch", 1, 1000000), ("batch_size", 1, 1000000),
    ("image_size", 28, 4096), ("base_width", 1, 1024),
    ("max_steps", 0, 10 ** 12), ("log_steps", 1, 10 ** 9),
    ("seed", 0, 2 ** 32 - 1), ("affinity_mb", -1, 10 ** 7),
    ("threads", 0, 1024), ("num_gpus", 0, 64), ("frames", 1, 1024),
    ("classes", 2, 100000), ("frame_interval", 0, 1024),
    ("digit_size", 1, 4096), ("warmup_epochs", 0, 10 ** 6),
    ("weight_decay", 0, 1), ("clip_norm", 0, 10 ** 9),
    ("label_smoothing", 0, 0.99), ("dropout", 0, 0.99), ("workers", 0, 256),
)


# Settings that each process may have for itself.
_OWN = {"data_url", "test_url", "train_url", "video_root", "class_names",
        "init", "mirror", "resume", "checkpoint_seconds", "log_steps",
        "num_gpus", "threads", "workers", "cache_dir", "affinity_mb"}
# By device; on an NPU, which compiles no loops here, never.
_AFFINITY_MB = {"CPU": 256, "GPU": 2048}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of `train`; each is a flag of the same name.

    Raises:
      UserError: a value is out of its range, on construction.
    """

    data_url: str = _setting(
        "", "folder with the four IDX files, plain or .gz; missing ones are "
        "downloaded there (default: ./dataset, or ./dataset/NAME for another "
        "--dataset than mnist); train_modelarts.py takes obs://BUCKET/FOLDER "
        "too; or with train/CLASS/*.png and test/CLASS/*.png. Of clips a list "
        "of videos: see docs/video.md", ("data_path",))
    train_url: str = _setting(
        "./output", "folder for checkpoints, metrics and TensorBoard events; "
        "train_modelarts.py takes obs://BUCKET/FOLDER too")
    dataset: str = _setting(
        "mnist", "data set; digits is scikit-learn's, without a download, and "
        "moving_digits videos of them, for networks of clips",
        choices=tuple(DATASETS) + ("moving_digits",))
    mirror: str = _setting(
        "", "base URLs, with commas between, to try first for a download")
    network: str = _setting(
        "digits", "digits: pre-activation ResNet of images; c2d, i3d, tsm: "
        "ResNets of clips", choices=("digits",) + VIDEO_NETWORKS, fixed=True)
    init: str = _setting(
        "", "a checkpoint, or the folder of a run or of converted weights, "
        "from which to take the first weights; a classifier of other classes, "
        "and blocks that it lacks, begin anew")
    recipe: str = _setting(
        None, "the system as which clips are trained: what --epoch, "
        "--batchsize and the settings below are by themselves (default: that "
        "of --protocol)",
        choices=tuple(RECIPES))
    epoch: int = _setting(
        None, "passes over the training images (default: 20; of clips as "
        "--recipe)", ("epochs",))
    batch_size: int = _setting(
        None, "images or clips a step (default: 128; of clips as --recipe)",
        ("batchsize",), fixed=True)
    image_size: int = _setting(
        224, "rows and columns, in pixels, to which images are padded with "
        "zeros, not resized; at least 28 and theirs", fixed=True)
    digit_size: int = _setting(
        None, "rows and columns of the images in the files (default: theirs)",
        fixed=True)
    resnet_size: int = _setting(
        50, "layers of the ResNet", choices=tuple(sorted(DEPTHS)), fixed=True)
    base_width: int = _setting(
        64, "channels of the 3x3 convolutions of res2, doubled with each "
        "stage; fewer make a thin network for a trial", fixed=True)
    non_local: str = _setting(
        None, "non-local blocks: 0, 1, 5 or 10, or a placement such as "
        "'res3:0,2;res4:1' (after these bottlenecks, from 0) (default: 10; of "
        "clips 5)", fixed=True)
    instantiation: str = _setting(
        "embedded_gaussian", "pairwise function of the blocks",
        choices=INSTANTIATIONS, fixed=True)
    classes: int = _setting(
        None, "that are told apart (default: as many as the labels have; of "
        "clips 400)", fixed=True)
    inner_ratio: float = _setting(
        0.5, "width inside a block over that of its input; above 0, up to 1",
        fixed=True)
    sub_sample: bool = _setting(
        None, "max-pool the keys and values of the blocks (default: false; of "
        "clips as --protocol has it)", fixed=True)
    block: str = _setting(
        None, "what keeps the blocks attending: batch norm before "
        "theta, phi and g, and cosines in place of products as scores; one "
        "alone; or, as the paper has it, neither (default: pre_norm_cosine; of "
        "clips paper)", choices=tuple(BLOCKS), fixed=True)
    scale: bool = _setting(
        None, "multiply the pairwise scores by 1/sqrt(width); not with "
        "cosines (default: false; of clips as --protocol has it)", fixed=True)
    augment: bool = _setting(
        False, "shift, turn, scale and bend each training image a little, "
        "anew in each epoch", fixed=True)
    optimizer: str = _setting(
        None, "sgd has a momentum of 0.9 (default: adam; of clips sgd)",
        choices=("adam", "sgd"), fixed=True)
    learning_rate: float = _setting(
        None, "the highest one (default: 1e-4 of adam; of sgd 0.01, of clips "
        "as --recipe, in proportion to --batchsize)")
    lr_schedule: str = _setting(
        None, "over --epoch epochs; cosine: down to 0; step: a tenth after "
        "each of --lr_steps (default: constant; of clips as --recipe)",
        choices=("constant", "cosine", "step"))
    lr_steps: str = _setting(
        None, "shares of the run, such as 0.4,0.8 (default: as --recipe)")
    warmup_epochs: float = _setting(
        None, "in which the rate rises from a tenth (default: 0; of clips as "
        "--recipe)")
    weight_decay: float = _setting(
        None, "added to gradients, times the weight; what it leaves out: "
        "docs/video.md (default: 0; of clips 1e-4)")
    clip_norm: float = _setting(
        None, "largest norm of all gradients together; 0: any (default: 0; of "
        "clips as --recipe)")
    label_smoothing: float = _setting(
        0.0, "share of a label that all classes have in equal parts")
    seed: int = _setting(
        0, "of the first weights and of the order of images; 0 to 4294967295",
        fixed=True)
    max_steps: int = _setting(
        0, "stop after this many steps in all; 0: after --epoch epochs")
    resume: bool = _setting(
        True, "go on from the newest checkpoint in --train_url")
    checkpoint_seconds: float = _setting(
        600.0, "seconds between checkpoints, besides one after each epoch")
    log_steps: int = _setting(
        10, "steps between records in metrics.jsonl and TensorBoard")
    num_gpus: int = _setting(
        1, "processes on this machine that train together, one a GPU, each "
        "with --batchsize images a step; without a GPU, on the CPU; across "
        "hosts by TF_CONFIG: docs/many-gpus.md")
    sync_batch_norm: bool = _setting(
        False, "batch norm over the images of all processes: N of them then "
        "train as one with N times the --batchsize")
    precision: str = _speed(
        "float32", "in which layers compute; variables, softmax, batch norm's "
        "statistics and the loss are float32. bfloat16: newer CPUs and GPUs; "
        "mixed_float16: GPUs, with a loss scale that adapts",
        choices=PRECISIONS, fixed=True)
    micro_batch: str = _speed(
        "auto", "images that are in memory at a time, a divisor of "
        "--batchsize; gradients are means over these parts, as over the whole "
        "batch, but batch norm sees each by itself. auto: the most that fits")
    gradient_precision: str = _speed(
        "float32", "in which gradients travel between processes, and are added",
        choices=("float32", "bfloat16"))
    affinity_mb: int = _speed(
        -1, "MiB of pairwise affinities [B, N, M] of one block, beyond which "
        "they are computed for some queries at a time; 0: never do that "
        "(default: 256 on a CPU, 2048 on a GPU)")
    plain: bool = _speed(
        False, "without this package's fast paths, which compute the same: "
        "joint convolutions, filters' gradients as matrix products, "
        "affinities in parts")
    threads: int = _speed(
        0, "of the CPU; 0: as many cores as there are, or a container grants")
    platform: str = _setting(
        "gpu", "npu: Ascend, by its TensorFlow adapter; gpu: a GPU where there "
        "is one, else the CPU", choices=("gpu", "npu"), group=CLOUD)
    cache_dir: str = _setting(
        "", "local folder for copies of what is remote (default: /cache where "
        "it can be written, else ./cache)", group=CLOUD)
    protocol: str = _video(
        None, "the system whose network, preprocessing and views these are; "
        "see docs/video.md (default: video-nonlocal-net; of tsm "
        "mmaction2-1.x)", choices=tuple(PROTOCOLS))
    frames: int = _video(
        None, "of a clip (default: as --protocol has it)")
    frame_interval: int = _video(
        None, "frames of the video from one of a clip to the next; 0: from "
        "equal segments (default: as --protocol has it)")
    frozen_norm: bool = _video(
        False, "norms are scales and shifts that do not learn, and res3's "
        "blocks attend within four frames: the authors' long clips")
    block_norm: str = _video(
        None, "of the blocks, after their last convolution (default: batch; "
        "none with --frozen_norm)", choices=("batch", "affine", "none"))
    test_url: str = _video(
        "", "list of test videos, in a format of --data_url's", fixed=False)
    video_root: str = _video(
        "", "folder that paths in lists are relative to (default: that of the "
        "list)", fixed=False)
    class_names: str = _video(
        "", "kinetics400, ucf101, or a file with a name a line: the classes "
        "in their order (default: by the list)", fixed=False)
    label_start: int = _video(
        None, "from which numbers in the lists count (default: found out, and "
        "said)", choices=(0, 1), fixed=False)
    flip: bool = _video(
        None, "mirror half of the training clips; false where left and right "
        "differ (default: true; of moving_digits false)")
    dropout: float = _video(
        None, "share of the features before the classifier (default: as "
        "--protocol has it)", fixed=False)
    workers: int = _video(
        0, "threads that decode; 0: as many as --threads", fixed=False)
    precision_mode: str = _npu(
        "allow_mix_precision", "how float32 operations may be computed",
        choices=npu_options.PRECISION_MODES)
    loss_scale: str = _npu(
        "none", "guards small gradients of fp16: multiplies the loss by this "
        "number of 1 or more, or, as dynamic, by one that adapts", fixed=True)
    npu_option: tuple = _npu(
        (), "KEY=VALUE, an option of the adapter, such as deterministic=1; may "
        "be repeated")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            choices = field.metadata["choices"]
            value = getattr(self, field.name)
            if choices and value not in choices and value != field.default:
                raise bad(field.name, "one of {}".format(
                    ", ".join(map(str, choices))), value)
        for name, value in defaults.of(self).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise bad(name, "{} to {}".format(least, most), value)
        for name in ("train_url", "data_url", "test_url", "video_root", "init",
                     "class_names", "cache_dir"):
            self._check_place(name)
        if self.image_size < (self.digit_size or 0):
            raise bad("image_size", "at least {0}, as the images in the files "
                       "are {0}x{0}".format(self.digit_size), self.image_size)
        if not 0 < self.inner_ratio <= 1:
            raise bad("inner_ratio", "above 0 and at most 1",
                       self.inner_ratio)
        for name in ("learning_rate", "checkpoint_seconds"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise bad(name, "a finite number above 0", value)
        self.placement()
        defaults.check(self)
        if self.scale and BLOCKS[self.block].get("cosine") and (
                self.instantiation != "concatenation"):
            raise bad("scale", "left out where --block has cosines (give "
                       "--block paper or pre_norm)", self.scale)
        if not re.match(r"^(none|dynamic|[1-9][0-9]{0,12}(\.[0-9]+)?)$",
                        self.loss_scale):
            raise bad("loss_scale", "none, dynamic, or a number from 1 such "
                       "as 1024", self.loss_scale)
        self._check_micro_batch()
        if self.platform == "npu":
            self._check_for_npu()
        object.__setattr__(self, "npu_option", tuple(self.npu_option))

    def _check_micro_batch(self):
        text = str(self.micro_batch)
        if text == "auto":
            return
        if not (re.match(r"^[0-9]{1,7}$", text) and int(text)
                and self.batch_size % int(text) == 0):
            raise bad(
                "micro_batch", "auto, or a divisor of --batchsize {}, such as "
                "{}".format(self.batch_size, ", ".join(
                    map(str, divisors(self.batch_size)[:6]))), repr(text))

    def _check_for_npu(self):
        """What only --platform gpu can do."""
        if self.precision != "float32":
            raise bad("precision", "float32 on an NPU, whose own choice is "
                       "--precision_mode", self.precision)
        for name in ("threads", "sync_batch_norm", "affinity_mb"):
            if getattr(self, name) > 0:
                raise bad(name, "left out on an NPU", getattr(self, name))
        if self.num_gpus > 1:
            raise bad("num_gpus", "1 on an NPU, where one process a card is "
                      "started from outside", self.num_gpus)
        if self.gradient_precision != "float32":
            raise bad("gradient_precision", "float32 on an NPU, whose adapter "
                      "adds gradients up", self.gradient_precision)
        if self.loss_scale != "none" and self.part_size() not in (
                None, self.batch_size):
            raise bad("micro_batch", "auto or --batchsize with --loss_scale, "
                       "which sees an overflow of the last part alone",
                       self.micro_batch)

    def _check_place(self, name):
        """A URL is one; TensorFlow reads some signs in a path as a pattern.

        pathlib makes "obs:/" of "obs://". Keys before an "@" would be printed.
        """
        value = getattr(self, name)
        local = name in ("class_names", "cache_dir")
        if ("://" in value or re.match(r"(?i)(obs|s3):", value)) and (
                local or not re.match(r"(obs|s3)://[^/:@]+(/|$)", value)):
            raise bad(name, "local" if local else "a local folder, or "
                       "obs://BUCKET/FOLDER or s3://BUCKET/FOLDER",
                       repr(re.sub(r"(?s):.*@", ":***@", value)))
        if name == "train_url" and (not value or set("[]*?\\\n") & set(value)):
            raise bad(name, "a folder's name without [ ] * ? \\",
                       repr(value))

    def part_size(self):
        """Images in memory at a time; None while that is to be chosen."""
        return None if self.micro_batch == "auto" else int(self.micro_batch)

    def affinity_limit(self, device="CPU"):
        """Bytes; see `NonLocalBlock`. None where it is never split."""
        mib = self.affinity_mb if self.affinity_mb >= 0 else (
            _AFFINITY_MB.get(device, 0))
        return None if self.plain or not mib else mib * 2 ** 20

    def mirrors(self):
        """Base URLs to try first for a download."""
        return [url.strip() for url in self.mirror.split(",") if url.strip()]

    def placement(self):
        """Stage -> the bottlenecks that a non-local block follows."""
        if self.network != "digits" and self.non_local == "5" and (
                self.resnet_size == 50):
            return trunk(self.protocol, self.network).five
        return parse_placement(self.non_local, self.resnet_size)

    def training(self):
        """The `Recipe`, of which flags may have chosen otherwise."""
        return recipe(self.recipe, self.protocol, self.network)

    def decoders(self):
        """Threads that decode videos."""
        return self.workers or self.threads or machine.cores()

    def lr_shares(self):
        """--lr_steps as a list of numbers."""
        return [float(share) for share in self.lr_steps.split(",") if share]

    def data_folder(self):
        """Where the IDX files are, or go."""
        if self.data_url:
            return self.data_url
        return "./dataset" if self.dataset == "mnist" else (
            "./dataset/" + self.dataset)

    def cache_folder(self):
        """Where copies of remote files go."""
        if self.cache_dir:
            return self.cache_dir
        return "/cache" if os.access("/cache", os.W_OK) else "./cache"

    def check_local(self):
        """Refuses folders that only a job of ModelArts can reach."""
        for name in ("data_url", "train_url", "test_url", "video_root",
                     "init"):
            if is_remote(getattr(self, name)):
                raise bad(name, "a local folder (train_modelarts.py takes "
                           "remote ones too)", repr(getattr(self, name)))

    def as_dict(self):
        """Setting -> value, without passwords in URLs: to be kept in files."""
        return dict(dataclasses.asdict(self), mirror=masked(self.mirror))

    def shared_settings(self):
        """What all processes that train together must have alike."""
        return {name: value for name, value in self.as_dict().items()
                if name not in _OWN}

    def fixed_settings(self):
        """What a resumed run must share, names to values in one spelling."""
        fixed = {field.name: getattr(self, field.name)
                 for field in dataclasses.fields(self)
                 if field.metadata["fixed"]}
        fixed["non_local"] = format_placement(self.placement())
        return fixed


def divisors(number):
    """The divisors of a positive number, descending."""
    return [each for each in range(number, 0, -1) if number % each == 0]
