"""Clips of videos in classes."""

import numpy as np

from nonlocal_tf.architecture import BLOCKS
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
from nonlocal_tf.protocols import CLASSES, PROTOCOLS, has_out_bias, trunk
from nonlocal_tf.storage import gist

UNIT, INPUT_RANGE = "clips", "normalised as the protocol does it"
BATCH = 1                               # of a frozen graph


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


def load_test(config, class_names=()):
    """There are none yet: see `random_samples`."""
    del class_names
    return random_samples(config, 2), None


def random_samples(config, count):
    """Clips of noise as the network takes them, float32 [N, T, S, S, 3]."""
    protocol = PROTOCOLS[config.protocol]
    clips = np.random.RandomState(0).randint(
        0, 256, input_shape(config, min(count, 2)))
    return ((clips - protocol.mean) / protocol.deviation).astype(np.float32)


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
