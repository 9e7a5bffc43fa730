"""The embedded digits: fixed bytes, MNIST's geometry, a fair split."""

import hashlib
import os
import sys

import numpy as np
import pytest

from nonlocal_tf.data import datasets, digits
from nonlocal_tf.errors import UserError

TEST_IMAGES, TEST_LABELS = datasets.FILES[2:]


@pytest.fixture(scope="module")
def arrays():
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    return digits.digits()


def bilinear(small):
    """20x20 from 8x8 in floating point, pixel centres aligned."""
    places = np.clip((np.arange(20) + 0.5) * 8 / 20 - 0.5, 0, 7)
    columns = np.stack([np.interp(places, range(8), row) for row in small])
    return np.stack([np.interp(places, range(8), column)
                     for column in columns.T], axis=1)


def test_enlarged_digit_is_the_bilinear_one_rounded_in_a_border_of_zeros():
    small = np.random.RandomState(0).randint(0, 17, [5, 8, 8])
    expected = [np.pad(bilinear(image) * 255 / 16, 4, "constant")
                for image in small]
    # Half a grey level of rounding, and floating-point noise at the ties.
    np.testing.assert_allclose(
        digits.enlarge(small)[..., 0], expected, rtol=0, atol=0.5 + 1e-9)


def test_split_takes_a_fifth_of_every_class_and_every_image_once():
    labels = np.repeat([4, 7], [50, 13])
    train, test = digits.split(labels)
    assert np.bincount(labels[test]).tolist() == [0, 0, 0, 0, 10, 0, 0, 3]
    assert sorted(np.concatenate([train, test])) == list(range(63))


def test_for_the_test_nothing_is_written(tmp_path, arrays):
    images, labels = datasets.load_test("digits", str(tmp_path))
    assert images.shape == (359, 28, 28, 1) and images.dtype == np.uint8
    assert labels.tolist() == arrays[3].tolist() and labels.dtype == np.int32
    assert listing(tmp_path) == {}


def test_labels_stay_with_their_images(arrays):
    from sklearn.datasets import load_digits
    source = load_digits()
    by_image = {image.tobytes(): label for image, label in zip(
        digits.enlarge(source.images), source.target)}
    for images, labels in (arrays[:2], arrays[2:]):
        assert [by_image[image.tobytes()] for image in images] == list(labels)


def test_missing_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="pip install scikit-learn$"):
        digits.digits()


def listing(folder):
    return {name: (folder / name).read_bytes()
            for name in os.listdir(str(folder))}


def test_digits_are_written_where_they_are_missing(tmp_path, arrays):
    for _ in range(2):
        data = datasets.load("digits", str(tmp_path))
        for array, expected in zip(data, arrays):
            np.testing.assert_array_equal(array, expected)
        assert sorted(listing(tmp_path)) == sorted(datasets.FILES)
        (tmp_path / TEST_LABELS).unlink()              # it is made again


def test_digits_are_the_same_bytes_everywhere(tmp_path, arrays, monkeypatch):
    """Those of the table; where they are, nobody needs scikit-learn."""
    datasets.load("digits", str(tmp_path))
    assert datasets.DATASETS["digits"].files == {
        name: (hashlib.sha256(content).hexdigest(), len(content))
        for name, content in listing(tmp_path).items()}
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(datasets.load("digits", str(tmp_path)).test_labels) == 359


@pytest.mark.parametrize("missing", [[], [TEST_IMAGES]])
def test_other_files_are_neither_taken_for_digits_nor_overwritten(
        tmp_path, arrays, missing):
    datasets.load("digits", str(tmp_path))
    for name in missing:
        (tmp_path / name).unlink()
    (tmp_path / TEST_LABELS).write_bytes(b"own")
    before = listing(tmp_path)
    with pytest.raises(UserError, match="something else: " + TEST_LABELS):
        datasets.load("digits", str(tmp_path))
    assert listing(tmp_path) == before


def test_digits_are_refused_under_another_name(tmp_path, arrays):
    datasets.load("digits", str(tmp_path))
    with pytest.raises(UserError, match="is a file of digits. Use --dataset d"):
        datasets.load("mnist", str(tmp_path))
