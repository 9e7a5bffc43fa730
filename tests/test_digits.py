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


def test_enlarged_digit_is_the_bilinear_one_rounded():
    small = np.random.RandomState(0).randint(0, 17, [5, 8, 8])
    large = digits.enlarge(small)[:, 4:24, 4:24, 0]
    expected = np.stack([bilinear(image) for image in small]) * 255 / 16
    # Half a grey level of rounding, and floating-point noise at the ties.
    assert np.abs(large - expected).max() <= 0.5 + 1e-9


def test_a_corner_by_hand():
    # Old columns at 0 and 16: the first new pixels lie at -0.3, 0.1, 0.5, 0.9.
    small = np.zeros([1, 8, 8])
    small[:, :, 1:] = 16
    large = digits.enlarge(small)[0, :, :, 0]
    assert large[10, :9].tolist() == [
        0, 0, 0, 0, 0, 26, 128, 230, 255]              # 25.5 and 127.5 go up
    assert large.shape == (28, 28) and not (
        large[:4].any() or large[24:].any() or large[:, 24:].any())


def test_split_takes_a_fifth_of_every_class_and_every_image_once():
    labels = np.repeat([4, 7], [50, 13])
    train, test = digits.split(labels)
    assert np.bincount(labels[test]).tolist() == [0, 0, 0, 0, 10, 0, 0, 3]
    assert sorted(np.concatenate([train, test])) == list(range(63))


def test_arrays_have_the_types_of_a_data_set(arrays):
    kinds = [(array.shape, str(array.dtype)) for array in arrays]
    assert kinds == [((1438, 28, 28, 1), "uint8"), ((1438,), "int32"),
                     ((359, 28, 28, 1), "uint8"), ((359,), "int32")]


def test_labels_stay_with_their_images(arrays):
    from sklearn.datasets import load_digits
    source = load_digits()
    by_image = {image.tobytes(): label for image, label in zip(
        digits.enlarge(source.images), source.target)}
    for images, labels in (arrays[:2], arrays[2:]):
        assert [by_image[image.tobytes()] for image in images] == list(labels)


def test_bytes_are_the_same_on_every_machine(arrays):
    # Computed once; scikit-learn 1.0 to 1.9, NumPy 1.18 to 2.4 agree.
    digest = hashlib.sha256(b"".join(
        array.astype(np.uint8).tobytes() for array in arrays))
    assert digest.hexdigest() == (
        "ebc2d0deea8ad9aa3228248cd12d61950db074f0687e92026615c3d633d43d2c")


def test_missing_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="pip install scikit-learn$"):
        digits.digits()


# In a folder


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


def test_digits_that_are_there_need_no_scikit_learn(
        tmp_path, arrays, monkeypatch):
    datasets.load("digits", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert datasets.load("digits", str(tmp_path)).test_labels.tolist() == (
        arrays[3].tolist())


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
