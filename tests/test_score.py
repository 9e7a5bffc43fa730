"""Scoring of results by hand: msame's and ais_bench's files, in any order."""

import os

import numpy as np
import pytest

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import results, score


def put(folder, **files):
    """Files named as msame would, from stem to text or bytes."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        name = name.replace("__", ".").lstrip("_")
        if isinstance(content, str):
            content = content.encode("ascii")
        (folder / name).write_bytes(content)
    return str(folder)


def labels_file(tmp_path, labels):
    path = tmp_path / "labels.txt"
    path.write_text("".join("{}\n".format(label) for label in labels))
    return str(path)


SCORES = ("0 0.1 0 0 0 0 0 0.9 0 0 \n"
          "0 0 1 0 0 0 0 0 0 0 \n"
          "1e-05 0.99999 0 0 0 0 0 0 0 0 \n")
SCORES_AIS = SCORES.replace("1e-05", "0.000010")
CLASSES = [7, 2, 1]
BINARY = {
    "int32": np.array(CLASSES, "<i4"), "int64": np.array(CLASSES, "<i8"),
    "float32 classes": np.array(CLASSES, "<f4"),
    "float32 scores": np.eye(10, dtype="<f4")[CLASSES] * 0.3,
    "float16 scores": np.eye(10, dtype="<f2")[CLASSES],
}


@pytest.mark.parametrize("name, content", [
    ("1_batch_0_3_output_0__txt", "7 2 1 "),            # msame, one dimension
    ("1_batch_0_3_output_0__txt", "7 \n2 \n1 \n"),      # msame, [3, 1]
    ("1_batch_0_3_output_0__txt", SCORES),              # msame, [3, 10]
    ("1_batch_0_3_0__txt", "7 2 1 \n"),                 # ais_bench, %d
    ("1_batch_0_3_0__txt", "7.000000 2.000000 1.000000 \n"),
    ("1_batch_0_3_0__txt", SCORES_AIS),                 # ais_bench, %f
] + [("1_batch_0_3_output_0__bin", array.tobytes())
     for _, array in sorted(BINARY.items())])
def test_every_form_reads_as_the_same_classes(name, content, tmp_path):
    folder = put(tmp_path / "out", **{"_" + name: content})
    found = results.read(folder, 3)
    assert found.classes.tolist() == CLASSES
    assert found.missing == [] and found.surplus == [] and found.by_name


@pytest.mark.parametrize("array", [BINARY["int32"], BINARY["float32 scores"]])
def test_npy_of_ais_bench_is_read(array, tmp_path):
    os.mkdir(str(tmp_path / "out"))
    np.save(str(tmp_path / "out" / "1_batch_0_3_0.npy"), array)
    assert results.read(str(tmp_path / "out"), 3).classes.tolist() == CLASSES


def test_order_of_the_files_does_not_matter(tmp_path, capsys):
    """Twelve files of one image; in msame's plain order 10 precedes 2."""
    labels = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 2]
    folder = put(tmp_path / "out", **{
        "_{}_batch_{}_{}_output_0__txt".format(
            image + 1, image, image + 1): "{} ".format(label)
        for image, label in enumerate(labels)})
    assert score.main(["--output", folder, "--labels",
                       labels_file(tmp_path, labels)]) == 0
    out = capsys.readouterr().out
    assert "accuracy 100.00% (12 of 12 images)" in out
    row = " ".join(map(str, labels))
    assert "\n{}\ngt\n{}\n".format(row, row) in out


def test_padding_does_not_count(tmp_path, capsys):
    """Five labels, batches of 3: the sixth result belongs to no image."""
    folder = put(tmp_path / "out", _1_batch_0_3_output_0__txt="1 1 1 ",
                 _2_batch_3_6_output_0__txt="1 2 9 ")
    assert score.main(["--output", folder, "--labels",
                       labels_file(tmp_path, [1, 1, 1, 1, 1])]) == 0
    assert capsys.readouterr().out.endswith(
        "accuracy 80.00% (4 of 5 images)\n  1 taken for 2: 1\n")


