"""Clips of videos in classes."""

import numpy as np

from nonlocal_tf.architecture import BLOCKS
from nonlocal_tf.errors import UserError
from nonlocal_tf.networks.video import VideoResNet
from nonlocal_tf.protocols import PROTOCOLS, trunk

UNIT, INPUT_RANGE = "clips", "normalised as the protocol does it"
BATCH = 1                               # of a frozen graph


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
    block = dict(BLOCKS[config.block], sub_sample=config.sub_sample,
                 scale=config.scale)
    if config.block_norm != "batch":
        block.update(norm=None if config.block_norm == "none" else "affine",
                     zero_start="kernel")
    return VideoResNet(
        config.protocol, config.network, config.resnet_size,
        config.placement(), config.classes, config.frames,
        config.frame_interval, config.image_size, config.base_width,
        config.instantiation, config.inner_ratio, block, config.frozen_norm,
        **more)


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
    except (OSError, ValueError, EOFError) as error:
        raise UserError("{!r} must be a .npy file, uint8 [T, H, W, 3]: {}."
                        .format(file, getattr(error, "strerror", None)
                                or str(error).split("\n")[0].rstrip(".")))
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise UserError(
            "{!r} must be uint8 [T, H, W, 3], red, green, blue; it is {} {}."
            .format(file, clip.dtype, list(clip.shape)))
    if clip.shape[0] != config.frames:
        raise UserError(
            "{!r} must have {} frames, which the network was trained on; it "
            "has {}. Choose as many.".format(
                file, config.frames, clip.shape[0]))
    row = trunk(config.protocol, config.network)
    least = config.image_size if row.places else 32
    if min(clip.shape[1:3]) < least:
        raise UserError(
            "{!r} must have frames of {} x {} or larger; they are {} x {}."
            .format(file, least, least, *clip.shape[1:3]))
    return np.array(clip)[None]
