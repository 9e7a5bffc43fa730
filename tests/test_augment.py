"""--augment: a function of (seed, epoch, index), and small."""

import numpy as np
import pytest
from support import checkpoint_bytes, run_thin

from nonlocal_tf.data import augment, batches, digits

IMAGES = np.zeros((6, 28, 28, 1), np.uint8)
IMAGES[:, 10:18, 12:16] = 200
IMAGES += np.arange(6, dtype=np.uint8)[:, None, None, None]


def changed(indices, seed=3, epoch=2):
    return augment.augmented(IMAGES[indices], seed, epoch, indices)


def test_an_image_does_not_depend_on_its_batch():
    together = changed([0, 1, 2, 3])
    for index in range(4):
        np.testing.assert_array_equal(changed([index])[0], together[index])
    np.testing.assert_array_equal(changed([3, 1]), together[[3, 1]])


@pytest.mark.parametrize("other", [dict(seed=4), dict(epoch=3)])
def test_seed_and_epoch_decide(other):
    assert (changed([0, 1]) != changed([0, 1], **other)).any()


def test_every_index_is_changed_in_its_own_way():
    same = np.repeat(IMAGES[:1], 6, 0)
    found = augment.augmented(same, 0, 1, range(6))
    assert len({image.tobytes() for image in found}) == 6


def test_nothing_asked_for_is_the_image_itself(monkeypatch):
    monkeypatch.setattr(augment, "_numbers",
                        lambda *_: np.zeros(4 + 2 * augment._GRID ** 2))
    np.testing.assert_array_equal(changed([0, 1, 2]), IMAGES[:3])


@pytest.mark.parametrize("place, value, expected", [
    (2, 1.0, lambda image: np.roll(image, 2, 0)),       # down by two pixels
    (3, -1.0, lambda image: np.roll(image, -2, 1)),     # to the left
])
def test_a_shift_is_that_of_numpy(monkeypatch, place, value, expected):
    numbers = np.zeros(4 + 2 * augment._GRID ** 2)
    numbers[place] = value
    monkeypatch.setattr(augment, "_numbers", lambda *_: numbers)
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, 5:20, 6:20, 0] = np.arange(15 * 14).reshape(15, 14)
    np.testing.assert_array_equal(
        augment.augmented(image, 0, 1, [0])[0], expected(image[0]))


def test_half_a_pixel_is_the_mean_of_two(monkeypatch):
    numbers = np.zeros(4 + 2 * augment._GRID ** 2)
    numbers[3] = 0.25                                   # of 2 pixels
    monkeypatch.setattr(augment, "_numbers", lambda *_: numbers)
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, :, 10] = 100
    found = augment.augmented(image, 0, 1, [0])[0, 5, 9:13, 0]
    assert found.tolist() == [0, 50, 50, 0]


def test_a_quarter_turn_is_that_of_numpy(monkeypatch):
    numbers = np.zeros(4 + 2 * augment._GRID ** 2)
    numbers[0] = 1.0
    monkeypatch.setattr(augment, "_numbers", lambda *_: numbers)
    monkeypatch.setattr(augment, "_ANGLE", np.pi / 2)
    image = np.random.RandomState(0).randint(
        0, 256, (1, 28, 28, 1)).astype(np.uint8)
    found = augment.augmented(image, 0, 1, [0])[0]
    turned = [np.rot90(image[0], turns) for turns in (1, 3)]
    assert min(np.abs(found.astype(int) - each).max() for each in turned) <= 1


def test_digits_stay_what_they_are():
    """Ink and its centre change little; the mean image is the same digit."""
    images = digits.digits()[0][:200]
    found = augment.augmented(images, 0, 1, range(200)).astype(float)
    ink = found.sum((1, 2, 3)) / images.astype(float).sum((1, 2, 3))
    assert 0.9 < ink.mean() < 1.1 and ink.min() > 0.4 and ink.max() < 1.8
    rows = np.arange(28)[:, None, None]
    moved = ((found * rows).sum((1, 2, 3)) / found.sum((1, 2, 3))
             - (images * rows).sum((1, 2, 3)) / images.astype(float).sum(
                 (1, 2, 3)))
    assert np.abs(moved).max() < 4.5


def test_batches_of_processes_together_are_those_of_one():
    labels = np.arange(6)
    one = list(batches.train_batches(
        IMAGES, labels, 4, 1, 1, augment=True))[0][0]
    parts = [list(batches.train_batches(
        IMAGES, labels, 2, 1, 1, rank=rank, ranks=2, augment=True))[0][0]
        for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), one)


def test_a_run_in_pieces_equals_an_unbroken_one(shallow, tiny_set, tmp_path):
    whole, _ = run_thin(tiny_set, tmp_path / "whole", epoch=1, augment=True)
    for steps in (3, 0):
        result, _ = run_thin(tiny_set, tmp_path / "pieces", epoch=1,
                             augment=True, max_steps=steps)
    plain, _ = run_thin(tiny_set, tmp_path / "plain", epoch=1)
    assert checkpoint_bytes(result.checkpoint) == checkpoint_bytes(
        whole.checkpoint)
    assert checkpoint_bytes(plain.checkpoint) != checkpoint_bytes(
        whole.checkpoint)
