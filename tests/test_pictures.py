"""PNG pictures: a set by folders, and one to be classified."""

import gzip
import json
import os
import struct
import zlib

import numpy as np
import pytest
from support import run_thin

from nonlocal_tf.data import datasets, pictures
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import freeze, graphdef

GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6                   # PNG's colour types


def png(rows, kind=GREY, bits=8, sides=None, **more):
    """The bytes of a PNG: packed rows, and chunks such as PLTE."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(
            ">I", zlib.crc32(name + data) & 0xffffffff)
    height, width = sides or (len(rows), len(rows[0]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, bits, kind, 0, 0, 0)) + b"".join(
            chunk(name.encode("ascii"), bytes(data))
            for name, data in sorted(more.items())) + chunk(
                b"IDAT", zlib.compress(b"".join(
                    b"\0" + bytes(row) for row in rows))) + chunk(b"IEND", b"")


def square(side, value=0):
    return png([[value] * side] * side)


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


# Greys by hand: (299 R + 587 G + 114 B) / 1000; half of 200 is 100.
COLOURS = [255, 0, 0, 0, 255, 0, 0, 0, 255]


@pytest.mark.parametrize("content, row", [
    (png([[0, 7, 255]]), [0, 7, 255]),
    (png([[0b10100000]], bits=1, sides=(1, 3)), [255, 0, 255]),
    (png([[0b00011011]], bits=2, sides=(1, 4)), [0, 85, 170, 255]),
    (png([COLOURS], RGB, sides=(1, 3)), [76, 150, 29]),
    (png([[0x01, 0x20]], PALETTE, 4, (1, 3), PLTE=COLOURS), [76, 150, 29]),
    (png([[0x01, 0x20]], PALETTE, 4, (1, 3), PLTE=COLOURS, tRNS=[255, 0]),
     [76, 0, 29]),
    (png([[200] * 3 + [128] + [200] * 3 + [0]], RGBA, sides=(1, 2)), [100, 0]),
], ids=["grey", "1 bit", "2 bits", "colour", "palette", "transparent palette",
        "alpha"])
def test_each_kind_of_png_becomes_grey(tmp_path, content, row):
    path = put(tmp_path, {"a.png": content}) + "/a.png"
    found = pictures.read(path, 4)
    assert found.tolist() == [row] and found.dtype == np.uint8


def test_colours_become_the_greys_of_pil(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 3))
    picture = image.fromarray(pixels.astype(np.uint8))
    picture.save(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(
        pictures.read(str(tmp_path / "a.png"), 64),
        np.array(picture.convert("L")))


def test_an_odd_rest_goes_to_the_bottom_and_to_the_right(tmp_path):
    path = put(tmp_path, {"a.png": png([[9, 9], [9, 9], [9, 9]])}) + "/a.png"
    found = pictures.centred(pictures.read(path, 6), 6)
    assert found.shape == (1, 6, 6, 1) and found.sum() == 6 * 9
    _, rows, columns, _ = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (
        1, 3, 2, 3)


def test_inverted_is_the_ink_alone(tmp_path):
    """Black, white, and black that is transparent."""
    path = put(tmp_path, {"a.png": png(
        [[0, 0, 0, 255, 255, 255, 255, 255, 0, 0, 0, 0]], RGBA,
        sides=(1, 3))}) + "/a.png"
    assert pictures.read(path, 3, True).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_picture_of_an_idx_file_has_a_number(tmp_path, pack):
    path = put(tmp_path, {"a": pack(struct.pack(">IIII", 2051, 2, 1, 1)
                                    + bytes([3, 200]))}) + "/a"
    assert pictures.read(path + ":1", 1).tolist() == [[200]]
    assert pictures.read(path + ":0", 1, True).tolist() == [[252]]
    with pytest.raises(UserError, match="has the pictures 0 to 1; got 2"):
        pictures.read(path + ":2", 1)


BAD = [
    (b"a text", "must be a PNG; it begins with b'a text'"),
    (b"GIF89a" + bytes(40), "it begins with b'GIF89a"),
    (b"", "it begins with b''"),
    (square(4)[:-30], "cannot decode it"),
    (png([[0] * 8] * 4, bits=16, sides=(4, 4)), "it has 16. Convert"),
    (square(4097), "at most 4096x4096 pixels; it has 4097x4097"),
]


@pytest.mark.parametrize("content, words", BAD)
def test_what_is_no_such_png_is_named(tmp_path, content, words):
    path = put(tmp_path, {"b.png": content}) + "/b.png"
    with pytest.raises(UserError) as caught:
        pictures.read(path, 4096)
    assert words in str(caught.value) and repr(path) in str(caught.value)
    assert "\n" not in str(caught.value)


SET = {
    "train/10/a.png": square(3, 10), "train/9/b.png": square(3, 91),
    "train/9/a.png": square(3, 90), "test/10/A.PNG": square(3, 11),
    "train/9/.hidden": b"", "train/.git/a": b"", "train/notes.txt": b"",
}


def test_folders_are_classes_in_the_order_of_numbers(tmp_path):
    data = datasets.load("mnist", put(tmp_path, SET))
    assert data.class_names == ("9", "10")
    assert data.train_labels.tolist() == [0, 1, 0]
    assert data.train_images[:, 1, 1, 0].tolist() == [90, 10, 91]
    assert data.train_images.shape == (3, 3, 3, 1)
    assert data.test_labels.tolist() == [1]             # of 9 there is none
    assert [array.dtype for array in data[:4]] == [np.uint8, np.int32] * 2


def test_names_that_are_no_numbers_are_in_alphabetical_order(tmp_path):
    put(tmp_path, {"train/{}/a.png".format(name): b"" for name in (
        "b", "10", "9", "a")})
    assert pictures.class_names(str(tmp_path)) == ("10", "9", "a", "b")


def test_the_test_alone_needs_names_in_place_of_train(tmp_path):
    folder = put(tmp_path, {"test/b/a.png": square(2, 5)})
    images, labels = datasets.load_test("mnist", folder, (), ("a", "b"))
    assert labels.tolist() == [1] and images.shape == (1, 2, 2, 1)


@pytest.mark.parametrize("changes, words", [
    ({"test/10/A.PNG": None}, "must have the folders train and test"),
    ({"test/10/A.PNG": b"", "test/eel/a.png": b""}, "'eel' is none. Move"),
    ({"test/10/A.PNG": None, "test/10/a.jpg": b""}, "it has none. Put"),
    ({"train/10/a.png": None, "train/10/a.jpg": b""}, "there is no 10. Put"),
    ({"train/9/b.png": square(4)}, "it has 4 rows and 4 columns"),
    ({"train/9/a.png": png([[1, 2]])}, "it has 1 rows and 2 columns"),
    ({"train/9/b.png": b"a text"}, "/b.png' must be a PNG"),
    ({"test/10/A.PNG": square(4)}, "3x3, as the training images are; in "),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_folder_that_is_no_set_is_refused(tmp_path, changes, words):
    files = {name: content for name, content in dict(SET, **changes).items()
             if content is not None}
    with pytest.raises(UserError) as caught:
        datasets.load("mnist", put(tmp_path, files))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_classes_without_train_are_no_place_for_a_download(tmp_path):
    with pytest.raises(UserError, match="must have the folders train and"):
        datasets.load("mnist", put(tmp_path, {"cat/a.png": square(3)}))


@pytest.mark.slow
def test_a_set_is_trained_and_frozen(shallow, tmp_path, capsys):
    names = ("cat", "dog", "eel")
    data = put(tmp_path / "data", {
        "{}/{}/{}.png".format(part, name, number): square(16, 80 * label)
        for part in ("train", "test") for label, name in enumerate(names)
        for number in range(3)})
    result, _ = run_thin(data, tmp_path / "run", epoch=1)
    with open(result.checkpoint + ".json") as file:
        note = json.load(file)
    assert note["class_names"] == list(names)
    assert (note["fixed"]["classes"], note["fixed"]["digit_size"]) == (3, 16)
    freeze.freeze(freeze.parse_flags(
        ["--train_url", str(tmp_path / "run"), "--input_layout", "flat",
         "--batchsize", "4", "--with_probabilities"], "freeze_pb.py"))
    out = capsys.readouterr().out
    assert "probabilities:0  float32 [4, 3]" in out and "of 9 test" in out
    assert "score --output results \\\n    --labels bins/labels.npy " \
        "--classes 3" in out
    node, = graphdef.placeholders(graphdef.read(
        os.path.join(str(tmp_path / "run"), "PB_Model", "model.pb")))
    assert graphdef.declared_shape(node) == [4, 256]