def test_missing_and_surplus_files_are_named(tmp_path, capsys):
    folder = put(tmp_path / "out", _1_batch_0_2_output_0__txt="1 1 ",
                 _3_batch_4_6_output_0__txt="1 1 ",
                 _4_batch_6_8_output_0__txt="1 1 ")
    assert score.main(["--output", folder, "--labels",
                       labels_file(tmp_path, [1, 1, 1, 1, 1])]) == 1
    out = capsys.readouterr().out
    assert "1 1 - - 1\ngt\n1 1 1 1 1\n" in out
    assert ("accuracy 100.00% (3 of 3 images; 2 of 5 have no result; surplus "
            "files: 1)") in out
    assert "missing: results of 2_batch_2_4.bin (images 2 to 3)" in out
    assert "surplus: 4_batch_6_8_output_0.txt (there are 5 labels)" in out


def test_confusions_come_largest_first(tmp_path, capsys):
    folder = put(tmp_path / "out", _1_batch_0_5_output_0__txt="9 9 4 7 7 ")
    score.main(["--output", folder, "--labels",
                labels_file(tmp_path, [4, 4, 9, 7, 1])])
    assert capsys.readouterr().out.endswith(
        "  4 taken for 9: 2\n  1 taken for 7: 1\n  9 taken for 4: 1\n")


def test_names_without_a_place_need_a_batch_size(tmp_path, capsys):
    folder = put(tmp_path / "out", _img10_output_0__txt="3 4 ",
                 _img9_output_0__txt="1 2 ", _img11_output_0__txt="5 6 ")
    for number in (9, 10, 11):          # from 1 on
        os.rename(os.path.join(folder, "img{}_output_0.txt".format(number)),
                  os.path.join(folder, "i{}_output_0.txt".format(number - 8)))
    arguments = ["--output", folder, "--labels", labels_file(
        tmp_path, [1, 2, 3, 4, 5, 6])]
    assert score.main(arguments) == 2
    assert "Give --batchsize" in capsys.readouterr().err
    assert score.main(arguments + ["--batchsize", "2"]) == 0
    out = capsys.readouterr().out
    assert "placed by the last number in their names" in out
    assert "accuracy 100.00%" in out
    os.remove(os.path.join(folder, "i1_output_0.txt"))
    assert score.main(arguments + ["--batchsize", "2"]) == 2
    assert "the 3 numbers from 0 or from 1 on" in capsys.readouterr().err
    put(tmp_path / "out", _1_batch_0_2_output_0__txt="1 2 ")
    assert score.main(arguments + ["--batchsize", "2"]) == 2
    assert "'i2_output_0.txt' does not" in capsys.readouterr().err


def test_the_stamped_folder_is_found(tmp_path, capsys):
    put(tmp_path / "202296_8_5_3_1", _1_batch_0_3_output_0__txt="7 2 1 ")
    arguments = ["--output", str(tmp_path), "--labels", labels_file(
        tmp_path, CLASSES)]
    assert score.main(arguments) == 0
    put(tmp_path / "2026_11_21-12_00_00", _1_batch_0_3_0__txt="7 2 1 \n")
    capsys.readouterr()
    assert score.main(arguments) == 2
    assert "Name one of them" in capsys.readouterr().err


@pytest.mark.parametrize("name, content, message", [
    ("1_batch_0_3_output_0__txt", "7 2 ", "it has 2 values"),
    ("1_batch_0_3_output_0__txt", "7 2 11 ", "not all of them classes"),
    ("1_batch_0_3_output_0__txt", "7 2 nan ", "not all of them classes"),
    ("1_batch_0_3_output_0__txt", "7 2 x ", "must hold numbers"),
    ("1_batch_0_3_output_0__txt", b"\xff\xfe", "must hold numbers"),
    ("1_batch_0_3_output_0__txt", "", "it has 0 values"),
    ("1_batch_0_1_output_0__txt", "nan " * 10, "must be finite"),
    ("1_batch_0_3_output_0__bin", b"", "0 bytes are neither"),
    ("1_batch_0_3_output_0__bin", b"1234567", "7 bytes are neither"),
    ("1_batch_0_3_output_0__bin", b"\xff" * 12, "12 bytes are neither"),
    ("1_batch_0_3_0__npy", b"\x93NUMPY\x01\x00", "no .npy array"),
    ("1_batch_0_3_output_1__txt", "7 2 1 ", "it has those of 1"),
    ("1_batch_3_0_output_0__txt", "7 2 1 ", "turned round"),
])
def test_damaged_results_are_one_line(name, content, message, tmp_path):
    folder = put(tmp_path / "out", **{"_" + name: content})
    with pytest.raises(UserError, match=message):
        results.read(folder, 3)


