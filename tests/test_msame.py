"""The rehearsal writes what msame writes; every expected text is by hand."""

import datetime
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from rehearsed import feed, write_model
from support import ROOT

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import msame

tf1 = tf.compat.v1

# From the facts about msame: each value and a blank; a line's end after each
# last dimension of two or more; six significant digits of C++ streams.
GOLDEN = [
    (np.array([7, 2, 1, 0], np.int32), "7 2 1 0 "),
    (np.array([[1, 2], [3, 4]], np.int64), "1 2 \n3 4 \n"),
    (np.arange(1, 9, dtype=np.int32).reshape(2, 2, 2),
     "1 2 \n3 4 \n5 6 \n7 8 \n"),
    (np.array([[0.5, 1e-5, 123456789], [1 / 3, -0.0, 1e10]], np.float32),
     "0.5 1e-05 1.23457e+08 \n0.333333 -0 1e+10 \n"),
    (np.array([0.1], np.float16), "0.0999756 "),
    (np.array([np.inf, -np.inf, np.nan], np.float32), "inf -inf nan "),
    (np.array([True, False]), "1 0 "),
    (np.array(5, np.int32), "5 "),
]

CONSOLE = """\
[INFO] acl init success
[INFO] open device 3 success
[INFO] create context success
[INFO] create stream success
[INFO] get run mode success
[INFO] load model MODEL success
[INFO] create model description success
[INFO] get input dynamic gear count success
[INFO] create model output success
OUT/STAMP
[INFO] start to process file:IN/one.bin
Inference time: TIMEms
Inference time: TIMEms
[INFO] get max dynamic batch size success
[INFO] output data success
Inference average time: LONG ms
Inference average time without first time: LONG ms
[INFO] destroy model input success
[INFO] unload model success, model Id is 1
[INFO] pid: PID Execute sample success
[INFO] end to destroy stream
[INFO] end to destroy context
[INFO] end to reset device is 3
[INFO] end to finalize acl
"""

FOLDER_LINES = """\
[INFO] start to process file:IN/10.bin
Inference time: TIMEms
[INFO] get max dynamic batch size success
[INFO] output data success
[INFO] destroy model input success
[INFO] start to process file:IN/9.bin
Inference time: TIMEms
[INFO] get max dynamic batch size success
[INFO] output data success
[INFO] destroy model input success
Inference average time : SHORT ms
Inference average time without first time: SHORT ms
[INFO] unload model success, model Id is 1
"""


@pytest.mark.parametrize("array, text", GOLDEN)
def test_text_is_that_of_msame(array, text):
    assert msame._text(array) == text


def test_text_of_bytes_is_refused():
    with pytest.raises(UserError, match="raw characters"):
        msame._text(np.array([1], np.uint8))


def test_stamp_has_no_zeros():
    when = datetime.datetime(2022, 9, 6, 8, 5, 3, 123456)
    assert msame._stamp(when) == "202296_8_5_3_123456"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """x [2, 3] -> the largest's place, and 2 x: int32 [2], float32 [2, 3]."""
    path = tmp_path_factory.mktemp("models") / "double.pb"
    return write_model(path, [2, 3])


def masked(text, *names):
    """Console output without what differs from run to run."""
    for pattern, name in names:
        text = text.replace(pattern, name)
    text = re.sub(r"\d+_\d+_\d+_\d+_\d+(?=\n)", "STAMP", text)
    text = re.sub(r"time: [\d.e+-]+ms", "time: TIMEms", text)
    text = re.sub(r"\d+\.\d{6} ms", "LONG ms", text)
    text = re.sub(r"\d+\.\d\d ms", "SHORT ms", text)
    return re.sub(r"pid: \d+", "pid: PID", text)


def only_folder(path):
    name, = os.listdir(str(path))
    return path / name


def test_a_file_gives_msames_console_and_files(model, tmp_path, capsys):
    inputs = feed(tmp_path / "in", one=[[1, 5, 2], [0.1, 0, -1]])
    output = tmp_path / "out"
    assert msame.main([
        "--model", model, "--input", inputs + "/one.bin ", "--output",
        str(output), "--outfmt", "TXT", "--loop", "2", "--device", "3"]) == 0
    assert masked(capsys.readouterr().out, (model, "MODEL"), (
        inputs, "IN"), (str(output), "OUT")) == CONSOLE
    results = only_folder(output)
    assert sorted(os.listdir(str(results))) == [
        "double_output_0.txt", "double_output_1.txt"]
    assert (results / "double_output_0.txt").read_text() == "1 0 "
    assert (results / "double_output_1.txt").read_text() == (
        "2 10 4 \n0.2 0 -2 \n")


def test_a_folder_is_taken_in_plain_order(model, tmp_path, capsys):
    inputs = feed(tmp_path / "in", _9=[[1, 5, 2]] * 2, _10=[[1, 2, 5]] * 2)
    (tmp_path / "in" / ".hidden").write_text("x")
    output = tmp_path / "out"
    assert msame.main(["--model", model, "--input", inputs, "--output",
                       str(output), "--outfmt", "BIN", "--loop", "9"]) == 0
    assert FOLDER_LINES in masked(capsys.readouterr().out, (inputs, "IN"))
    results = only_folder(output)
    assert sorted(os.listdir(str(results))) == [
        "10_output_0.bin", "10_output_1.bin", "9_output_0.bin",
        "9_output_1.bin"]
    assert (results / "9_output_0.bin").read_bytes() == bytes(
        [1, 0, 0, 0, 1, 0, 0, 0])
    assert (results / "10_output_1.bin").read_bytes() == np.array(
        [2, 4, 10] * 2, "<f4").tobytes()


