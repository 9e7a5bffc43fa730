"""--augment: a function of (seed, epoch, index), and small."""

import numpy as np
import pytest

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


@pytest.fixture
def moved(monkeypatch):
    """An image of random pixels moved by chosen numbers; and itself."""
    def move(**numbers):
        chosen = np.zeros(4 + 2 * augment._GRID ** 2)
        for place, value in numbers.items():
            chosen[["angle", "size", "down", "right"].index(place)] = value
        monkeypatch.setattr(augment, "_numbers", lambda *_: chosen)
        image = np.zeros((1, 28, 28, 1), np.uint8)
        image[0, 4:24, 4:24] = np.random.RandomState(0).randint(
            0, 256, (20, 20, 1))
        found = augment.augmented(image, 0, 1, [0])
        return found[0].astype(int), image[0].astype(int)
    return move


@pytest.mark.parametrize("numbers, shift", [
    (dict(), (0, 0)), (dict(down=1.0), (2, 0)), (dict(right=-1.0), (0, -2))])
def test_a_shift_is_that_of_numpy(moved, numbers, shift):
    found, image = moved(**numbers)
    np.testing.assert_array_equal(found, np.roll(image, shift, (0, 1)))


def test_half_a_pixel_is_the_mean_of_two(moved):
    found, image = moved(right=0.25)                    # of 2 pixels
    mean = (image + np.roll(image, 1, 1)) / 2
    np.testing.assert_array_equal(found, np.floor(mean + 0.5))


@pytest.mark.parametrize("side, pixels", [(56, 4), (14, 1), (1, 0)])
def test_a_shift_grows_with_the_image(monkeypatch, side, pixels):
    numbers = np.zeros(4 + 2 * augment._GRID ** 2)
    numbers[2] = 1.0                                    # down
    monkeypatch.setattr(augment, "_numbers", lambda *_: numbers)
    image = np.zeros((1, side, side, 1), np.uint8)
    image[0, side // 2] = 200
    found = augment.augmented(image, 0, 1, [0])
    if side > 1:
        np.testing.assert_array_equal(found, np.roll(image, pixels, 1))


def test_a_quarter_turn_is_that_of_numpy(moved, monkeypatch):
    monkeypatch.setattr(augment, "_ANGLE", np.pi / 2)
    found, image = moved(angle=1.0)
    assert min(np.abs(found - np.rot90(image, turns)).max()
               for turns in (1, 3)) <= 1


def test_digits_stay_what_they_are():
    """Ink and its centre change little."""
    images = digits.digits()[0][:200]
    found = augment.augmented(images, 0, 1, range(200))
    (ink, row), (old_ink, old_row) = (
        (rows.sum(1), rows.dot(np.arange(28)) / rows.sum(1))
        for rows in (found.sum((2, 3)), images.sum((2, 3))))
    assert 0.9 < np.mean(ink / old_ink) < 1.1
    assert 0.4 < np.min(ink / old_ink) and np.max(ink / old_ink) < 1.8
    assert np.abs(row - old_row).max() < 4.5


def test_batches_of_processes_together_are_those_of_one():
    labels = np.arange(6)
    one = list(batches.train_batches(
        IMAGES, labels, 4, 1, 1, augment=True))[0][0]
    parts = [list(batches.train_batches(
        IMAGES, labels, 2, 1, 1, rank=rank, ranks=2, augment=True))[0][0]
        for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), one)
