"""What every command does with errors, signals and its output."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from support import ROOT, unprivileged

from nonlocal_tf import command
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import score

ARGUMENTS = {
    "preflight": ["x.pb"], "bins": [],
    "msame": ["--model", "x.pb", "--output", "y"],
    "score": ["--output", "x", "--labels", "y.txt"],
}


def raising(error):
    def act():
        raise error
    return act


@pytest.mark.parametrize("error, code, text", [
    (UserError("Do that."), 2, "x: error: Do that."),
    (PermissionError(13, "Permission denied", "file"), 2,
     "x: error: file: Permission denied."),
    (ImportError("No module named 'absl'"), 2, "Python needs the packages"),
    (KeyboardInterrupt(), 130, "x: interrupted"),
    (tf.errors.InternalError(None, None, "Missing 0-th output\n\t [[a]]"), 2,
     "stopped with InternalError: Missing 0-th output Give"),
])
def test_an_error_is_one_line_and_a_code(error, code, text, capsys):
    assert command.run("x", raising(error)) == code
    out, line = capsys.readouterr()
    assert out == "" and text in line and line.count("\n") == 1


def test_tensorflow_comes_without_keras():
    """As conftest.py imports it; those before 2.16 have no say in it."""
    if tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16):
        pytest.skip("this TensorFlow brings its Keras always")
    assert "keras" not in sys.modules


@pytest.mark.parametrize("installed, processor, preset, expected", [
    ({"tensorflow": "2.9.3"}, "x86_64", None, "1"),
    ({"tensorflow": "2.21.0rc1"}, "x86_64", None, "1"),
    ({"tensorflow-cpu": "2.13.1"}, "x86_64", None, "1"),
    ({"tensorflow": "2.21.0"}, "x86_64", "0", "0"),
    ({"tensorflow": "2.21.0"}, "aarch64", None, None),
    ({"tensorflow": "2.8.4"}, "x86_64", None, None),
    ({"tensorflow": None}, "x86_64", None, None),       # half an installation
    ({}, "x86_64", None, None)])
def test_onednn_is_on_where_it_is_known_to_work(
        monkeypatch, installed, processor, preset, expected):
    metadata = pytest.importorskip("importlib.metadata")    # Python 3.8

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(command.platform, "machine", lambda: processor)
    monkeypatch.setattr(os, "environ", {
        name: value for name, value in [("TF_ENABLE_ONEDNN_OPTS", preset)]
        if value})
    monkeypatch.setattr(command.atexit, "register", lambda function: None)
    command.lighten()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected


def test_a_signal_takes_away_what_is_half_written():
    cleaned = []

    def act():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert command.run("x", act) == 143
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_unreadable_folder_is_one_line(tmp_path, capsys):
    folder = tmp_path / "results"
    folder.mkdir()
    labels = tmp_path / "labels.txt"
    labels.write_text("1")
    for path in [tmp_path] + list(tmp_path.parents)[:2]:
        path.chmod(0o755)
    folder.chmod(0)
    with unprivileged():
        assert score.main(["--output", str(folder), "--labels",
                           str(labels)]) == 2
    error = capsys.readouterr().err
    assert "Permission denied" in error and error.count("\n") == 1


@pytest.mark.parametrize("module", sorted(ARGUMENTS))
def test_without_packages_a_command_says_which(module, tmp_path):
    """Isolated from site-packages, as on a machine without them."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "nonlocal_tf.export." + module]
        + ARGUMENTS[module],
        cwd=ROOT, env={"PYTHONPATH": ROOT, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    assert done.returncode == 2
    assert "Python needs the packages" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_name_that_the_terminal_cannot_show_loses_no_line():
    done = subprocess.run(
        [sys.executable, "-c", "from nonlocal_tf.command import say\n"
         "say('accuracy of \u00fc: 1')"], cwd=ROOT,
        env=dict(os.environ, PYTHONIOENCODING="ascii"),
        stdout=subprocess.PIPE)
    assert done.stdout == b"accuracy of \\xfc: 1\n"


def test_a_full_disk_behind_the_output_is_an_error(tmp_path):
    program = ("from nonlocal_tf import command\n"
               "raise SystemExit(command.run('x', lambda: "
               "command.say('line')))")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full,
            stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 2
    assert "No space left" in done.stderr
