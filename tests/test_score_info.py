"""Scoring of videos: the results of N.bin against a .info; all by hand."""

import csv

import numpy as np
import pytest

from nonlocal_tf.export import score

# Six classes; the order of each row's scores is in its comment.
ROWS = [
    [0.9, 0.0, 0.04, 0.03, 0.02, 0.01],     # 0 2 3 4 5, not 1
    [0.1, 0.2, 0.3, 0.0, 0.15, 0.25],       # 2 5 1 4 0, not 3
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],         # 5 4 3 2 1, not 0
    [0.0, 0.6, 0.1, 0.2, 0.05, 0.05],       # 1 3 2 4 5, not 0
    [0.5, 0.1, 0.1, 0.1, 0.1, 0.1],         # 0 1 2 3 4, not 5
]
LABELS = [0, 5, -1, 1, 5]       # right, in the first five, none, right, wrong
EXPECTED = [
    "top-1 40.00%, top-5 60.00% of 5 videos",
    "  of the 4 that could be read top-1 50.00%, top-5 75.00%",
    "mean of the classes 66.67%",           # 0: 1 of 1, 1: 1 of 1, 5: 0 of 2
    "3 classes that occur, worst first:",
    "  class 5: top-1 0.00%, top-5 50.00% of 2",
    "  class 0: top-1 100.00%, top-5 100.00% of 1",
    "  class 1: top-1 100.00%, top-5 100.00% of 1",
]


def ais_bench(rows):
    return "".join("".join("%f " % each for each in row) + "\n"
                   for row in rows).encode("ascii")


def msame(rows):
    return "".join("".join("%g " % each for each in row) + "\n"
                   for row in rows).encode("ascii")


def raw(rows):
    return np.array(rows, "<f4").tobytes()


@pytest.fixture
def scored(tmp_path, capsys):
    """Scores files {name: bytes} against labels: exit code, output, error."""
    def run(files, *arguments, labels=LABELS, info=None):
        (tmp_path / "out").mkdir(exist_ok=True)
        for name, content in files.items():
            (tmp_path / "out" / name).write_bytes(content)
        path = tmp_path / "k400.info"
        path.write_text(info if info is not None else "".join(
            "{} {}\n".format(*pair) for pair in enumerate(labels)))
        code = score.main(["--output", str(tmp_path / "out"), "--labels",
                           str(path)] + list(arguments))
        return (code,) + tuple(capsys.readouterr())
    return run


@pytest.mark.parametrize("name, write", [
    ("{}_0.txt", ais_bench), ("{}_output_0.txt", msame),
    ("{}_0.bin", raw), ("{}_output_0.bin", raw)])
def test_rates_of_all_and_of_the_readable(name, write, scored):
    code, out, _ = scored({
        name.format(index): write([row]) for index, row in enumerate(ROWS)})
    lines = out.splitlines()
    assert code == 0 and lines[1:] == EXPECTED
    assert lines[0].endswith(
        "/out: 6 scores of each video, each file's videos by its name")


@pytest.mark.parametrize("shape", [(1, 6), (6,)])
def test_npy_is_read(shape, scored, tmp_path):
    (tmp_path / "out").mkdir()
    for index, row in enumerate(ROWS):
        np.save(str(tmp_path / "out" / "{}_0.npy".format(index)),
                np.array(row, "f4").reshape(shape))
    assert scored({})[1].splitlines()[1:] == EXPECTED


@pytest.mark.parametrize("name, write", [
    ("{}_0.txt", ais_bench), ("{}_output_0.bin", raw)])
def test_the_last_batch_may_be_filled_up(name, write, scored):
    rows = ROWS + [[0, 0, 0, 0, 0, 1]]
    code, out, _ = scored({
        name.format(batch): write(rows[2 * batch:2 * batch + 2])
        for batch in range(3)}, "--batchsize", "2")
    assert code == 0 and out.splitlines()[1:] == EXPECTED


def test_numbers_and_not_the_order_of_names_place_the_files(scored):
    """Twelve: in plain order 10 and 11 precede 2."""
    labels = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    code, out, _ = scored({
        "{}_0.txt".format(index): ais_bench([np.eye(6)[label]])
        for index, label in enumerate(labels)}, labels=labels)
    assert code == 0 and "top-1 100.00%, top-5 100.00% of 12 videos" in out


