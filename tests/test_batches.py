"""Batches: each epoch a permutation by (seed, epoch), each test image once."""

import numpy as np
import pytest

from nonlocal_tf.data import batches
from nonlocal_tf.errors import UserError

IMAGES = np.arange(10 * 784).astype(np.uint8).reshape(10, 28, 28, 1)
LABELS = np.arange(10, dtype=np.int32)


def test_order_is_the_same_under_every_numpy():
    # Computed once with NumPy 1.18; RandomState's stream is frozen.
    assert batches.epoch_order(1, 2, 10).tolist() == [
        6, 5, 4, 2, 1, 9, 0, 3, 8, 7]


@pytest.mark.parametrize("seed, epoch", [(1, 3), (2, 2), (2, 1)])
def test_order_differs_by_seed_and_by_epoch(seed, epoch):
    assert (batches.epoch_order(seed, epoch, 100)
            != batches.epoch_order(1, 2, 100)).any()


def test_epoch_follows_the_order_and_drops_the_part_batch():
    images, labels = zip(*batches.train_batches(
        IMAGES, LABELS, 3, seed=5, epoch=2))
    order = batches.epoch_order(5, 2, 10)[:9].reshape(3, 3)
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_array_equal(images, IMAGES[order])


@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("augment", [False, True])
def test_start_goes_on_where_an_unbroken_epoch_would(start, augment):
    whole, rest = ([images.tobytes() for images, _ in batches.train_batches(
        IMAGES, LABELS, 3, 5, 2, first, augment=augment)]
        for first in (0, start))
    assert rest == whole[start:] and len(whole) == 3


@pytest.mark.parametrize("size, batch_size, steps", [
    (10, 3, 3), (10, 10, 1), (60000, 128, 468)])
def test_steps_are_the_full_batches(size, batch_size, steps):
    assert batches.steps_per_epoch(size, batch_size) == steps


@pytest.mark.parametrize("batch_size", [11, 0, -1])
def test_batch_that_does_not_fit_is_refused(batch_size):
    with pytest.raises(UserError) as caught:
        batches.steps_per_epoch(10, batch_size)
    text = str(caught.value)
    assert "--batchsize" in text and "1 to 10" in text
    assert "it is {}.".format(batch_size) in text


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 16])
def test_every_test_image_counts_once_and_in_order(batch_size):
    seen = [(images[:valid], labels[:valid]) for images, labels, valid
            in batches.test_batches(IMAGES, LABELS, batch_size)]
    np.testing.assert_array_equal(np.concatenate([i for i, _ in seen]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([j for _, j in seen]), LABELS)


def test_last_test_batch_is_padded_with_zeros():
    *_, (images, labels, valid) = batches.test_batches(IMAGES, LABELS, 4)
    assert valid == 2
    assert images.shape == (4, 28, 28, 1) and images.dtype == np.uint8
    assert not images[2:].any()
    assert labels.tolist() == [8, 9, 0, 0] and labels.dtype == np.int32