def test_ten_classes_are_not_taken_for_scores(tmp_path):
    folder = put(tmp_path / "out", _img0_output_0__txt="1 0 0 1 0 1 1 0 0 1 ")
    with pytest.raises(UserError, match="classes of as many images"):
        results.read(folder, 1, batch_size=1)


def test_a_batch_size_that_contradicts_the_names_is_refused(tmp_path):
    folder = put(tmp_path / "out", _1_batch_0_3_output_0__txt="7 2 1 ")
    with pytest.raises(UserError, match="they hold|hold 3 images each"):
        results.read(folder, 3, batch_size=2)


def test_inputs_are_not_taken_for_results(tmp_path, capsys):
    folder = put(tmp_path / "input", _1_batch_0_3__bin=bytes(12))
    assert score.main(["--output", folder, "--labels", labels_file(
        tmp_path, CLASSES)]) == 2
    assert "has inputs" in capsys.readouterr().err


def test_names_that_are_not_understood_are_said(tmp_path, capsys):
    folder = put(tmp_path / "out", davinci_1_batch_0_3_output0__txt="7 2 1 ",
                 notes__txt="x")
    assert score.main(["--output", folder, "--labels", labels_file(
        tmp_path, CLASSES)]) == 0
    out = capsys.readouterr().out
    assert "accuracy 100.00% (3 of 3 images)" in out
    assert "passed over: notes.txt" in out


def test_results_of_two_runs_are_refused(tmp_path):
    folder = put(tmp_path / "out", _1_batch_0_2_output_0__txt="1 1 ",
                 _1_batch_0_2_output_0__bin=bytes(8))
    with pytest.raises(UserError, match="has several"):
        results.read(folder, 2)
    folder = put(tmp_path / "two", _1_batch_0_2_output_0__txt="1 1 ",
                 _1_batch_0_1_output_0__txt="1 ")
    with pytest.raises(UserError, match="repeats images"):
        results.read(folder, 2)


@pytest.mark.parametrize("name, content, message", [
    ("labels.txt", b"1\nx\n", "must hold whole numbers"),
    ("labels.txt", b"1\n11\n", "must be 0 to 9"),
    ("labels.txt", b"", "has none"),
    ("labels.npy", b"", "must hold whole numbers"),
    ("labels.npy", b"\x93NUMPY\x01\x00v\x00{", "must hold whole numbers"),
    ("labels.csv", b"1,1", "must be labels.npy or labels.txt"),
    ("labels-idx1-ubyte", b"\x00\x00\x08\x01",
     "labels-idx1-ubyte' must"),
])
def test_bad_labels_are_one_line(name, content, message, tmp_path, capsys):
    folder = put(tmp_path / "out", _1_batch_0_2_output_0__txt="1 1 ")
    (tmp_path / name).write_bytes(content)
    assert score.main(["--output", folder, "--labels",
                       str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_labels_may_be_an_idx_file(tiny_set):
    labels = score.read_labels(os.path.join(
        tiny_set, "t10k-labels-idx1-ubyte"))
    assert labels.tolist() == [index % 10 for index in range(23)]


@pytest.mark.parametrize("output, message", [
    ("nowhere", "is no folder"), (".", "Run msame or ais_bench first")])
def test_no_results_are_one_line(output, message, tmp_path, monkeypatch,
                                 capsys):
    monkeypatch.chdir(tmp_path)
    assert score.main(["--output", output, "--labels",
                       labels_file(tmp_path, [1])]) == 2
    assert message in capsys.readouterr().err


def test_readers_survive_any_bytes(tmp_path):
    """Random and mutated bytes under each ending: classes or a UserError."""
    random = np.random.RandomState(0)
    good = tmp_path / "good.npy"
    np.save(str(good), np.eye(10, dtype=np.float32)[:3])
    seeds = {".npy": good.read_bytes(), ".txt": SCORES.encode("ascii"),
             ".bin": BINARY["float32 scores"].tobytes()}
    read = 0
    for trial in range(600):
        ending, seed = sorted(seeds.items())[trial % 3]
        content = bytearray(seed)
        for place in random.randint(0, len(content), random.randint(1, 9)):
            content[place] = random.randint(256)
        if trial % 5 == 0:
            content = content[:random.randint(len(content))]
        path = tmp_path / "fuzz" / ("1_batch_0_3_0" + ending)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(content))
        try:
            found = results.read(str(path.parent), 3)
            assert ((found.classes >= 0) & (found.classes <= 9)).all()
            read += 1
        except UserError as error:
            assert "\n" not in str(error)
        path.unlink()
    assert read > 50