def test_lines_of_the_info_may_come_in_any_order(scored):
    files = {"{}_0.txt".format(index): ais_bench([row])
             for index, row in enumerate(ROWS)}
    code, out, _ = scored(files, info="3 1\n0 0\n4 5\n2 -1\n1 5\n")
    assert code == 0 and out.splitlines()[1:] == EXPECTED


def test_missing_and_surplus_files_are_named(scored):
    files = {"{}_0.txt".format(index): ais_bench([ROWS[index]])
             for index in (0, 2, 3)}
    code, out, _ = scored(dict(files, **{"9_0.txt": ais_bench([ROWS[0]])}))
    assert code == 1
    assert "top-1 66.67%, top-5 66.67% of 3 videos\n" in out
    assert "of the 2 that could be read top-1 100.00%" in out
    assert out.endswith(
        "Then give --batchsize): results of\n  1.bin (video 1)\n"
        "  4.bin (video 4)\nsurplus, as there are 5 videos:\n  9_0.txt\n")


def test_a_missing_batch_names_its_videos(scored):
    code, out, _ = scored({"1_0.txt": ais_bench(ROWS[2:4])},
                          "--batchsize", "2")
    assert code == 1 and out.endswith(
        "missing, and not in the score: results of\n  0.bin (videos 0 to 1)\n"
        "  2.bin (video 4)\n")


def test_a_result_that_no_readable_video_needs_is_not_missing(scored):
    code, out, _ = scored({
        "{}_0.txt".format(index): ais_bench([row])
        for index, row in enumerate(ROWS) if index != 2})
    assert code == 0 and out.splitlines()[1:] == EXPECTED


@pytest.mark.parametrize("content", [
    b"%d \n", b"%f \n", np.array([], "<i4"), np.array([], "<i8")])
def test_classes_without_scores_give_no_top_5(content, scored):
    def write(answer):
        return content % answer if isinstance(content, bytes) else np.array(
            [answer], content.dtype).tobytes()
    ending = "txt" if isinstance(content, bytes) else "bin"
    code, out, _ = scored({
        "{}_0.{}".format(index, ending): write(answer)
        for index, answer in enumerate([0, 2, 5, 1, 0])})
    assert code == 0 and out.splitlines()[1:] == [
        "top-1 40.00% of 5 videos",
        "  of the 4 that could be read top-1 50.00%",
        "mean of the classes 66.67%", "3 classes that occur, worst first:",
        "  class 5: top-1 0.00% of 2", "  class 0: top-1 100.00% of 1",
        "  class 1: top-1 100.00% of 1"]


def test_fp16_scores_need_the_number_of_classes(scored):
    files = {"{}_0.bin".format(index): np.array(row, "<f2").tobytes()
             for index, row in enumerate(ROWS)}
    code, _, error = scored(files)
    assert code == 2 and "Then give --classes" in error
    code, out, _ = scored({}, "--classes", "6")
    assert code == 0 and out.splitlines()[1:] == EXPECTED


