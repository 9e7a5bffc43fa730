"""The batches of an epoch: a function of (seed, epoch) and nothing else.

A resumed run asks for the rest of an epoch by `start` and gets exactly what
the unbroken run would have got.
"""

import numpy as np

from nonlocal_tf.data.ahead import ahead
from nonlocal_tf.data.augment import augmented
from nonlocal_tf.errors import UserError


def steps_per_epoch(size, batch_size, ranks=1):
    """The number of full steps in an epoch.

    Args:
      size: number of training images.
      batch_size: images of a step in each process.
      ranks: number of processes.
    Raises:
      UserError: there is not one full step.
    """
    if not 1 <= batch_size <= size // ranks:
        raise UserError(
            "--batchsize must be 1 to {}, the number of training images or "
            "videos{}; it is {}. Choose a size in that range.".format(
                size // ranks, " for each of {} processes".format(ranks)
                if ranks > 1 else "", batch_size))
    return size // (batch_size * ranks)


def epoch_order(seed, epoch, size):
    """The order in which an epoch sees the images.

    Args:
      seed, epoch: each 0 to 2**32 - 1.
      size: number of training images.
    Returns:
      [size] permutation of 0 .. size - 1, the same under every NumPy.
    """
    return np.random.RandomState([seed, epoch]).permutation(size)


def train_batches(images, labels, batch_size, seed, epoch, start=0, rank=0,
                  ranks=1, augment=False):
    """Yields the full batches of an epoch, from batch `start` on.

    The last part-batch is dropped; since the order differs in each epoch, so
    do the images that it leaves out. The batches of all processes at a step
    are, in the order of ranks, what one process with a batch of their sum
    would take.

    Args:
      images: [N, H, W, C].
      labels: [N].
      batch_size: B.
      seed, epoch: see `epoch_order`.
      start: index of the first batch, 0 to `steps_per_epoch`.
      rank, ranks: which of how many processes this is.
      augment: whether images are changed a little; see `augment.augmented`.
    Yields:
      images [B, H, W, C], labels [B].
    Raises:
      UserError: with the first batch; see `steps_per_epoch`.
    """
    steps = steps_per_epoch(len(labels), batch_size, ranks)
    order = epoch_order(seed, epoch, len(labels))

    def make(step):
        part = step * ranks + rank
        index = order[part * batch_size:(part + 1) * batch_size]
        batch = images[index]
        if augment:
            batch = augmented(batch, seed, epoch, index)
        return batch, labels[index]

    yield from ahead(make, range(start, steps), 1, 1)   # while a step runs


def test_batches(images, labels, batch_size):
    """Yields every image once, in order, in batches of one static shape.

    Args:
      images: [N, H, W, C].
      labels: [N].
      batch_size: B.
    Yields:
      images [B, H, W, C], labels [B], valid: the number of images that count;
      those behind it, in the last batch only, are zeros with label 0.
    """
    for start in range(0, len(labels), batch_size):
        batch = images[start:start + batch_size]
        batch_labels = labels[start:start + batch_size]
        yield padded(batch, batch_size), padded(batch_labels, batch_size), (
            len(batch_labels))


def padded(array, size):
    """An array of up to `size` rows with zeros behind them, if need be."""
    if len(array) == size:
        return array
    result = np.zeros((size,) + array.shape[1:], array.dtype)
    result[:len(array)] = array
    return result
