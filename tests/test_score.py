"""Scoring of results by hand: msame's and ais_bench's files, in any order."""

import os

import numpy as np
import pytest

from nonlocal_tf.export import results, score


def put(folder, files):
    """Writes files: {name: text or bytes}."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(
            content.encode("ascii") if isinstance(content, str) else content)
    return str(folder)


@pytest.fixture
def scored(tmp_path, capsys):
    """Scores files against labels: exit code, output, error."""
    def run(files, labels, *arguments):
        text = "".join("{}\n".format(label) for label in labels)
        (tmp_path / "truth.txt").write_text(text)
        code = score.main(["--output", put(tmp_path / "out", files),
                           "--labels", str(tmp_path / "truth.txt")]
                          + list(arguments))
        return (code,) + tuple(capsys.readouterr())
    return run


SCORES = ("0 0.1 0 0 0 0 0 0.9 0 0 \n"
          "0 0 1 0 0 0 0 0 0 0 \n"
          "1e-05 0.99999 0 0 0 0 0 0 0 0 \n")
CLASSES = [7, 2, 1]
ONE_HOT = np.eye(10, dtype=np.float32)[CLASSES]


@pytest.mark.parametrize("name, content", [
    ("_output_0.txt", "7 2 1 "),            # msame, one dimension
    ("_output_0.txt", "7 \n2 \n1 \n"),      # msame, [3, 1]
    ("_output_0.txt", SCORES),              # msame, [3, 10]
    ("_0.txt", "7 2 1 \n"),                 # ais_bench, %d
    ("_0.txt", "7.000000 2.000000 1.000000 \n"),
    ("_0.txt", SCORES.replace("1e-05", "0.000010")),        # %f
    ("_output_0.bin", np.array(CLASSES, "<i4").tobytes()),
    ("_output_0.bin", np.array(CLASSES, "<i8").tobytes()),
    ("_output_0.bin", np.array(CLASSES, "<f4").tobytes()),
    ("_output_0.bin", (ONE_HOT * 0.3).astype("<f4").tobytes()),
    ("_0.bin", ONE_HOT.astype("<f2").tobytes()),
])
def test_every_form_reads_as_the_same_classes(name, content, tmp_path):
    folder = put(tmp_path / "out", {"1_batch_0_3" + name: content})
    assert results.read(folder, 3).classes.tolist() == CLASSES


@pytest.mark.parametrize("array", [np.array(CLASSES, "<i4"), ONE_HOT])
def test_npy_of_ais_bench_is_read(array, tmp_path):
    np.save(str(tmp_path / "1_batch_0_3_0.npy"), array)
    assert results.read(str(tmp_path), 3).classes.tolist() == CLASSES


@pytest.mark.parametrize("content", [
    np.array([2, 0, 1], "<i4"), np.array([2, 0, 1], "<i8"),
    np.eye(3)[[2, 0, 1]].astype("<f4"), np.eye(3)[[2, 0, 1]].astype("<f2")])
def test_classes_may_be_fewer_than_ten(content, scored):
    files = {"1_batch_0_3_output_0.bin": content.tobytes()}
    code, out, _ = scored(files, [2, 0, 0], "--classes", "3")
    assert code == 0 and "accuracy 66.67% (2 of 3 images)" in out
    code, _, error = scored(files, [2, 0, 3], "--classes", "3")
    assert code == 2 and "0 to 2, one for each image" in error


def test_order_of_the_files_does_not_matter(scored):
    """Twelve files of one image; in msame's plain order 10 precedes 2."""
    labels = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 2]
    code, out, _ = scored({
        "{}_batch_{}_{}_output_0.txt".format(image + 1, image, image + 1):
        "{} ".format(label) for image, label in enumerate(labels)}, labels)
    assert code == 0 and "accuracy 100.00% (12 of 12 images)" in out
    row = " ".join(map(str, labels))
    assert "\n{}\ngt\n{}\n".format(row, row) in out


def test_padding_does_not_count(scored):
    """Five labels, batches of 3: the sixth result belongs to no image."""
    code, out, _ = scored({"1_batch_0_3_output_0.txt": "1 1 1 ",
                           "2_batch_3_6_output_0.txt": "1 2 9 "}, [1] * 5)
    assert code == 0 and out.endswith(
        "accuracy 80.00% (4 of 5 images)\n  1 taken for 2: 1\n")


def test_missing_and_surplus_files_are_named(scored):
    code, out, _ = scored({"1_batch_0_2_output_0.txt": "1 1 ",
                           "3_batch_4_6_output_0.txt": "1 1 ",
                           "4_batch_6_8_output_0.txt": "1 1 "}, [1] * 5)
    assert code == 1 and "1 1 - - 1\ngt\n1 1 1 1 1\n" in out
    assert ("accuracy 100.00% (3 of 3 images; 2 of 5 have no result; surplus "
            "files: 1)") in out
    assert "missing: results of 2_batch_2_4.bin (images 2 to 3)" in out
    assert "surplus: 4_batch_6_8_output_0.txt (there are 5 labels)" in out


def test_confusions_come_largest_first(scored):
    _, out, _ = scored({"1_batch_0_5_output_0.txt": "9 9 4 7 7 "},
                       [4, 4, 9, 7, 1])
    assert out.endswith(
        "  4 taken for 9: 2\n  1 taken for 7: 1\n  9 taken for 4: 1\n")


