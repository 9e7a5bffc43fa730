"""The rehearsal writes what ais_bench writes; every expected text is by hand.

The lines of the console are those that a model of Ascend's model zoo shows,
without its progress bar.
"""

import json
import os
import re
import time

import numpy as np
import pytest
import tensorflow as tf
from rehearsed import feed, write_model

from nonlocal_tf.export import ais_bench, ais_bench_inputs

tf1 = tf.compat.v1

# np.savetxt with "%f" or "%d", a blank after each; a row a last dimension.
GOLDEN = [
    (np.array([7, 2, 1], np.int32), "7 2 1 \n"),
    (np.array([[1, 2], [3, 4]], np.int64), "1 2 \n3 4 \n"),
    (np.arange(1, 9, dtype=np.int32).reshape(2, 2, 2),
     "1 2 \n3 4 \n5 6 \n7 8 \n"),
    (np.array([[0.5, 1e-7], [123456789, -1 / 3]], np.float32),
     "0.500000 0.000000 \n123456792.000000 -0.333333 \n"),
    (np.array([0.1], np.float16), "0.099976 \n"),
    (np.array([np.inf, np.nan], np.float32), "inf nan \n"),
    (np.array([True, False]), "1 0 \n"),
    (np.array([200], np.uint8), "200 \n"),
]

CONSOLE = """\
[INFO] acl init success
[INFO] open device 3 success
[INFO] create new context
[INFO] load model MODEL success
[INFO] create model description success
[INFO] try get model batchsize:2
[INFO] output path:OUT/STAMP
[INFO] get filesperbatch files0 size:12 tensor0size:24 filesperbatch:2 runcount:2
[INFO] warm up 1 done
[INFO] -----------------Performance Summary------------------
[INFO] NPU_compute_time (ms): min = T, max = T, mean = T, median = T, percentile(99%) = T
[INFO] throughput 1000*batchsize.mean(2)/NPU_compute_time.mean(T): T
[INFO] ------------------------------------------------------
[INFO] unload model success, model Id is 1
[INFO] end to reset device 3
[INFO] end to finalize acl
"""     # noqa: E501


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """x [2, 3] -> the largest's place, and 2 x: int32 [2], float32 [2, 3]."""
    path = tmp_path_factory.mktemp("models") / "double.pb"
    return write_model(path, [2, 3])


@pytest.fixture
def bench(model, tmp_path, capsys):
    """Runs with --output OUT and --output_dirname r: code, output, error."""
    def run(*arguments):
        code = ais_bench.main([
            "--model", model, "--output", str(tmp_path / "out"),
            "--output_dirname", "r"] + list(arguments))
        return (code,) + tuple(capsys.readouterr())
    return run


def result(tmp_path, name):
    return (tmp_path / "out" / "r" / name).read_text()


@pytest.mark.parametrize("array, text", GOLDEN)
def test_text_is_that_of_ais_bench(array, text):
    assert ais_bench.text(array) == text


def test_stamp_has_zeros():
    when = time.strptime("2022 9 6 8 5 3", "%Y %m %d %H %M %S")
    assert ais_bench._stamp(when) == "2022_09_06-08_05_03"