def test_the_worst_classes_are_printed_and_all_are_written(scored, tmp_path):
    """Twelve classes with two videos each, one of them wrong in 10 and 11."""
    labels = [index // 2 for index in range(24)]
    answers = [0 if index in (20, 22) else index // 2 for index in range(24)]
    table = tmp_path / "classes.csv"
    code, out, _ = scored({
        "{}_0.txt".format(index): b"%d \n" % answer
        for index, answer in enumerate(answers)}, "--class_table", str(table),
        labels=labels)
    assert code == 0
    assert "10 of the 12 classes that occur, worst first:\n" in out
    assert "  class 10: top-1 50.00% of 2\n  class 11: top-1 50.00%" in out
    assert "  and 2 more; --class_table FILE.csv writes them all\n" in out
    with open(str(table), newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["class", "name", "videos", "readable", "top1", "top5"]
    assert rows[11] == ["10", "10", "2", "2", "0.5", "0.5"]
    assert len(rows) == 13


def test_an_older_summary_in_the_folder_is_left_alone(scored, tmp_path):
    """The guide deletes sumary.json first; newer ones lie beside."""
    stamped = tmp_path / "out" / "2026_11_21-12_00_00"
    stamped.mkdir(parents=True)
    (tmp_path / "out" / "2026_11_21-12_00_00_summary.json").write_text("{}")
    (stamped / "sumary.json").write_text("{}")
    for index, row in enumerate(ROWS):
        (stamped / "{}_0.txt".format(index)).write_bytes(ais_bench([row]))
    code, out, _ = scored({})
    assert code == 0 and out.splitlines()[1:] == EXPECTED
    assert (stamped / "sumary.json").exists()


@pytest.mark.parametrize("files, arguments, message", [
    ({"0_0.txt": ais_bench(ROWS[:2])}, [], "it has 2 rows, 12 values. Give"),
    ({"0_0.txt": ais_bench(ROWS[:1])}, ["--batchsize", "2"], "it has 1 rows"),
    ({"0_0.bin": raw(ROWS[:1])}, ["--batchsize", "5"], "24 bytes. Give"),
    ({"0_0.txt": ais_bench(ROWS[:1]), "1_0.txt": ais_bench(ROWS[:1]),
      "3_0.txt": b"1 2 "}, [], "3_0.txt' must hold 1 classes"),
    ({"0_0.txt": b"1 x \n"}, [], "must hold numbers"),
    ({"0_0.txt": b"nan " * 6}, [], "must be finite"),
    ({"0_0.npy": b"\x93NUMPY\x01\x00"}, [], "must hold numbers"),
    ({"0_0.txt": ais_bench(ROWS[:1]), "0_output_0.txt": msame(ROWS[:1])}, [],
     "repeats videos of another"),
    ({"tsm_output_0.txt": msame(ROWS[:1])}, [], "the folder of .bin files"),
    ({"2_0.txt": ais_bench(ROWS[:1])}, [], "it has none of theirs"),
    ({"7_0.txt": ais_bench(ROWS[:1])}, [], "it has none of theirs"),
    ({"0_0.txt": ais_bench(ROWS[:1])}, ["--classes", "5"], "or 5 scores"),
    ({"0_0.txt": ais_bench([[0.1, 0.9]])}, [], "must be below 2"),
])
def test_unusable_results_are_one_line(files, arguments, message, scored):
    code, _, error = scored(files, *arguments)
    assert code == 2 and message in error and error.count("\n") == 1


@pytest.mark.parametrize("info, message", [
    ("", "is empty"), ("0 1\n1\n", "line 2 is '1'"), ("0 1\n0 2\n", "line 2"),
    ("0 1\n2 2\n", "line 2 is '2 2'"), ("0 -2\n", "line 1 is '0 -2'"),
    ("0 a\n", "line 1 is '0 a'"), ("video.mp4 1\n", "INDEX LABEL"),
    ("0 1.0\n", "INDEX LABEL"),
])
def test_a_bad_info_is_one_line(info, message, scored):
    code, _, error = scored({"0_0.txt": ais_bench(ROWS[:1])}, info=info)
    assert code == 2 and message in error and error.count("\n") == 1


def test_a_table_of_digits_is_refused(tmp_path, capsys):
    assert score.main(["--output", str(tmp_path), "--labels", "labels.npy",
                       "--class_table", "x.csv"]) == 2
    assert "--class_table needs --labels with .info" in capsys.readouterr().err


def test_two_classes_in_raw_files_are_not_one_int64(scored):
    code, out, _ = scored({"0_0.bin": raw([[-1.5, 0.25]]),
                           "1_0.bin": raw([[1.0, 0.0]])}, labels=[1, 1])
    assert code == 0 and "2 scores of each video" in out
    assert "top-1 50.00%, top-5 100.00% of 2 videos" in out


def test_the_manifest_tells_how_many_videos_a_file_has(scored, tmp_path):
    (tmp_path / "manifest.json").write_text(
        '{"shape": [12, 8], "views": {"clips": 2, "crops": 3}}')
    code, out, _ = scored({"0_0.bin": raw(ROWS[:2]), "1_0.bin": raw(ROWS[2:4]),
                           "2_0.bin": raw(ROWS[4:] + ROWS[:1])})
    assert code == 0 and out.splitlines()[1:] == EXPECTED


def test_scores_that_nobody_needs_may_be_infinite(scored):
    """Of a video that could not be read; of any other they may not."""
    rows = [list(row) for row in ROWS]
    rows[2][0] = float("nan")
    files = {"{}_0.bin".format(index): raw([row])
             for index, row in enumerate(rows)}
    code, out, _ = scored(files)
    assert code == 0 and out.splitlines()[1:] == EXPECTED
    code, _, error = scored(files, labels=[0, 5, 1, 1, 5])
    assert code == 2 and "must be finite" in error
