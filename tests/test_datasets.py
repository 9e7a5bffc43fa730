"""A folder's four files become a data set, or one line says why not."""

import gzip
import hashlib
import os
import struct

import numpy as np
import pytest

from nonlocal_tf.data import datasets, download
from nonlocal_tf.errors import UserError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = datasets.FILES


def images(count, seed, side=28):
    pixels = np.random.RandomState(seed).bytes(count * side ** 2)
    return struct.pack(">IIII", 2051, count, side, side) + pixels


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


def refused(name, folder, load=datasets.load):
    """The error's text, one line."""
    with pytest.raises(UserError) as caught:
        load(name, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Two sets, alpha (as `OWN`) and beta, on mirrors in a folder."""
    mirror = tmp_path / "mirror"
    beta = {TRAIN_IMAGES: images(12, seed=2)}
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
    assert [array.dtype for array in data[:4]] == [np.uint8, np.int32] * 2


def test_copies_that_differ_are_refused(folder):
    put(folder, dict(OWN, **{TEST_LABELS + ".gz": labels([3, 4])}))
    assert "{0!r} and {1!r} must hold the same".format(*(
        str(folder / (TEST_LABELS + end)) for end in ("", ".gz"))) in refused(
            "mnist", str(folder))


def test_foreign_files_are_used_and_logged_as_such(folder, monkeypatch):
    lines = []
    monkeypatch.setattr(
        datasets.logging, "info", lambda text, *args: lines.append(text % args))
    datasets.load("mnist", put(folder, OWN))
    assert len(lines) == 1 and "not the published files of mnist" in lines[0]
    assert all(name in lines[0] for name in datasets.FILES)


@pytest.mark.parametrize("changes, words", [
    ({TEST_LABELS: labels([1, 2, 3])},
     TEST_IMAGES + " holds 2 images, " + TEST_LABELS + " 3 labels"),
    ({TRAIN_LABELS: labels([0, 1, 2, 3, 4, 5, 7, 8] + [0] * 4)},
     "there is no 6. Put"),
    ({TEST_LABELS: labels([3, 10])}, "label 1 (counted from 0) is 10"),
    ({TEST_IMAGES: images(2, seed=1, side=16)},
     "28x28, as the training images are; in "),
    ({TRAIN_LABELS: labels([0] * 12)}, "2 classes apart")])
def test_files_that_do_not_fit_are_refused(folder, changes, words):
    assert words in refused("mnist", put(folder, dict(OWN, **changes)))


def test_more_classes_than_the_labels_have_are_asked_for(folder):
    assert len(datasets.load(
        "mnist", put(folder, OWN), classes=12).train_labels) == 12
    with pytest.raises(UserError, match="0 to 4, .* label 5 .* is 5. Leave"):
        datasets.load("mnist", str(folder), classes=5)


@pytest.mark.parametrize("load", [datasets.load, datasets.load_test])
def test_own_set_is_not_completed_by_published_files(
        folder, published, load):
    put(folder, {name: OWN[name] for name in datasets.FILES[:3]})
    text = refused("alpha", str(folder), load)
    assert "missing: {};".format(TEST_LABELS) in text and TRAIN_IMAGES in text
    assert len(listing(folder)) == 3


def test_files_of_another_set_are_refused(published):
    text = refused("alpha", str(published / "beta"))
    assert "is a file of beta. Use --dataset beta or another" in text


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


def test_given_mirrors_come_first(folder, published, monkeypatch):
    def fetch(_, sha256, size, mirrors, place):
        raise download.DownloadError(repr(mirrors))
    monkeypatch.setattr(download, "fetch", fetch)
    with pytest.raises(UserError, match="'http://mine/', 'file://"):
        datasets.load("alpha", str(folder), mirrors=["http://mine/"])


def test_no_mirror_names_files_folder_reason_and_the_way_out(
        folder, published):
    (published / "alpha" / (TEST_IMAGES + ".gz")).unlink()
    text = refused("alpha", str(folder))
    assert repr(str(folder)) in text
    assert "missing: {}.gz, {}.gz;".format(TEST_IMAGES, TEST_LABELS) in text
    assert (published / "alpha").as_uri() in text
    assert text.endswith("--dataset digits")


def test_fingerprint_is_stable():
    random = np.random.RandomState(0)
    # Computed once; NumPy 1.18 to 2.4 agree.
    assert datasets.fingerprint(datasets.Dataset(
        random.randint(0, 256, [4, 28, 28, 1]).astype(np.uint8),
        np.arange(4, dtype=np.int32),
        random.randint(0, 256, [2, 28, 28, 1]).astype(np.uint8),
        np.arange(2, dtype=np.int32))) == "018b5584"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_table_can_download_all_four_files(name):
    source = datasets.DATASETS[name]
    entries = [source.files[file + ".gz"] for file in datasets.FILES]
    assert source.mirrors
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256, _ in entries)
    sizes = [size for _, size in entries]
    assert sizes[0] > sizes[2] > sizes[1] > sizes[3] > 4000


def test_table_knows_mnist_unpacked():
    files = datasets.DATASETS["mnist"].files
    assert [files[name][1] for name in datasets.FILES] == [
        60000 * 784 + 16, 60000 + 8, 10000 * 784 + 16, 10000 + 8]
