"""Preflight's --run: the range of a graph's values, against that of fp16."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support import ROOT
from test_preflight_video import CLIP, attention, clip, output, saved

from nonlocal_tf.export.preflight import __main__ as preflight

tf1 = tf.compat.v1


def write_bins(folder, *arrays):
    folder.mkdir()
    for index, array in enumerate(arrays):
        (folder / "{:02}.bin".format(index)).write_bytes(
            array.astype("<f4").tobytes())
    return str(folder)


def run(capsys, *arguments):
    assert preflight.main(list(arguments) + ["--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_run_reports_the_largest_score_of_the_inputs(tmp_path, capsys):
    path = saved(attention, tmp_path)
    values = np.random.RandomState(1).randn(*CLIP)
    bins = write_bins(tmp_path / "bins", values, 3 * values)
    report = run(capsys, path, "--run", bins)
    weights = np.random.RandomState(0).randn(8, 4)
    theta = (3 * values).reshape(2, 144, 8) @ weights
    phi = (3 * values)[:, :, ::2, ::2].reshape(2, 36, 8) @ weights
    expected = np.abs(theta @ phi.transpose(0, 2, 1)).max()
    block, = report["affinity"]
    assert block["largest_score"] == pytest.approx(expected, rel=1e-5)
    assert report["fp16"]["runs"] == 2 and report["fp16"]["beyond"] == 0
    assert report["fp16"]["largest"] == pytest.approx(expected, rel=1e-5)
    assert report["findings"] == []


def test_run_names_what_fp16_does_not_hold(tmp_path, capsys):
    """Scores of 65,504 and less pass, larger ones do not."""
    path = saved(lambda: attention(scale=1 / 64), tmp_path)
    values = np.random.RandomState(1).randn(*CLIP)
    flat = values.reshape(2, 144, 8) @ np.random.RandomState(0).randn(8, 4)
    phi = flat.reshape(2, 4, 6, 6, 4)[:, :, ::2, ::2].reshape(2, 36, 4)
    product = np.abs(flat @ phi.transpose(0, 2, 1)).max()
    for factor, beyond in ((0.99, []), (1.01, ["product"])):
        bins = write_bins(tmp_path / str(len(beyond)), values * np.sqrt(
            factor * 65504 / product))
        report = run(capsys, path, "--run", bins)
        assert [each["node"] for each in report["findings"]] == beyond
        assert report["fp16"]["largest"] == pytest.approx(
            factor * 65504, rel=1e-4)
    found, = report["findings"]
    assert found["check"] == "fp16_range" and found["level"] == "doubt"
    assert "--precision_mode=force_fp32" in found["remedy"]
    assert "fp16 ends at 65504" in found["reason"]


def test_run_tells_no_number_from_a_large_one(tmp_path, capsys):
    def build():
        x = clip([2, 3])
        output(tf.concat([tf.nn.relu(x * 1e5), tf.math.log(x)], 1))

    bins = write_bins(tmp_path / "bins", np.array([[1, 2, 3], [1, -1, 1]]))
    report = run(capsys, saved(build, tmp_path), "--run", bins)
    texts = {each["node"]: each["reason"] + each["remedy"]
             for each in report["findings"]}
    assert "no number" in texts["Log"]
    assert "allow_fp32_to_fp16" in texts["Relu"] and "300000" in texts["Relu"]
    assert report["fp16"]["largest"] is None


def test_constants_beyond_fp16_are_told(tmp_path, capsys):
    """Such as the -1e9 of a mask."""
    bins = write_bins(tmp_path / "bins", np.ones([2, 3]))
    report = run(capsys, saved(lambda: output(tf.nn.relu(
        clip([2, 3]) - tf.constant(1e9, name="mask"))), tmp_path),
        "--run", bins)
    assert {each["node"] for each in report["findings"]} == {"mask", "sub"}


def test_text_shows_table_range_and_how_many_were_run(tmp_path, capsys):
    path = saved(attention, tmp_path)
    bins = write_bins(tmp_path / "bins", *[np.ones(CLIP)] * 6)
    assert preflight.main([path, "--run", bins]) == 0
    shown = capsys.readouterr().out
    assert "2 x 144 x 36      20,736  41,472" in shown
    assert "Run on 4 of 6 inputs: the largest value is" in shown
    assert "made.pb: clean;" in shown


def two_inputs():
    output(clip([2, 3]) + tf1.placeholder(tf.float32, [2, 3], "other"))


@pytest.mark.parametrize("build, text, message", [
    (attention, "short.bin", "must have 9,216 bytes, 2 x 4 x 6 x 6 x 8 "),
    (attention, "gone.bin", "must be a file of 9,216 bytes"),
    (attention, "empty", "is empty"),
    (attention, "short.bin,short.bin", "for each input, with commas"),
    (two_inputs, "short.bin", "for each input, with commas"),
    (lambda: output(tf.nn.relu(clip([None, 3]))), "short.bin",
     "Give --input_shape"),
    (lambda: output(tf.linalg.inv(clip([2, 2]))), "zeros.bin",
     "could not be executed on this CPU"),
])
def test_a_run_that_cannot_be_is_one_line(build, text, message, tmp_path,
                                          monkeypatch, capsys):
    path = saved(build, tmp_path)
    (tmp_path / "short.bin").write_bytes(b"\0" * 24)
    (tmp_path / "zeros.bin").write_bytes(b"\0" * 16)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert preflight.main([path, "--run", text, "--json"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_run_that_waits_for_ever_ends_at_sigterm(tmp_path):
    """Nobody fills the queue; session.run waits in C++."""
    def build():
        queue = tf1.FIFOQueue(1, [tf.float32], [[2, 3]])
        output(clip([2, 3]) + queue.dequeue())

    path = saved(build, tmp_path)
    bins = write_bins(tmp_path / "bins", np.ones([2, 3]))
    end = "import os, signal, sys, threading\n" \
        "from nonlocal_tf.export.preflight import __main__, ranges\n" \
        "run, timer = ranges._run, threading.Timer(1, os.kill, (\n" \
        "    os.getpid(), signal.SIGTERM))\n" \
        "ranges._run = lambda *given: timer.start() or run(*given)\n" \
        "sys.exit(__main__.main(sys.argv[1:]))"
    assert subprocess.run([sys.executable, "-c", end, path, "--run", bins],
                          cwd=ROOT, timeout=60).returncode == 143
