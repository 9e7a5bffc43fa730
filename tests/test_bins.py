"""bins.py: raw files of test images, as msame reads them."""

import os
import struct

import numpy as np
import pytest

from nonlocal_tf.data import idx
from nonlocal_tf.export import bins, interface


def written(tmp_path, tiny_set, *arguments):
    """Names of the input files and the values of all, after `bins`."""
    output = tmp_path / "bins"
    assert bins.main(["--data_url", tiny_set, "--output", str(output)]
                     + list(arguments)) == 0
    names = sorted(os.listdir(str(output / "input")),
                   key=lambda name: int(name.split("_")[0]))
    content = b"".join((output / "input" / name).read_bytes()
                       for name in names)
    return names, content


def test_flat_files_are_little_endian_rows(tmp_path, tiny_set, capsys):
    names, content = written(tmp_path, tiny_set, "--input_layout", "flat",
                             "--batchsize", "10")
    assert names == ["1_batch_0_10.bin", "2_batch_10_20.bin",
                     "3_batch_20_30.bin"]
    images = idx.read_images(os.path.join(tiny_set, "t10k-images-idx3-ubyte"))
    assert len(content) == 30 * 784 * 4
    for image, pixel in ((0, 0), (0, 400), (22, 783), (7, 30)):
        value, = struct.unpack_from("<f", content, 4 * (784 * image + pixel))
        assert value == np.float32(images.ravel()[784 * image + pixel] / 255)
    assert content[23 * 784 * 4:] == bytes(7 * 784 * 4)         # filled up
    out = capsys.readouterr().out
    assert "3_batch_20_30.bin holds images 20 to 22, then 7 of zeros" in out
    assert "31,360 bytes: 10 x 784 float32" in out


def test_images_have_zeros_around(tmp_path, tiny_set):
    """33 pixels: 2 above and left, 3 below and right."""
    _, content = written(tmp_path, tiny_set, "--image_size", "33",
                         "--batchsize", "23")
    images = np.frombuffer(content, "<f4").reshape(23, 33, 33)
    source = idx.read_images(os.path.join(tiny_set, "t10k-images-idx3-ubyte"))
    np.testing.assert_allclose(
        images[:, 2:30, 2:30], source[..., 0] / 255.0, rtol=1e-6)
    assert images.sum() == pytest.approx(images[:, 2:30, 2:30].sum())


def test_labels_lie_beside_the_inputs_in_two_forms(tmp_path, tiny_set):
    written(tmp_path, tiny_set, "--image_size", "28", "--images", "12")
    labels = np.load(str(tmp_path / "bins" / "labels.npy"))
    assert labels.dtype == np.int32
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (tmp_path / "bins" / "labels.txt").read_text() == "".join(
        "{}\n".format(label) for label in labels)


def test_an_earlier_run_is_replaced_and_others_are_not(
        tmp_path, tiny_set, capsys):
    small = ["--image_size", "28"]
    written(tmp_path, tiny_set, "--batchsize", "5", *small)
    names, _ = written(tmp_path, tiny_set, "--batchsize", "23", *small)
    assert names == ["1_batch_0_23.bin"]
    other = tmp_path / "bins" / "input" / "notes.txt"
    other.write_text("mine")
    assert "replaced 5 files" in capsys.readouterr().out
    assert bins.main(["--data_url", tiny_set, "--output",
                      str(tmp_path / "bins")]) == 2
    assert "it has notes.txt" in capsys.readouterr().err
    assert other.read_text() == "mine"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "labels.txt").write_text("mine")
    assert bins.main(["--data_url", tiny_set, "--output",
                      str(tmp_path / "own")] + small) == 2
    assert "not of an earlier run" in capsys.readouterr().err
    assert os.listdir(str(tmp_path / "own")) == ["labels.txt"]


def test_new_images_never_lie_beside_old_labels(
        tmp_path, tiny_set, monkeypatch):
    """The end comes right after the new images."""
    small = ["--image_size", "28"]
    written(tmp_path, tiny_set, "--batchsize", "5", *small)

    def end(path):
        assert os.listdir(str(tmp_path / "bins" / "input")) == [
            "1_batch_0_23.bin"]
        raise KeyboardInterrupt
    monkeypatch.setattr(bins.storage, "replacing", end)
    assert bins.main(["--data_url", tiny_set, "--output",
                      str(tmp_path / "bins"), "--batchsize", "23"]
                     + small) == 130
    assert os.listdir(str(tmp_path / "bins")) == ["input"]


def test_labels_do_not_go_where_msame_reads(tmp_path, tiny_set, capsys):
    """A folder of .bin files of images or of clips, whatever its name."""
    for name in ("1_batch_0_32.bin", "0.bin"):
        folder = tmp_path / ("of_" + name[0])
        folder.mkdir()
        (folder / name).write_bytes(b"")
        assert bins.main(["--data_url", tiny_set, "--output",
                          str(folder)]) == 2
        assert "msame reads whole" in capsys.readouterr().err
        assert os.listdir(str(folder)) == [name]


@pytest.mark.parametrize("arguments, message", [
    (["--batchsize", "0"], "--batchsize must be 1 to"),
    (["--image_size", "27"], "--image_size must be 28 to"),
    (["--images", "-1"], "--images must be 0 to"),
    (["--dataset", "none"], "--dataset must be one of"),
    (["--input_layout", "NCHW"], "invalid choice"),
    (["--input_layout", "NTCHW"], "--input_layout image or flat"),
    (["--views", "1x1"], "got --views 1x1"),
    (["--output", "a.bins"], 'must have no ".bin" and no comma'),
    (["--output", "a,b"], 'must have no ".bin" and no comma'),
    (["--output", "bins/input"], "msame reads whole. Give --output bins"),
    (["--output", "/proc/none"], "--output must name a folder"),
    (["--batchsize", "100000", "--image_size", "4096"], "free. Name another"),
])
def test_bad_flags_are_one_line(arguments, message, tiny_set, tmp_path,
                                capsys):
    assert bins.main(["--data_url", tiny_set, "--output", str(tmp_path)]
                     + arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(str(tmp_path)) == []


def test_a_full_disk_leaves_nothing_half_written(
        tmp_path, tiny_set, monkeypatch, capsys):
    def full(batch, face):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(interface, "prepared", full)
    assert bins.main(["--data_url", tiny_set, "--output", str(tmp_path),
                      "--image_size", "28"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert os.listdir(str(tmp_path)) == []
