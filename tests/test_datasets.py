"""A folder's four files become a data set, or one line says why not."""

import contextlib
import gzip
import hashlib
import os
import struct

import numpy as np
import pytest

from nonlocal_tf.data import datasets, download
from nonlocal_tf.errors import UserError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = datasets.FILES


def images(count, seed):
    pixels = np.random.RandomState(seed).bytes(count * 784)
    return struct.pack(">IIII", 2051, count, 28, 28) + pixels


def labels(values):
    return struct.pack(">II", 2049, len(values)) + bytes(bytearray(values))


# A set of one's own: twelve training images of ten classes, two test images.
OWN = {
    TRAIN_IMAGES: images(12, seed=0),
    TRAIN_LABELS: labels([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]),
    TEST_IMAGES: images(2, seed=1),
    TEST_LABELS: labels([3, 3]),
}


def put(folder, files):
    """Writes files, gzip where the name ends so; returns the folder."""
    for name, content in files.items():
        packed = name.endswith(".gz")
        (folder / name).write_bytes(
            gzip.compress(content) if packed else content)
    return str(folder)


def listing(folder):
    return {name: (folder / name).read_bytes()
            for name in os.listdir(str(folder))}


def refused(name, folder, **arguments):
    """The error's text, one line; the folder's files stay as they were."""
    with pytest.raises(UserError) as caught:
        datasets.load(name, folder, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Two sets, alpha (as `OWN`) and beta, on mirrors in a folder."""
    mirror = tmp_path / "mirror"
    beta = dict(OWN, **{TRAIN_IMAGES: images(12, seed=2),
                        TEST_IMAGES: images(2, seed=3)})
    table = {}
    for name, files in (("alpha", OWN), ("beta", beta)):
        (mirror / name).mkdir(parents=True)
        put(mirror / name, {file + ".gz": content
                            for file, content in files.items()})
        table[name] = datasets.Source(
            ((mirror / name).as_uri(),),
            {file: (hashlib.sha256(content).hexdigest(), len(content))
             for file, content in listing(mirror / name).items()})
    monkeypatch.setattr(datasets, "DATASETS", table)
    monkeypatch.setattr(download, "RETRY_DELAYS", ())
    return mirror


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


# Reading a folder


@pytest.mark.parametrize("ends", [[""], [".gz"], ["", ".gz"]])
def test_own_set_is_read_by_its_folder(folder, ends):
    data = datasets.load("mnist", put(folder, {
        name + end: content for name, content in OWN.items() for end in ends}))
    pixels = np.frombuffer(OWN[TRAIN_IMAGES], np.uint8, offset=16)
    np.testing.assert_array_equal(data.train_images.ravel(), pixels)
    assert data.train_images.shape == (12, 28, 28, 1)
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert data.test_images.shape == (2, 28, 28, 1)
    assert data.test_labels.tolist() == [3, 3]
    assert [array.dtype for array in data] == [np.uint8, np.int32] * 2


@pytest.mark.parametrize("name, other", [
    (TRAIN_IMAGES, images(12, seed=9)), (TEST_LABELS, labels([3, 4]))])
def test_copies_that_differ_are_refused(folder, name, other):
    put(folder, OWN)
    put(folder, {name + ".gz": other})
    text = refused("mnist", str(folder))
    assert repr(str(folder / name)) in text
    assert repr(str(folder / (name + ".gz"))) in text


def test_foreign_files_are_used_and_logged_as_such(folder, monkeypatch):
    lines = []
    monkeypatch.setattr(
        datasets.logging, "info", lambda text, *args: lines.append(text % args))
    datasets.load("mnist", put(folder, OWN))
    assert len(lines) == 1 and "not the published files of mnist" in lines[0]
    assert all(name in lines[0] for name in datasets.FILES)


# Refusing a folder


def test_unknown_name_lists_the_known(folder):
    text = refused("cifar10", str(folder))
    assert "digits, fashion_mnist, kmnist, mnist; it is 'cifar10'" in text


@pytest.mark.parametrize("changes, words", [
    ({TEST_LABELS: labels([1, 2, 3])},
     TEST_IMAGES + " holds 2 images, " + TEST_LABELS + " 3 labels"),
    ({TRAIN_LABELS: labels([0, 1, 2, 3, 4, 5, 7, 8] + [0] * 4)},
     "there is no 6, 9."),
    ({TEST_LABELS: labels([3, 10])}, "label 1 (counted from 0) is 10")])
def test_files_that_do_not_fit_are_refused(folder, changes, words):
    assert words in refused("mnist", put(folder, dict(OWN, **changes)))


@pytest.mark.parametrize("load", [datasets.load, datasets.load_test])
def test_own_set_is_not_completed_by_published_files(
        folder, published, load):
    put(folder, {name: OWN[name] for name in datasets.FILES[:3]})
    with pytest.raises(UserError) as caught:
        load("alpha", str(folder))
    assert "missing: {};".format(TEST_LABELS) in str(caught.value)
    assert TRAIN_IMAGES in str(caught.value)
    assert len(listing(folder)) == 3


def test_files_of_another_set_are_refused(folder, published):
    put(folder, OWN)
    (folder / (TEST_IMAGES + ".gz")).write_bytes(
        (published / "beta" / (TEST_IMAGES + ".gz")).read_bytes())
    text = refused("alpha", str(folder))
    assert "is a file of beta. Use --dataset beta or another" in text


def test_file_that_two_sets_share_belongs_to_both(published):
    first = datasets.load("alpha", str(published / "alpha"))
    second = datasets.load("beta", str(published / "beta"))
    np.testing.assert_array_equal(first.train_labels, second.train_labels)


# Getting what is missing


def test_missing_folder_is_made_and_filled(published, tmp_path):
    data = datasets.load("alpha", str(tmp_path / "new" / "data"))
    assert data.test_labels.tolist() == [3, 3]
    expected = listing(published / "alpha")
    assert listing(tmp_path / "new" / "data") == expected
    # What is there is not asked for again.
    (published / "alpha" / (TRAIN_LABELS + ".gz")).unlink()
    (tmp_path / "new" / "data" / (TEST_LABELS + ".gz")).unlink()
    datasets.load("alpha", str(tmp_path / "new" / "data"))
    assert listing(tmp_path / "new" / "data") == expected


def test_for_the_test_only_the_test_files_are_downloaded(folder, published):
    _, found = datasets.load_test("alpha", str(folder))
    assert found.tolist() == [3, 3]
    assert sorted(listing(folder)) == [TEST_IMAGES + ".gz",
                                       TEST_LABELS + ".gz"]


def test_for_the_test_digits_are_not_written(tmp_path):
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    pixels, classes = datasets.load_test("digits", str(tmp_path / "none"))
    assert pixels.shape == (359, 28, 28, 1) and len(classes) == 359
    assert os.listdir(str(tmp_path)) == []


def test_given_mirrors_come_first(folder, published, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        download, "fetch", lambda *args: calls.append(args[3]))
    with contextlib.suppress(IndexError):              # nothing was fetched
        datasets.load("alpha", str(folder), mirrors=["http://mine/"])
    assert calls[0] == ("http://mine/", (published / "alpha").as_uri())


def test_no_mirror_names_files_folder_reason_and_the_way_out(
        folder, published):
    (published / "alpha" / (TEST_IMAGES + ".gz")).unlink()
    text = refused("alpha", str(folder))
    assert repr(str(folder)) in text
    assert "missing: {}.gz, {}.gz;".format(TEST_IMAGES, TEST_LABELS) in text
    assert (published / "alpha").as_uri() in text
    assert text.endswith("--dataset digits")


# The fingerprint


def data_set():
    random = np.random.RandomState(0)
    return datasets.Dataset(
        random.randint(0, 256, [4, 28, 28, 1]).astype(np.uint8),
        np.arange(4, dtype=np.int32),
        random.randint(0, 256, [2, 28, 28, 1]).astype(np.uint8),
        np.arange(2, dtype=np.int32))


def test_fingerprint_is_eight_digits_and_stable():
    # Computed once; NumPy 1.18 to 2.4 agree.
    assert datasets.fingerprint(data_set()) == "018b5584"


@pytest.mark.parametrize("field", datasets.Dataset._fields)
def test_fingerprint_sees_each_array(field):
    changed = data_set()
    getattr(changed, field)[-1] += 1
    assert datasets.fingerprint(changed) != datasets.fingerprint(data_set())


# The table


def test_table_can_download_all_four_files():
    hashes = set()
    for name in ("mnist", "fashion_mnist", "kmnist"):
        source = datasets.DATASETS[name]
        assert source.mirrors
        for file in datasets.FILES:
            sha256, size = source.files[file + ".gz"]
            assert len(sha256) == 64 and int(sha256, 16) and size > 4000
            hashes.add(sha256)
    assert len(hashes) == 12


def test_table_knows_mnist():
    """Its training images: (60,000 * 784 + 16) bytes when unpacked."""
    assert datasets.DATASETS["mnist"].files[TRAIN_IMAGES] == (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        60000 * 784 + 16)
