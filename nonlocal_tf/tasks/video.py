"""Clips of videos in classes."""

from nonlocal_tf.architecture import BLOCKS
from nonlocal_tf.networks.video import VideoResNet


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