def test_another_output_can_be_scored(scored):
    code, out, error = scored({"1_batch_0_3_output_1.txt": SCORES}, CLASSES)
    assert code == 2 and "it has those of 1. Name another" in error
    assert scored({}, CLASSES, "--output_index", "1")[0] == 0


def test_names_without_a_place_need_a_batch_size(scored, tmp_path):
    labels = [1, 2, 3, 4, 5, 6]
    code, _, error = scored({
        "i2_output_0.txt": "3 4 ", "i1_output_0.txt": "1 2 ",
        "i3_output_0.txt": "5 6 "}, labels)
    assert code == 2 and "Give --batchsize" in error
    code, out, _ = scored({}, labels, "--batchsize", "2")
    assert code == 0 and "accuracy 100.00%" in out
    assert "placed by the last number in their names" in out
    (tmp_path / "out" / "i1_output_0.txt").unlink()
    code, _, error = scored({}, labels, "--batchsize", "2")
    assert code == 2 and "the 3 numbers from 0 or from 1 on" in error
    code, _, error = scored(
        {"1_batch_0_2_output_0.txt": "1 2 "}, labels, "--batchsize", "2")
    assert code == 2 and "'i2_output_0.txt' does not" in error


def test_the_stamped_folder_is_found(scored, tmp_path):
    """One that a killed run left is never read."""
    put(tmp_path / "out", {})
    put(tmp_path / "out" / "202296_8_5_3_1", {
        "1_batch_0_3_output_0.txt": "7 2 1 "})
    part = put(tmp_path / "out" / "202296_8_9_1_1.x7.part", {
        "1_batch_0_3_output_0.txt": "0 0 0 "})
    code, out, _ = scored({}, CLASSES)
    assert code == 0 and "accuracy 100.00% (3 of 3 images)" in out
    code, _, error = scored({}, CLASSES, "--output", part)
    assert code == 2 and "what a killed run left" in error
    put(tmp_path / "out" / "2026_11_21-12_00_00", {
        "1_batch_0_3_0.txt": "7 2 1 \n"})
    code, _, error = scored({}, CLASSES)
    assert code == 2 and "Name one of them" in error


@pytest.mark.parametrize("name, content, message", [
    ("1_batch_0_3_output_0.txt", "7 2 ", "it has 2 values"),
    ("1_batch_0_3_output_0.txt", "7 2 11 ", "not all of them classes"),
    ("1_batch_0_3_output_0.txt", "7 2 nan ", "not all of them classes"),
    ("1_batch_0_3_output_0.txt", "7 2 x ", "must hold numbers"),
    ("1_batch_0_3_output_0.txt", b"\xff\xfe", "must hold numbers"),
    ("1_batch_0_1_output_0.txt", "nan " * 10, "must be finite"),
    ("1_batch_0_3_output_0.bin", b"1234567", "7 bytes are neither"),
    ("1_batch_0_3_output_0.bin", b"\xff" * 12, "12 bytes are neither"),
    ("1_batch_0_3_0.npy", b"\x93NUMPY\x01\x00", "must hold numbers"),
    ("1_batch_3_0_output_0.txt", "7 2 1 ", "or holds none by its name"),
    ("1_batch_0_3.bin", bytes(12), "has inputs"),
    ("notes.txt", "x", "Run msame or ais_bench first"),
])
def test_unusable_results_are_one_line(name, content, message, scored):
    code, _, error = scored({name: content}, CLASSES)
    assert code == 2 and message in error and error.count("\n") == 1


@pytest.mark.parametrize("name, content", [
    ("1_batch_0_2_output_0.bin", bytes(8)), ("1_batch_0_1_0.txt", "1 ")])
def test_results_of_two_runs_are_refused(name, content, scored):
    code, _, error = scored({"1_batch_0_2_output_0.txt": "1 1 ",
                             name: content}, [1, 1])
    assert code == 2 and "repeats images of another file" in error


@pytest.mark.parametrize("name, content, message", [
    ("labels.txt", b"1\nx\n", "must hold numbers"),
    ("labels.txt", b"1\n11\n", "must be whole numbers, 0 to 9"),
    ("labels.txt", b"1\n1.5\n", "must be whole numbers, 0 to 9"),
    ("labels.txt", b"", "must be whole numbers, 0 to 9"),
    ("labels.npy", b"\x93NUMPY\x01\x00v\x00{", "must hold numbers"),
    ("labels.csv", b"1,1", "must be labels.npy or labels.txt"),
    ("labels-idx1-ubyte", b"\x00\x00\x08\x01", "labels-idx1-ubyte' must"),
])
def test_bad_labels_are_one_line(name, content, message, tmp_path, scored):
    (tmp_path / name).write_bytes(content)
    code, _, error = scored({"1_batch_0_2_output_0.txt": "1 1 "}, [],
                            "--labels", str(tmp_path / name))
    assert code == 2 and message in error and error.count("\n") == 1


def test_labels_may_be_an_idx_file(tiny_set):
    labels = score.read_labels(os.path.join(
        tiny_set, "t10k-labels-idx1-ubyte"))
    assert labels.tolist() == [index % 10 for index in range(23)]