def test_a_folder_gives_ais_benchs_console_files_and_summary(
        model, tmp_path, capsys):
    """Three files of one sample, two to a batch: the fourth fills up."""
    inputs = feed(tmp_path / "in", _2=[1, 5, 2], _10=[0.1, 0, -1],
                  _1=[0, 0, 9])
    (tmp_path / "in" / "notes.txt").write_text("not picked")
    output = tmp_path / "out"
    arguments = ["--model", model, "--input", inputs, "--output", str(output),
                 "--outfmt", "TXT", "--device", "3", "--loop", "2"]
    assert ais_bench.main(arguments) == 0
    text = capsys.readouterr().out
    for part, name in ((model, "MODEL"), (str(output), "OUT")):
        text = text.replace(part, name)
    text = re.sub(r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d(?=\n)", "STAMP", text)
    assert re.sub(r"\d+\.\d+(e-\d+)?", "T", text) == CONSOLE

    folder, file = sorted(os.listdir(str(output)))
    assert file == folder + "_summary.json"
    assert sorted(os.listdir(str(output / folder))) == [
        "10_0.txt", "10_1.txt", "1_0.txt", "1_1.txt", "2_0.txt", "2_1.txt"]
    assert (output / folder / "10_0.txt").read_text() == "0 \n"
    assert (output / folder / "2_0.txt").read_text() == "1 \n"
    assert (output / folder / "10_1.txt").read_text() == (
        "0.200000 0.000000 -2.000000 \n")
    found = json.loads((output / file).read_text())
    assert list(found) == [
        "filesinfo", "args", "NPU_compute_time", "H2D_latency", "D2H_latency",
        "npu_compute_time_list", "throughput", "pid"]
    assert found["filesinfo"] == {
        str(number): {
            "infiles": ["{}/{}.bin".format(inputs, stem)],
            "outfiles": ["{}/{}/{}_{}.txt".format(output, folder, stem, index)
                         for index in range(2)]}
        for number, stem in enumerate(("1", "2", "10"))}
    assert found["args"][1:] == arguments
    times = found["NPU_compute_time"]
    assert list(times) == ["min", "max", "mean", "median", "percentile(99%)",
                           "count"]
    assert times["count"] == 4 == len(found["npu_compute_time_list"])
    assert found["throughput"] == pytest.approx(2000 / times["mean"])


def test_a_whole_batch_in_a_file_is_one_result(bench, tmp_path):
    inputs = feed(tmp_path / "in", _0=[[1, 5, 2], [0.1, 0, -1]])
    code, out, _ = bench("--input", inputs, "--outfmt", "TXT",
                         "--batchsize", "2")
    assert code == 0 and "filesperbatch:1 runcount:1" in out
    assert "try get model batchsize" not in out
    assert result(tmp_path, "0_0.txt") == "1 0 \n"
    assert result(tmp_path, "0_1.txt") == (
        "2.000000 10.000000 4.000000 \n0.200000 0.000000 -2.000000 \n")


def test_what_fills_the_last_batch_is_its_own_first_file(model, tmp_path):
    """Not the first of all, as the batch before shows by its values."""
    feed(tmp_path / "in", a=[0, 1, 0], b=[0, 2, 0], c=[3, 0, 0])
    from nonlocal_tf.export import rehearsal
    entry = rehearsal.Input("input", np.dtype("<f4"), [2, 3])
    made = ais_bench_inputs.batches([entry], str(tmp_path / "in"))
    assert [batch.kept for batch in made] == [2, 1]
    array, = ais_bench_inputs.arrays([entry], made[1], "zero")
    assert array.tolist() == [[3, 0, 0], [3, 0, 0]]


def test_npy_goes_in_and_out(bench, tmp_path):
    (tmp_path / "in").mkdir()
    np.save(str(tmp_path / "in" / "a.v1.npy"), np.array([1, 5, 2], "f4"))
    np.save(str(tmp_path / "in" / "b.npy"), np.array([[7, 5, 2]], "f4"))
    assert bench("--input", str(tmp_path / "in"), "--outfmt", "NPY")[0] == 0
    assert np.load(str(tmp_path / "out" / "r" / "a_1.npy")).tolist() == [
        [2, 10, 4]]
    assert np.load(str(tmp_path / "out" / "r" / "b_0.npy")).tolist() == [0]


def test_bin_is_the_raw_array_and_the_default(bench, tmp_path):
    inputs = feed(tmp_path / "in", a=[1, 5, 2], b=[7, 5, 2])
    files = ",".join(os.path.join(inputs, name) for name in (
        "b.bin", "a.bin"))
    assert bench("--input", files)[0] == 0
    assert (tmp_path / "out" / "r" / "a_0.bin").read_bytes() == bytes(
        [1, 0, 0, 0])
    assert (tmp_path / "out" / "r" / "b_1.bin").read_bytes() == np.array(
        [14, 10, 4], "<f4").tobytes()


def test_without_input_zeros_are_taken(bench, tmp_path):
    assert bench("--outfmt", "TXT", "--out_nodes", "double")[0] == 0
    assert os.listdir(str(tmp_path / "out" / "r")) == [
        "pure_infer_data_0.txt"]
    assert result(tmp_path, "pure_infer_data_0.txt") == (
        "0.000000 0.000000 0.000000 \n" * 2)


def test_without_output_the_times_alone_are_told(model, capsys, tmp_path):
    assert ais_bench.main(["--model", model, "--loop", "3", "--pure_data_type",
                           "random", "--display_all_summary", "1"]) == 0
    out = capsys.readouterr().out
    assert "output path" not in out and "H2D_latency (ms): min = 0.0" in out


def test_an_open_batch_is_set_by_dymbatch(tmp_path, capsys):
    model = write_model(tmp_path / "open.pb", [None, 3])
    inputs = feed(tmp_path / "in", a=[1, 5, 2])
    arguments = ["--model", model, "--input", inputs]
    assert ais_bench.main(arguments + ["--dymBatch", "4"]) == 0
    assert "filesperbatch:4 runcount:1" in capsys.readouterr().out
    assert ais_bench.main(arguments) == 2
    assert "Give --dymBatch" in capsys.readouterr().err


def test_each_input_has_its_folder_or_its_part_of_the_list(tmp_path, capsys):
    with tf.Graph().as_default() as graph:
        a, b = [tf1.placeholder(tf.float32, [2, 1], name) for name in "ab"]
        tf.subtract(a, b, name="output")
        (tmp_path / "two.pb").write_bytes(
            graph.as_graph_def().SerializeToString())
    first = feed(tmp_path / "first", x=[5], y=[6])
    second = feed(tmp_path / "second", x=[1], y=[4])
    lists = [first + "," + second, ",".join(
        os.path.join(folder, name) for folder in (first, second)
        for name in ("x.bin", "y.bin"))]
    for number, text in enumerate(lists):
        assert ais_bench.main([
            "--model", str(tmp_path / "two.pb"), "--input", text, "--output",
            str(tmp_path / "out"), "--output_dirname", str(number), "--outfmt",
            "TXT"]) == 0
        folder = tmp_path / "out" / str(number)
        assert (folder / "x_0.txt").read_text() == "4.000000 \n"
        assert (folder / "y_0.txt").read_text() == "2.000000 \n"
    capsys.readouterr()
    feed(tmp_path / "second", z=[1])
    for text in (lists[0], first, lists[1] + "," + first + "/x.bin"):
        assert ais_bench.main(["--model", str(tmp_path / "two.pb"),
                               "--input", text]) == 2
    errors = capsys.readouterr().err
    assert "2 to 'a', 3 to 'b'" in errors and "got 1 folders" in errors
    assert "got 5 files" in errors


@pytest.mark.parametrize("arguments, message", [
    (["--loop", "0"], "--loop must be 1"),
    (["--device", "256"], "--device must be 0 to 255"),
    (["--warmup_count", "-1"], "--warmup_count must be 0"),
    (["--outfmt", "CSV"], "invalid choice: 'CSV'"),
    (["--run_mode", "full"], "--run_mode is no flag"),
    (["--batchsize", "1"], "must be that of the graph, 2"),
    (["--dymBatch", "4096"], "--dymBatch must be 1 to 2048"),
    (["--dymBatch", "4"], "sets an open batch"),
    (["--model", "x.om"], "runs the .pb that atc was given"),
    (["--input", "IN/gone.bin"], "is not there"),
    (["--input", "IN/one.bin,IN"], "is another kind"),
    (["--input", "IN/link"], "not through relative links"),
    (["--input", "IN/none"], "has none"),
    (["--input", "IN/short.bin"], "must hold 24 bytes, 2 x 3 float32"),
    (["--input", "IN/long.bin"], "it holds 28"),
    (["--input", "IN/third.bin"], "fewer samples"),
    (["--input", "IN/empty.bin"], "it holds 0"),
    (["--input", "IN/one.bin,IN/row.bin"], "as many bytes each"),
    (["--input", "IN/double.npy"], "must be float32 in C order"),
    (["--input", "IN/turned.npy"], "in Fortran's order"),
    (["--input", "IN/broken.npy"], "must be an array of NumPy"),
    (["--input", "IN/good.npy,IN/one.bin"], "all .npy or none"),
    (["--input", "IN/dots"], "ais_bench overwrites results"),
    (["--input", "IN/one.bin,"], "is not there"),
    (["--input", "IN/a b.bin"], "letters, digits and _ . - / alone"),
    (["--output", "OUT/a b"], "letters, digits and _ . - / alone"),
    (["--output_dirname", "/r"], "must be a name in --output"),
    (["--output_dirname", ".."], "must be a name in --output"),
    (["--output_dirname", "full"], "leaves earlier results"),
    (["--out_nodes", "none"], "(those that nothing reads: output, double)"),
])
def test_what_ais_bench_does_silently_wrong_is_one_line(
        model, arguments, message, tmp_path, capsys):
    inputs = feed(tmp_path / "in", one=np.zeros([2, 3]), short=np.zeros(5),
                  long=np.zeros(7), row=np.zeros(3), third=np.zeros(2),
                  empty=[])
    for name, array in (
            ("double", np.zeros([1, 3])),           # bytes of a whole batch
            ("turned", np.asfortranarray(np.zeros([2, 3], "f4"))),
            ("good", np.zeros([2, 3], "f4"))):
        np.save(str(tmp_path / "in" / (name + ".npy")), array)
    (tmp_path / "in" / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{")
    (tmp_path / "in" / "none").mkdir()
    (tmp_path / "in" / "link").symlink_to("none")
    feed(tmp_path / "in" / "dots", **{
        "a.0": np.zeros([2, 3]), "a.1": np.zeros([2, 3])})
    output = tmp_path / "out"
    (output / "full").mkdir(parents=True)
    (output / "full" / "0_0.txt").write_text("1 \n")
    arguments = [each.replace("IN", inputs).replace("OUT", str(output))
                 for each in arguments]
    assert ais_bench.main(["--model", model, "--output", str(output)]
                          + arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(str(output)) == ["full"]


def test_a_dirname_alone_is_refused(model, capsys):
    assert ais_bench.main(["--model", model, "--output_dirname", "r"]) == 2
    assert "got 'r' without --output" in capsys.readouterr().err


def test_an_output_that_files_cannot_share_leaves_nothing(tmp_path, capsys):
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [2, 3], "input")
        tf.reduce_sum(x, name="output")
        (tmp_path / "sum.pb").write_bytes(
            graph.as_graph_def().SerializeToString())
    inputs = feed(tmp_path / "in", a=[1, 5, 2], b=[1, 1, 1])
    assert ais_bench.main(["--model", str(tmp_path / "sum.pb"), "--input",
                           inputs, "--output", str(tmp_path / "out")]) == 2
    assert "output 0 is []" in capsys.readouterr().err
    assert os.listdir(str(tmp_path / "out")) == []
