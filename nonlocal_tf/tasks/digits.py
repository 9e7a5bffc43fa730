"""Images of digits, and other small grey images in classes."""

import dataclasses

import numpy as np

from nonlocal_tf.architecture import BLOCKS, DIGIT_CLASSES, DIGIT_SIZE
from nonlocal_tf.data import datasets, pictures
from nonlocal_tf.networks.digits import ResNet

UNIT, INPUT_RANGE = "images", "0 to 1"
BATCH = 32                              # of a frozen graph


def load(config):
    """The four arrays; see `datasets.load`."""
    return datasets.load(config.dataset, config.data_folder(),
                         config.mirrors(), config.classes)


def settled(config, data):
    """With the number of classes and the side of the images."""
    side = data.train_images.shape[1]
    datasets.check_side(data.train_images, config.digit_size or side,
                        config.data_folder(), "as --digit_size says")
    return dataclasses.replace(
        config, digit_size=side, classes=config.classes or int(
            data.train_labels.max()) + 1)


def load_test(config, class_names=()):
    """Test images and labels for the network of a settled config."""
    folder = config.data_folder()
    images, labels = datasets.load_test(
        config.dataset, folder, config.mirrors(), class_names)
    datasets.check_side(images, config.digit_size, folder,
                        "as the network's are")
    datasets.check_labels(labels, config.classes, folder)
    return images, labels


def random_samples(config, count):
    """Images of noise, uint8 [N, S, S, 1]."""
    return np.random.RandomState(0).randint(
        0, 256, input_shape(config, count)).astype(np.uint8)


def input_shape(config, size):
    """[B, S, S, 1]."""
    side = config.digit_size or DIGIT_SIZE
    return [size, side, side, 1]


def make_network(config, **more):
    """A `ResNet`."""
    return ResNet(
        config.resnet_size, config.placement(), config.inner_ratio,
        config.instantiation, config.sub_sample, config.scale,
        image_size=config.image_size, base_width=config.base_width,
        classes=config.classes or DIGIT_CLASSES,
        **dict(BLOCKS[config.block], **more))


def read(file, config, flags):
    """A picture as a batch, uint8 [1, S, S, 1]; see `pictures.read`."""
    return pictures.read(file, config.image_size, flags.invert)
