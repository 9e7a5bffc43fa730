"""Clips of videos in classes."""

import os

import numpy as np

from nonlocal_tf.architecture import BLOCKS
from nonlocal_tf.data.video import lists, moving_digits, views
from nonlocal_tf.data.video.feed import (  # noqa: F401
    fingerprint,
    load,
    remarks,
    settled,
    test_batches,
    train_batches,
)
from nonlocal_tf.errors import UserError
from nonlocal_tf.networks.video import VideoResNet
from nonlocal_tf.protocols import CLASSES, has_out_bias, trunk
from nonlocal_tf.storage import gist

UNIT = "clips"
BATCH, TEST = 1, "test_url"             # of a frozen graph


def title(config):
    """What the network is, for the first line of a run."""
    return "{} of {}, ResNet-{}".format(
        config.network.upper(), config.protocol, config.resnet_size)


def size(config):
    """Of its input, for the same line."""
    return "{} frames of {} pixels".format(config.frames, config.image_size)


def name(config):
    """Of the data set, for the second line."""
    return config.dataset if config.dataset == "moving_digits" else "videos"


def source(config):
    """Where that is."""
    return "{} and {}".format(config.data_url, config.test_url) if (
        config.test_url) else config.data_folder()


def waiting(config):
    """What may be done where the steps wait for batches."""
    return ("{} threads decode: give more --workers if there are more cores, "
            "or videos of a smaller size.".format(config.decoders()))


def test_list(config):
    """Path of the list of the test videos; "" where there is none."""
    if not config.test_url and config.dataset == "moving_digits":
        return os.path.join(config.data_folder(), "test.txt")
    return config.test_url


def load_test(config, class_names, count, plan):
    """Views of the first test videos that can be read, and their labels.

    Args:
      config: with --test_url, or of moving digits; else there are none.
      class_names: of the network.
      count: videos.
      plan: an `answers.Plan`.
    Returns:
      uint8 [N * views, T, S, S, 3], int32 [N]; or None.
    Raises:
      UserError: the list cannot be read, or not one of its videos.
    """
    path = test_list(config)
    if not path:
        return None
    if not config.test_url and not os.path.exists(path):
        moving_digits.make(config.data_folder())
    listed = lists.read(path, config.video_root, class_names, config.classes,
                        config.label_start)
    lists.check_labelled(listed, path)
    clips, labels, errors = [], [], []
    for name, label in zip(listed.paths, listed.labels):
        try:
            clips.append(views.test_views(name, plan.protocol, plan.views))
            labels.append(label)
        except UserError as error:
            errors.append(error)
        if len(clips) == count:
            break
    if not clips:
        raise UserError("None of the videos of {!r} can be read; the first: "
                        "{}".format(path, errors[0] if errors else "none"))
    return np.concatenate(clips), np.array(labels)


def samples(config, plan):
    """Videos to compare a frozen graph on, in about a minute on two cores."""
    area = config.frames * plan.views.crop_size ** 2 * plan.count
    return max(1, 16 * 8 * 224 ** 2 // area)


def random_samples(config, count, plan):
    """Clips of noise, uint8 [N * views, T, S, S, 3]."""
    side = plan.views.crop_size
    return np.random.RandomState(0).randint(
        0, 256, [count * plan.count, config.frames, side, side, 3]
    ).astype(np.uint8)


def input_shape(config, size):
    """[B, T, S, S, 3]."""
    return [size, config.frames, config.image_size, config.image_size, 3]


def make_network(config, **more):
    """A `VideoResNet`."""
    row = trunk(config.protocol, config.network)
    block = dict(BLOCKS[config.block], sub_sample=config.sub_sample,
                 scale=config.scale, out_bias=has_out_bias(config))
    block["norm"] = None if config.block_norm == "none" else config.block_norm
    block["zero_start"] = row.block.get("zero_start", "gamma") if (
        config.block_norm == "batch") else "kernel"
    return VideoResNet(
        config.protocol, config.network, config.resnet_size,
        config.placement(), config.classes or CLASSES, config.frames,
        config.frame_interval, config.image_size, config.base_width,
        config.instantiation, config.inner_ratio, block, config.frozen_norm,
        config.dropout, **more)


def read(file, config, flags):
    """A clip as a batch, uint8 [1, T, H, W, 3].

    Args:
      file: a .npy file, uint8 [T, H, W, 3].
      config: of the network.
      flags: of `classify`.
    Raises:
      UserError: it is no such array, or the network cannot take it.
    """
    del flags
    try:
        clip = np.lib.format.open_memmap(file, mode="r")
    except Exception as error:          # whatever a header can raise
        raise UserError("{!r} must be a .npy file, uint8 [T, H, W, 3]: {}."
                        .format(file, gist(error).rstrip(".")))
    check_clip(repr(file), clip, config)
    return np.array(clip)[None]


def check_clip(name, clip, config):
    """Refuses what is no clip for a network.

    Args:
      name: of the clip, for the error.
      clip: an array.
      config: of the network.
    """
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise UserError(
            "{} must be uint8 [T, H, W, 3], red, green, blue; it is {} {}."
            .format(name, clip.dtype, list(clip.shape)))
    if clip.shape[0] != config.frames:
        raise UserError(
            "{} must have {} frames, which the network was trained on; it "
            "has {}. Choose as many.".format(
                name, config.frames, clip.shape[0]))
    places = trunk(config.protocol, config.network).places
    least = config.image_size if places else 32
    if min(clip.shape[1:3]) < least:
        raise UserError(
            "{} must have frames of {} x {} or larger; they are {} x {}."
            .format(name, least, least, *clip.shape[1:3]))
