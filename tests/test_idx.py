"""IDX reading: exactly the file's numbers, or one line of what is wrong."""

import gzip
import os
import struct

import numpy as np
import pytest
from support import unprivileged

from nonlocal_tf.data import idx
from nonlocal_tf.errors import UserError

PIXELS = (np.arange(3 * 784) % 251).astype(np.uint8)
IMAGES = struct.pack(">IIII", 2051, 3, 28, 28) + PIXELS.tobytes()
LABELS = struct.pack(">II", 2049, 5) + bytes([3, 0, 9, 9, 1])
zipped = gzip.compress


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="file"):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)
    return write_file


def refused(call, path, *arguments):
    """The error's text, which must be one line that names the file."""
    with pytest.raises(UserError) as caught:
        call(path, *arguments)
    text = str(caught.value)
    assert "\n" not in text and repr(path) in text
    return text


# Gzip is told by content, not by name, and may come in several members.
@pytest.mark.parametrize("name", ["plain", "plain.gz"])
@pytest.mark.parametrize("pack", [
    bytes, zipped, lambda content: zipped(content[:9]) + zipped(content[9:])],
    ids=["plain", "gzip", "two members"])
def test_arrays_are_those_of_the_file(write, pack, name):
    images = idx.read_images(write(pack(IMAGES), name))
    assert images.shape == (3, 28, 28, 1) and images.dtype == np.uint8
    assert images.flags.c_contiguous
    np.testing.assert_array_equal(images.ravel(), PIXELS)
    labels = idx.read_labels(write(pack(LABELS), name))
    assert labels.dtype == np.int32 and labels.tolist() == [3, 0, 9, 9, 1]


@pytest.mark.parametrize("content, received", [
    (b"", "it begins with b''"),
    (zipped(b""), "it begins with b''"),
    (IMAGES[:15], "it begins with b'"),
    (IMAGES[:-1], "3 items, so 2368 bytes in all; it has 2367"),
    (IMAGES + b"\0", "it has 2369"),
    (zipped(IMAGES[:-1]), "it has 2367"),
    (zipped(IMAGES) + b"\1", "gzip is cut off or damaged"),
    (zipped(IMAGES)[:-9], "gzip is cut off or damaged"),
    (zipped(IMAGES)[:-1], "gzip is cut off or damaged"),
    (zipped(IMAGES)[:-8] + bytes(8), "damaged (CRC check failed"),
    (LABELS, "the numbers (2049, 5, "),
    (b"<!doctype html><html>", "it begins with b'<!doctype html><'"),
    (struct.pack(">IIII", 2051, 3, 32, 30),
     "(2051, 3, 32, 30), in place of (2051, N >= 1, S >= 1, S)"),
    (struct.pack(">IIII", 2051, 0, 28, 28), "(2051, 0, 28, 28)"),
    (struct.pack(">IIII", 2051, 1, 0, 0), "(2051, 1, 0, 0)"),
    (struct.pack(">IIII", 2051, 2**32 - 1, 28, 28), "4294967295 items"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_images_file_says_what_was_received(write, content, received):
    text = refused(idx.read_images, write(content))
    assert "an IDX file of square images (magic 2051)" in text
    assert received in text
    assert "Delete the file" in text


def test_any_side_and_any_byte_as_a_label_are_read(write):
    images = idx.read_images(write(struct.pack(">IIII", 2051, 2, 3, 3)
                                   + bytes(range(18))))
    assert images.shape == (2, 3, 3, 1) and images[1, 0, 2, 0] == 11
    labels = idx.read_labels(write(struct.pack(">II", 2049, 2) + b"\0\xff"))
    assert labels.tolist() == [0, 255]


def test_file_that_cannot_be_read(write, tmp_path):
    assert "No such" in refused(idx.read_images, str(tmp_path / "nowhere"))
    assert "Is a directory" in refused(idx.read_images, str(tmp_path))
    path = write(IMAGES)
    os.chmod(path, 0)
    with unprivileged():
        assert "Permission denied" in refused(idx.read_images, path)


def mutations(content, count, seed):
    """Some bytes, often of a header, replaced, inserted or deleted; cuts."""
    random = np.random.RandomState(seed)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(random.randint(1, 3)):
            place = random.randint(0, 24 if random.rand() < 0.4
                                   else len(mutant) + 1)
            end = place + random.choice([0, 1, 2, len(mutant)], p=[
                0.2, 0.5, 0.2, 0.1])
            mutant[place:end] = random.bytes(random.randint(0, 3))
        yield bytes(mutant)


@pytest.mark.parametrize("pack", [bytes, zipped], ids=["plain", "gzip"])
@pytest.mark.parametrize("read, original, skip", [
    (idx.read_images, IMAGES, 16), (idx.read_labels, LABELS, 8)],
    ids=["images", "labels"])
def test_mutated_file_is_refused_or_read_as_it_stands(
        write, read, original, skip, pack):
    """As it stands; a gzip, whose CRC sees all, only as the original."""
    kept = 0
    for content in mutations(pack(original), 500, seed=1):
        try:
            array = read(write(content))
        except UserError as error:
            assert "\n" not in str(error)
            continue
        kept += 1
        plain = content if pack is bytes else original
        assert plain[:4] == original[:4]
        assert len(array) == struct.unpack(">I", plain[4:8])[0]
        np.testing.assert_array_equal(
            array.ravel(), np.frombuffer(plain[skip:], np.uint8))
    assert 0 < kept < 500                              # both ways were taken


@pytest.mark.parametrize("array, content", [
    (PIXELS.reshape(3, 28, 28, 1), IMAGES),
    (np.array([3, 0, 9, 9, 1], np.int32), LABELS)], ids=["images", "labels"])
def test_arrays_are_written_byte_for_byte(tmp_path, array, content):
    idx.write_idx(str(tmp_path / "file"), array)
    assert (tmp_path / "file").read_bytes() == content


def test_place_that_cannot_be_written(tmp_path):
    assert "No such file" in refused(
        idx.write_idx, str(tmp_path / "nowhere" / "labels"), np.arange(3))
