"""Every setting of a training run, with its flag, unit and default."""

import dataclasses
import math

from nonlocal_tf.architecture import (
    DEPTHS,
    INSTANTIATIONS,
    format_placement,
    parse_placement,
)
from nonlocal_tf.data.datasets import DATASETS
from nonlocal_tf.errors import UserError


def _setting(default, text, aliases=(), choices=None, fixed=False):
    """A field with its help; `fixed`: a resumed run must have the same."""
    return dataclasses.field(default=default, metadata={
        "help": text, "aliases": aliases, "choices": choices, "fixed": fixed})


# Setting, least, most: far beyond what a machine can train.
_RANGES = (
    ("epoch", 1, 1000000), ("batch_size", 1, 1000000),
    ("image_size", 28, 4096), ("base_width", 1, 1024),
    ("max_steps", 0, 10 ** 12), ("log_steps", 1, 10 ** 9),
    ("seed", 0, 2 ** 32 - 1),
)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of `train`; each is a flag of the same name.

    Raises:
      UserError: a value is out of its range, on construction.
    """

    data_url: str = _setting(
        "", "folder with the four IDX files, plain or .gz; missing ones are "
        "downloaded there (default: ./dataset, or ./dataset/NAME for another "
        "--dataset than mnist)", ("data_path",))
    train_url: str = _setting(
        "./output", "folder for checkpoints, metrics and TensorBoard events")
    dataset: str = _setting(
        "mnist", "data set; digits is scikit-learn's, without a download",
        choices=tuple(DATASETS))
    mirror: str = _setting(
        "", "base URLs, with commas between, to try first for a download")
    epoch: int = _setting(
        20, "passes over the training images", ("epochs",))
    batch_size: int = _setting(
        128, "images a step", ("batchsize",), fixed=True)
    image_size: int = _setting(
        224, "rows and columns, in pixels, to which 28x28 is padded with "
        "zeros; at least 28", fixed=True)
    resnet_size: int = _setting(
        50, "layers of the ResNet", choices=tuple(sorted(DEPTHS)), fixed=True)
    base_width: int = _setting(
        64, "channels of the 3x3 convolutions of res2, doubled with each "
        "stage; fewer make a thin network for a trial", fixed=True)
    non_local: str = _setting(
        "10", "non-local blocks: 0, 1, 5 or 10, or a placement such as "
        "'res3:0,2;res4:1' (after these bottlenecks, from 0)", fixed=True)
    instantiation: str = _setting(
        "embedded_gaussian", "pairwise function of the blocks",
        choices=INSTANTIATIONS, fixed=True)
    inner_ratio: float = _setting(
        0.5, "width inside a block over that of its input; above 0, up to 1",
        fixed=True)
    sub_sample: bool = _setting(
        False, "max-pool the keys and values of the blocks", fixed=True)
    scale: bool = _setting(
        False, "multiply the pairwise scores by 1/sqrt(width)", fixed=True)
    learning_rate: float = _setting(1e-4, "of Adam")
    lr_schedule: str = _setting(
        "constant", "cosine: from --learning_rate to 0 over --epoch epochs",
        choices=("constant", "cosine"))
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
    num_gpus: int = _setting(1, "GPUs; only 1 for now (0 counts as 1)")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            choices = field.metadata["choices"]
            value = getattr(self, field.name)
            if choices and value not in choices:
                raise _bad(field.name, "one of {}".format(
                    ", ".join(map(str, choices))), value)
        for name, least, most in _RANGES:
            if not least <= getattr(self, name) <= most:
                raise _bad(name, "{} to {}".format(least, most),
                           getattr(self, name))
        for name in ("train_url", "data_url"):
            self._check_folder(name)
        if not 0 < self.inner_ratio <= 1:
            raise _bad("inner_ratio", "above 0 and at most 1",
                       self.inner_ratio)
        for name in ["learning_rate", "checkpoint_seconds"]:
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise _bad(name, "a finite number above 0", value)
        if self.num_gpus not in (0, 1):
            raise _bad("num_gpus", "1: this version trains in one process on "
                       "one device", self.num_gpus)
        self.placement()

    def _check_folder(self, name):
        """TensorFlow reads some signs in a path as a pattern."""
        value = getattr(self, name)
        if "://" in value:
            raise _bad(name, "a local folder: copy remote files there first",
                       repr(value))
        if name == "train_url" and (not value or set("[]*?\\\n") & set(value)):
            raise _bad(name, "a folder's name without [ ] * ? \\",
                       repr(value))

    def mirrors(self):
        """Base URLs to try first for a download."""
        return [url.strip() for url in self.mirror.split(",") if url.strip()]

    def placement(self):
        """Stage -> the bottlenecks that a non-local block follows."""
        return parse_placement(self.non_local, self.resnet_size)

    def data_folder(self):
        """Where the IDX files are, or go."""
        if self.data_url:
            return self.data_url
        return "./dataset" if self.dataset == "mnist" else (
            "./dataset/" + self.dataset)

    def fixed_settings(self):
        """What a resumed run must share, names to values in one spelling."""
        fixed = {field.name: getattr(self, field.name)
                 for field in dataclasses.fields(self)
                 if field.metadata["fixed"]}
        fixed["non_local"] = format_placement(self.placement())
        return fixed


def _bad(name, required, value):
    return UserError("--{} must be {}; got {}.".format(name, required, value))