def test_without_input_zeros_are_taken(model, tmp_path):
    assert msame.main(["--model", model, "--output", str(tmp_path / "out"),
                       "--out_nodes", "double:0", "--outfmt", "TXT"]) == 0
    results = only_folder(tmp_path / "out")
    assert os.listdir(str(results)) == ["double_output_0.txt"]
    assert (results / "double_output_0.txt").read_text() == "0 0 0 \n" * 2


def test_an_open_batch_is_set_by_dymbatch(tmp_path):
    model = write_model(tmp_path / "open.pb", [None, 3])
    inputs = feed(tmp_path / "in", a=[[1, 5, 2], [3, 0, 1]])
    assert msame.main([
        "--model", model, "--input", inputs, "--output",
        str(tmp_path / "out"), "--outfmt", "TXT", "--dymBatch", "2"]) == 0
    assert (only_folder(tmp_path / "out") / "a_output_0.txt").read_text() == (
        "1 0 ")


@pytest.mark.parametrize("arguments, message", [
    (["--loop", "0"], "--loop must be 1 to 100"),
    (["--device", "256"], "--device must be 0 to 255"),
    (["--outfmt", "CSV"], "invalid choice: 'CSV'"),
    (["--dump", "true"], "--dump is no flag"),
    (["--dymBatch", "4096"], "--dymBatch must be 1 to 2048"),
    (["--input", "IN/short.bin"], "must have 24 bytes, 2 x 3 float32"),
    (["--input", "IN/long.bin"], "it has 28"),
    (["--input", "IN/gone.bin"], "No such file"),
    (["--input", "IN/gone"], "neither"),
    (["--input", "IN/one.bin,IN/one.bin"], "has 1 inputs (input)"),
    (["--input", "IN"], "Did you mean --input"),
    (["--input", "IN/stems"], "msame overwrites"),
    (["--input", "IN/bare"], "must have an ending"),
    (["--dymBatch", "7"], "that of 'input' in"),
    (["--model", "x.om"], "runs the .pb that atc was given"),
    (["--input", "IN/none"], "holds none"),
    (["--input", "IN/a.bins"], "which msame takes for a file"),
    (["--output", "OUT/a/b"], "one level alone"),
    (["--out_nodes", "none"], "(those that nothing reads: output, double)"),
    (["--out_nodes", "output:1"], "has no output 'output:1'"),
    (["--model", "IN/one.bin"], "must be a binary GraphDef"),
])
def test_what_msame_does_silently_wrong_is_one_line(
        model, arguments, message, tmp_path, capsys):
    inputs = feed(tmp_path / "in", one=np.zeros([2, 3]), short=np.zeros(5),
                  long=np.zeros(7))
    (tmp_path / "in" / "none").mkdir()
    feed(tmp_path / "in" / "bare")
    (tmp_path / "in" / "bare" / "first").write_bytes(bytes(24))
    feed(tmp_path / "in" / "stems", a=np.zeros([2, 3]))
    (tmp_path / "in" / "stems" / "a.raw").write_bytes(bytes(24))
    (tmp_path / "in" / "a.bins").mkdir()
    output = tmp_path / "out"
    output.mkdir()
    arguments = [each.replace("IN", inputs).replace("OUT", str(output))
                 for each in arguments]
    assert msame.main(["--model", model, "--output", str(output)]
                      + arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(str(output)) == []


def test_an_open_batch_needs_a_size(tmp_path, capsys):
    model = write_model(tmp_path / "open.pb", [None, 3])
    assert msame.main(["--model", model, "--output", str(tmp_path)]) == 2
    assert "Give --dymBatch" in capsys.readouterr().err


def test_a_run_that_fails_leaves_nothing(model, tmp_path, capsys, monkeypatch):
    def full(results, stem, outfmt):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(msame, "_write", full)
    assert msame.main(["--model", model, "--output",
                       str(tmp_path / "out")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert os.listdir(str(tmp_path / "out")) == []


@pytest.mark.slow
def test_a_graph_that_waits_for_ever_ends_at_sigterm(tmp_path):
    """Nobody fills the queue; session.run waits in C++."""
    with tf.Graph().as_default() as graph:
        tf1.FIFOQueue(1, [tf.float32], [[2]]).dequeue(name="output")
        (tmp_path / "queue.pb").write_bytes(
            graph.as_graph_def().SerializeToString())
    output = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "nonlocal_tf.export.msame", "--model",
         str(tmp_path / "queue.pb"), "--output", str(output)], cwd=ROOT,
        stdout=subprocess.PIPE)
    try:
        while not process.stdout.readline().startswith(
                str(output).encode("ascii")):
            assert process.poll() is None
        time.sleep(0.5)
        assert len(os.listdir(str(output))) == 1        # what it fills
        process.terminate()
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.communicate()
    assert os.listdir(str(output)) == []
