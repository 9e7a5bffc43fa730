"""Images of digits, and other small grey images in classes."""

import dataclasses

import numpy as np

from nonlocal_tf.architecture import BLOCKS, DIGIT_CLASSES, DIGIT_SIZE
from nonlocal_tf.data import batches, datasets, pictures
from nonlocal_tf.data.datasets import fingerprint  # noqa: F401
from nonlocal_tf.networks.digits import ResNet

UNIT = "images"
BATCH, TEST = 32, "data_url"            # of a frozen graph


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


def title(config):
    """What the network is, for the first line of a run."""
    return "ResNet-{}".format(config.resnet_size)


def size(config):
    """Of its input, for the same line."""
    return "{} pixels".format(config.image_size)


def name(config):
    """Of the data set, for the second line."""
    return config.dataset


def source(config):
    """Where that is."""
    return config.data_folder()


def train_batches(config, data, epoch, start, rank, ranks):
    """The batches of an epoch; see `batches.train_batches`."""
    return batches.train_batches(
        data.train_images, data.train_labels, config.batch_size, config.seed,
        epoch, start, rank, ranks, config.augment)


def waiting(config):
    """What may be done where the steps wait for batches."""
    return ("Leave out --augment, which one thread does."
            if config.augment else "Is the machine busy with something else?")


def test_batches(config, data, batch_size, rank, ranks):
    """The batches of a test; see `batches.test_batches`."""
    del config
    share = slice(rank, None, ranks)
    return batches.test_batches(
        data.test_images[share], data.test_labels[share], batch_size)


def remarks(config, data):
    """All images can be read, or there is no run."""
    del config, data
    return []


def load_test(config, class_names, count, plan):
    """The first test images and labels for the network of a settled config."""
    del plan                            # one view of an image
    folder = config.data_folder()
    images, labels = datasets.load_test(
        config.dataset, folder, config.mirrors(), class_names)
    datasets.check_side(images, config.digit_size, folder,
                        "as the network's are")
    datasets.check_labels(labels, config.classes, folder)
    return images[:count], labels[:count]


def samples(config, plan):
    """Images to compare a frozen graph on, in about a minute on two cores."""
    del plan
    return max(32, 32 * 224 ** 2 // config.image_size ** 2)


def random_samples(config, count, plan):
    """Images of noise, uint8 [N, S, S, 1]."""
    del plan
    return np.random.RandomState(0).randint(
        0, 256, input_shape(config, count)).astype(np.uint8)


def input_shape(config, size):
    """[B, S, S, 1]."""
    side = config.digit_size or DIGIT_SIZE
    return [size, side, side, 1]


def make_network(config, seed=None, **more):
    """A `ResNet`, which has no dropout to seed."""
    del seed
    return ResNet(
        config.resnet_size, config.placement(), config.inner_ratio,
        config.instantiation, config.sub_sample, config.scale,
        image_size=config.image_size, base_width=config.base_width,
        classes=config.classes or DIGIT_CLASSES,
        **dict(BLOCKS[config.block], **more))


def read(file, config, flags):
    """A picture as a batch, uint8 [1, S, S, 1]; see `pictures.read`."""
    side = config.image_size
    return pictures.centred(pictures.read(file, side, flags.invert), side)
