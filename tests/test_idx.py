"""IDX reading: exactly the file's numbers, or one line of what is wrong."""

import gzip
import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
from support import unprivileged

from nonlocal_tf.data import idx
from nonlocal_tf.errors import UserError

PIXELS = (np.arange(3 * 784) % 251).astype(np.uint8)
IMAGES = struct.pack(">IIII", 2051, 3, 28, 28) + PIXELS.tobytes()
LABELS = struct.pack(">II", 2049, 5) + bytes([3, 0, 9, 9, 1])


def zipped(content, level=9):
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", level, packed, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="file"):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)
    return write_file


def refused(read, path):
    """The error's text, which must be one line that names the file."""
    with pytest.raises(UserError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and repr(path) in text
    return text


@pytest.mark.parametrize("pack", [bytes, zipped], ids=["plain", "gzip"])
def test_images_have_the_pixels_of_the_file(write, pack):
    images = idx.read_images(write(pack(IMAGES)))
    assert images.shape == (3, 28, 28, 1) and images.dtype == np.uint8
    assert images.flags.c_contiguous
    np.testing.assert_array_equal(images.ravel(), PIXELS)


@pytest.mark.parametrize("pack", [bytes, zipped], ids=["plain", "gzip"])
def test_labels_are_those_of_the_file(write, pack):
    labels = idx.read_labels(write(pack(LABELS)))
    assert labels.dtype == np.int32
    assert labels.tolist() == [3, 0, 9, 9, 1]


def test_gzip_is_told_by_content_not_by_name(write):
    assert len(idx.read_labels(write(LABELS, "plain.gz"))) == 5
    assert len(idx.read_labels(write(zipped(LABELS), "packed"))) == 5


def test_gzip_of_two_members_is_read_through(write):
    path = write(zipped(IMAGES[:900]) + zipped(IMAGES[900:]))
    np.testing.assert_array_equal(idx.read_images(path).ravel(), PIXELS)


@pytest.mark.parametrize("content, received", [
    (b"", "it is empty"),
    (zipped(b""), "it is empty"),
    (IMAGES[:7], "ends after 7 of the header's 16 bytes"),
    (IMAGES[:-1], "3 items, so 2368 bytes in all; it ends after 2367"),
    (IMAGES + b"\0", "it goes on after them"),
    (zipped(IMAGES[:-1]), "it ends after 2367"),
    (zipped(IMAGES + b"\0"), "it goes on after them"),
    (zipped(IMAGES) + b"\1", "gzip is damaged"),
    (zipped(IMAGES)[:-9], "gzip is cut off or damaged"),
    (zipped(IMAGES)[:-1], "gzip is cut off or damaged"),
    (zipped(IMAGES)[:-8] + bytes(8), "gzip is damaged (CRC check failed"),
    (LABELS, "00 00 08 01, as an IDX file of labels does"),
    (struct.pack(">IIII", 0x0D03, 3, 28, 28), "another type or rank"),
    (b"\n<!doctype html><html>", "as an HTML or XML page does"),
    (b"PK\x03\x04" + bytes(30), "as a zip archive does"),
    (zipped(zipped(IMAGES)), "as gzip in gzip does"),
    (struct.pack("<IIII", 2051, 3, 28, 28), "03 08 00 00"),
    (struct.pack(">IIII", 2051, 3, 32, 30), "its images are 32x30"),
    (struct.pack(">IIII", 2051, 0, 28, 28), "promises 0 items"),
    (struct.pack(">IIII", 2051, 2**32 - 1, 28, 28), "4294967295 items"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_images_file_says_what_was_received(write, content, received):
    text = refused(idx.read_images, write(content))
    assert "an IDX file of 28x28 images (magic 2051)" in text
    assert received in text
    assert "Delete the file" in text


@pytest.mark.parametrize("content", [
    struct.pack(">II", 2049, 1 << 20) + bytes((1 << 20) + 1),
    zipped(struct.pack(">II", 2049, 1 << 20) + bytes(1 << 20))[:-8] + b"x" * 8,
], ids=["trailing byte", "wrong CRC"])
def test_end_is_checked_where_it_ends_a_chunk_too(write, content):
    assert refused(idx.read_labels, write(content))


def test_images_given_as_labels_are_named(write):
    text = refused(idx.read_labels, write(IMAGES))
    assert "magic 2049" in text and "as an IDX file of images does" in text


def test_label_above_nine_is_named_with_its_place(write):
    path = write(struct.pack(">II", 2049, 4) + bytes([1, 9, 10, 255]))
    text = refused(idx.read_labels, path)
    assert "label 2 (counted from 0) is 10" in text
    assert "Delete" not in text         # it may be the only copy


def test_counts_that_disagree_name_both_files(write):
    images, labels = write(IMAGES, "images"), write(LABELS, "labels")
    with pytest.raises(UserError) as caught:
        idx.read_pair(images, labels)
    text = str(caught.value)
    assert "{!r} holds 3 images, {!r} 5 labels".format(images, labels) in text


def test_missing_file(tmp_path):
    assert "No such" in refused(idx.read_images, str(tmp_path / "nowhere"))


def test_folder_in_place_of_a_file(tmp_path):
    assert "it is a folder" in refused(idx.read_images, str(tmp_path))


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    assert "a device" in refused(idx.read_images, str(tmp_path / "pipe"))


def test_no_permission(write):
    path = write(IMAGES)
    os.chmod(path, 0)
    with unprivileged():
        assert "Permission denied" in refused(idx.read_images, path)


def peak_bytes(path):
    """The most memory that refusing the file took."""
    tracemalloc.start()
    try:
        refused(idx.read_images, path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_false_count_claims_no_memory(write):
    header = struct.pack(">IIII", 2051, idx.MAX_IMAGES, 28, 28)
    assert peak_bytes(write(header + bytes(99))) < 4e6


def test_gzip_bomb_stops_at_the_promised_size(write):
    bomb = zipped(IMAGES + bytes(50000000), level=1)
    assert peak_bytes(write(bomb)) < 4e6


# Mutations: what is accepted is right


def mutations(content, count, seed):
    """Bit flips, truncations, insertions, deletions, new header numbers."""
    random = np.random.RandomState(seed)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(random.randint(1, 4)):
            place = random.randint(0, len(mutant) + 1)
            if random.rand() < 0.4:                    # where the headers are
                place = min(random.randint(0, 24), len(mutant))
            kind = random.randint(0, 6)
            if kind <= 1 and place < len(mutant):
                mutant[place] ^= 1 << random.randint(0, 8)
            elif kind == 2:
                del mutant[place:]
            elif kind == 3:
                mutant[place:place] = random.bytes(random.randint(1, 9))
            elif kind == 4:
                del mutant[place:place + random.randint(1, 9)]
            elif kind == 5:
                number = random.choice([0, 1, 3, 28, 2049, 2051, 2**32 - 1])
                field = 4 * random.randint(0, 4)
                mutant[field:field + 4] = struct.pack(">I", int(number))
        yield bytes(mutant)


def accepted(read, path, content):
    """The array, or None where the reader refuses in one line."""
    with open(path, "wb") as file:
        file.write(content)
    try:
        return read(path)
    except UserError as error:
        assert "\n" not in str(error)
        return None


both = pytest.mark.parametrize("read, original, skip", [
    (idx.read_images, IMAGES, 16), (idx.read_labels, LABELS, 8)],
    ids=["images", "labels"])


@both
def test_mutated_plain_file_is_refused_or_read_as_it_stands(
        tmp_path, read, original, skip):
    kept = 0
    for content in mutations(original, 2000, seed=1):
        array = accepted(read, str(tmp_path / "file"), content)
        if array is not None:
            kept += 1
            assert content[:4] == original[:4]
            assert len(array) == struct.unpack(">I", content[4:8])[0]
            np.testing.assert_array_equal(
                array.ravel(), np.frombuffer(content[skip:], np.uint8))
    assert 0 < kept < 2000                             # both ways were taken


@both
def test_mutated_gzip_is_refused_or_gives_the_original(
        tmp_path, read, original, skip):
    kept = 0
    for content in mutations(zipped(original), 2000, seed=2):
        array = accepted(read, str(tmp_path / "file"), content)
        if array is not None:
            kept += 1                                  # e.g. its time flipped
            np.testing.assert_array_equal(
                array.ravel(), np.frombuffer(original[skip:], np.uint8))
    assert 0 < kept < 2000


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 1)])
def test_images_are_written_byte_for_byte(tmp_path, shape):
    path = tmp_path / "images"
    idx.write_idx(str(path), PIXELS.reshape(shape))
    assert path.read_bytes() == IMAGES


def test_labels_are_written_byte_for_byte(tmp_path):
    path = tmp_path / "labels"
    idx.write_idx(str(path), np.array([3, 0, 9, 9, 1], np.int32))
    assert path.read_bytes() == LABELS


def test_gzip_is_written_without_time_and_name(tmp_path):
    path = tmp_path / "images.gz"
    idx.write_idx(str(path), PIXELS.reshape(3, 28, 28))
    packed = path.read_bytes()
    assert gzip.decompress(packed) == IMAGES
    assert packed[3] == 0 and packed[4:8] == bytes(4)  # FLG, MTIME


@pytest.mark.parametrize("array", [
    np.zeros((3, 27, 28), np.uint8), np.zeros((2, 2), np.uint8),
    np.array([0, 256]), np.array([-1]), np.array([0.5])])
def test_what_is_not_bytes_is_not_written(tmp_path, array):
    with pytest.raises(ValueError):
        idx.write_idx(str(tmp_path / "file"), array)
    assert not os.listdir(str(tmp_path))


def test_place_that_cannot_be_written(tmp_path):
    path = str(tmp_path / "nowhere" / "labels")
    assert "No such file" in refused(
        lambda path: idx.write_idx(path, np.arange(3)), path)


def test_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "labels"
    path.write_bytes(LABELS)

    def full(_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    text = refused(lambda path: idx.write_idx(path, np.arange(3)), str(path))
    assert "No space left" in text
    assert path.read_bytes() == LABELS
    assert os.listdir(str(tmp_path)) == ["labels"]
