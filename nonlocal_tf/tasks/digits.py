"""Images of digits, and other small grey images in classes."""

from nonlocal_tf.architecture import BLOCKS, DIGIT_SIZE
from nonlocal_tf.data import datasets
from nonlocal_tf.networks.digits import ResNet


def load(config):
    """The four arrays; see `datasets.load`."""
    return datasets.load(
        config.dataset, config.data_folder(), config.mirrors())


def input_shape(config, size):
    """[B, 28, 28, 1]."""
    del config
    return [size, DIGIT_SIZE, DIGIT_SIZE, 1]


def make_network(config, **more):
    """A `ResNet`."""
    return ResNet(
        config.resnet_size, config.placement(), config.inner_ratio,
        config.instantiation, config.sub_sample, config.scale,
        image_size=config.image_size, base_width=config.base_width,
        **dict(BLOCKS[config.block], **more))
