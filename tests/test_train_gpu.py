"""train_gpu.py as a user starts it: exit codes, signals, a full disk."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from support import ROOT, THIN

from nonlocal_tf import command
from nonlocal_tf.data import download
from nonlocal_tf.platforms import machine
from nonlocal_tf.training import loop
from nonlocal_tf.training.command import run, tune

SMALL = THIN + ["--non_local", "0", "--optimizer", "sgd"]
INTERRUPT_AT_WORK = """
import time
from nonlocal_tf.training.interrupt import Interrupt
with Interrupt():
    print("ready", flush=True)
    time.sleep(600)                     # as a long step: Python restarts it
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-u"] + [str(a) for a in arguments], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError("ended without " + text + process.stderr.read())


def one_line(code, errors, *words):
    """Checks an error of the user: exit code 2, one line, no traceback."""
    lines = [line for line in errors.split("\n")
             if "train_gpu.py: error:" in line]
    assert code == 2, errors
    assert len(lines) == 1
    assert "Traceback" not in errors
    for word in words:
        assert word in lines[0], lines[0]


def test_a_first_run_of_an_epoch(tiny_set, tmp_path, capfd):
    code = run(["--data_url", tiny_set, "--train_url", str(tmp_path),
                "--Epoch", "1", "--rank=0"] + SMALL, "train_gpu.py", "")
    output, errors = capfd.readouterr()
    assert code == 0, errors
    assert "Epoch: 1\tLoss:" in output
    assert re.search(r"\n  to freeze it +\S*python[\d.]* freeze_pb\.py "
                     "--train_url {}$".format(re.escape(str(tmp_path))),
                     output.rstrip())


@pytest.mark.parametrize("on_path, below, named", [
    ("env", ".", "python"), ("other", ".", "env/bin/python"),
    ("none", ".", "env/bin/python"), ("other", "below", "{}/env/bin/python")])
def test_the_last_line_names_the_python_that_trained(
        tmp_path, monkeypatch, on_path, below, named):
    """Not another of PATH, such as that of which a .venv's is a link."""
    for name in ("other", "env"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "below").mkdir()
    python = tmp_path / "other" / "bin" / "python"
    python.touch(0o755)
    (tmp_path / "env" / "bin" / "python").symlink_to(python)
    monkeypatch.setattr(
        sys, "executable", str(tmp_path / "env" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / on_path / "bin"))
    monkeypatch.chdir(tmp_path / below)
    assert command.interpreter() == named.format(tmp_path)


def test_a_signal_saves_then_ends(tiny_set, tmp_path, monkeypatch, capfd):
    step = loop._Run._train_step

    def step_with_signal(run, *batch):
        step(run, *batch)
        if run.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Run, "_train_step", step_with_signal)
    code = run(["--data_url", tiny_set, "--train_url", str(tmp_path),
                "--Epoch", "100000"] + SMALL, "train_gpu.py", "")
    output, errors = capfd.readouterr()
    assert code == 143, errors
    assert "Traceback" not in errors
    step = re.search(r"Stopped by a signal after step (\d+) of", output)
    assert (tmp_path / "Model" / "model.ckpt-{}.index".format(
        step.group(1))).exists()


def test_the_script_ends_with_the_exit_code():
    process = start("train_gpu.py", "--image_size", "20")
    _, errors = process.communicate(timeout=300)
    one_line(process.returncode, errors, "--image_size must be 28 to 4096")


def test_a_second_ctrl_c_ends_at_once_even_in_a_long_step():
    process = start("-c", INTERRUPT_AT_WORK)
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    assert "SIGINT: saving" in process.stderr.readline() + (
        process.stderr.readline())
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130


def test_a_second_ctrl_c_works_without_stderr():
    process = start("-c", INTERRUPT_AT_WORK)
    wait_for(process, "ready")
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)                     # the first must be seen as the first
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130


def test_no_mirror_answers(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(download, "RETRY_DELAYS", (0.01,))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    code = run(["--data_url", str(tmp_path / "data"), "--mirror",
                "http://127.0.0.1:9/", "--train_url", str(tmp_path / "out")],
               "train_gpu.py", "")
    one_line(code, capfd.readouterr().err, "train-images-idx3-ubyte",
             str(tmp_path / "data"), "--dataset digits")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments, words", [
    (["--num_gpus", "65"], ["--num_gpus", "0 to 64"]),
    (["--batchsize", "500"], ["1 to 70"]),
    (["--data_url", "/dev/null/x"], ["/dev/null/x"]),
    (["--train_url", "/dev/null/x"], ["--train_url must name a folder"]),
    (["--train_url", "obs://bucket/run"], ["a local folder", "train_mod"]),
    (["--data_url", "s3://bucket/data/"], ["a local folder", "train_mod"]),
    (["--platform", "npu", "--npu_option", "sump_mode=all"],
     ["did you mean dump_mode"]),
])
def test_bad_values_end_in_one_line(
        tiny_set, tmp_path, arguments, words, capfd):
    code = run(["--data_url", tiny_set, "--train_url", str(tmp_path)]
               + arguments, "train_gpu.py", "")
    one_line(code, capfd.readouterr().err, *words)


@pytest.mark.parametrize("intel, expected", [
    (True, {"TF_ENABLE_ONEDNN_OPTS": "1"}), (False, {})])
def test_tensorflow_gets_onednn_only_where_it_is_known_to_work(
        monkeypatch, intel, expected):
    monkeypatch.setattr(machine, "is_intel", lambda: intel)
    environ = {}
    tune(environ)
    assert environ == expected


def test_what_cannot_fit_is_one_line_and_code_2(tiny_set, tmp_path, capsys):
    assert run(["--data_url", tiny_set, "--train_url", str(tmp_path),
                "--image_size", "4000", "--base_width", "1024", "--batchsize",
                "8"], "train_gpu.py", "") == 2
    error = capsys.readouterr().err.split("\n")
    assert [line for line in error if "must fit into the free memory" in line]
    assert not list((tmp_path / "Model").glob("*"))


def test_what_the_user_has_set_is_kept(monkeypatch):
    monkeypatch.setattr(machine, "is_intel", lambda: True)
    environ = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    tune(environ)
    assert environ == {"TF_ENABLE_ONEDNN_OPTS": "0"}
