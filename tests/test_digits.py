"""The embedded digits: fixed bytes, MNIST's geometry, a fair split."""

import gzip
import hashlib
import os
import struct
import sys

import numpy as np
import pytest
from support import unprivileged

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


def test_enlarged_digit_has_a_border_of_four_zeros():
    large = digits.enlarge(np.full([1, 8, 8], 16))[0, :, :, 0]
    expected = np.zeros([28, 28], np.uint8)
    expected[4:24, 4:24] = 255
    np.testing.assert_array_equal(large, expected)


def test_a_corner_by_hand():
    # Old columns at 0 and 16: the first new pixels lie at -0.3, 0.1, 0.5, 0.9.
    small = np.zeros([1, 8, 8])
    small[:, :, 1:] = 16
    row = digits.enlarge(small)[0, 10, 4:9, 0]
    assert row.tolist() == [0, 26, 128, 230, 255]      # 25.5 and 127.5 go up


def test_split_takes_a_fifth_of_every_class():
    labels = np.repeat([4, 7], [50, 13])
    _, test = digits.split(labels)
    assert np.bincount(labels[test]).tolist() == [0, 0, 0, 0, 10, 0, 0, 3]


def test_split_uses_every_image_once():
    train, test = digits.split(np.arange(100) % 10)
    assert sorted(np.concatenate([train, test])) == list(range(100))


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


def labels(values):
    return struct.pack(">II", 2049, len(values)) + bytes(bytearray(values))


def listing(folder):
    return {name: (folder / name).read_bytes()
            for name in os.listdir(str(folder))}


def refused(name, folder):
    with pytest.raises(UserError) as caught:
        datasets.load(name, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def few_digits(monkeypatch):
    """Stands for scikit-learn's digits; quick."""
    arrays = (
        np.arange(12 * 784).astype(np.uint8).reshape(12, 28, 28, 1),
        np.arange(12, dtype=np.int32) % 10,
        np.ones((2, 28, 28, 1), np.uint8), np.array([4, 5], np.int32))
    monkeypatch.setattr(digits, "digits", lambda: arrays)
    return arrays


def test_digits_are_written_where_they_are_missing(tmp_path, few_digits):
    data = datasets.load("digits", str(tmp_path))
    for array, expected in zip(data, few_digits):
        np.testing.assert_array_equal(array, expected)
    written = listing(tmp_path)
    assert sorted(written) == sorted(datasets.FILES)
    assert written[TEST_LABELS] == labels([4, 5])
    assert written[TEST_IMAGES] == (
        struct.pack(">IIII", 2051, 2, 28, 28) + b"\1" * 1568)


def test_digits_that_are_there_stay_untouched(tmp_path, few_digits):
    before = gzip.compress(labels([4, 5]))
    (tmp_path / (TEST_LABELS + ".gz")).write_bytes(before)
    datasets.load("digits", str(tmp_path))
    assert (tmp_path / (TEST_LABELS + ".gz")).read_bytes() == before
    assert TEST_LABELS not in os.listdir(str(tmp_path))


def test_other_files_are_neither_taken_for_digits_nor_overwritten(
        tmp_path, few_digits):
    (tmp_path / TEST_LABELS).write_bytes(labels([4, 6]))
    before = listing(tmp_path)
    text = refused("digits", str(tmp_path))
    assert repr(str(tmp_path / TEST_LABELS)) in text
    assert listing(tmp_path) == before


def test_digits_are_refused_under_another_name(tmp_path):
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    datasets.load("digits", str(tmp_path))
    text = refused("mnist", str(tmp_path))
    assert "is a file of digits. Use --dataset digits" in text


def test_folder_that_cannot_be_written(tmp_path, few_digits):
    os.chmod(str(tmp_path), 0o555)
    with unprivileged():
        text = refused("digits", str(tmp_path))
    assert "Permission denied" in text
