"""The commands and the code of README and docs work as written."""

import glob
import importlib.util
import os
import re
import shlex
import subprocess
import sys

import pytest
import tensorflow as tf
from support import ROOT, blocks, shell_lines

from nonlocal_tf import __main__ as front_door
from nonlocal_tf import (
    check_videos,
    classify,
    compare_inputs,
    convert,
    evaluate,
    explain,
    report,
)
from nonlocal_tf.export import ais_bench, bins, freeze, msame, score
from nonlocal_tf.export.preflight import __main__ as preflight
from nonlocal_tf.training.flags import parse_flags

TRAINERS = {"train_gpu.py", "train_modelarts.py", "boot_modelarts.py"}
PAGES = sorted(
    glob.glob(os.path.join(ROOT, "*.md"))
    + glob.glob(os.path.join(ROOT, "docs", "*.md"))
    + glob.glob(os.path.join(ROOT, "benchmarks", "*.md")))


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_training_commands_have_flags_that_exist(path, caplog):
    for line in shell_lines(path):
        words = shlex.split(line, comments=True)
        for program in TRAINERS & set(words):
            at = words.index(program) + 1
            if "--help" not in words:
                parse_flags([word for word in words[at:] if word != "&"],
                            program, "")
    assert "Ignored" not in caplog.text


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_export_commands_have_flags_that_exist(path):
    modules = {"nonlocal_tf.export." + name: module for name, module in (
        ("ais_bench", ais_bench), ("bins", bins), ("msame", msame),
        ("preflight", preflight), ("score", score))}
    modules.update({"nonlocal_tf.convert": convert,
                    "nonlocal_tf.classify": classify,
                    "nonlocal_tf.evaluate": evaluate,
                    "nonlocal_tf.explain": explain,
                    "nonlocal_tf.report": report,
                    "nonlocal_tf.check_videos": check_videos,
                    "nonlocal_tf.compare_inputs": compare_inputs})
    for line in shell_lines(path):
        words = shlex.split(line.partition(" > ")[0], comments=True)
        if words[1:2] == ["freeze_pb.py"]:
            freeze.parse_flags(words[2:], "freeze_pb.py")
        if words[1:3] == ["-m", "nonlocal_tf"]:         # the front door
            home = front_door.COMMANDS[words[3]][0]
            words[2:4] = ["nonlocal_tf." + home.replace(".__main__", "")]
        if words[1:2] == ["-m"] and words[2].startswith("nonlocal_tf"):
            modules[words[2]].parse(words[3:])


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_benchmarks_exist(path):
    for line in shell_lines(path):
        words = shlex.split(line, comments=True)
        if words[1:2] == ["-m"] and words[2].startswith("benchmarks"):
            assert importlib.util.find_spec(words[2])


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_make_targets_exist(path):
    with open(os.path.join(ROOT, "Makefile")) as file:
        targets = re.findall(r"^([a-z-]+):", file.read(), re.MULTILINE)
    for line in shell_lines(path):
        words = shlex.split(line, comments=True)
        if words and words[0] == "make":
            assert words[1] in targets


@pytest.mark.skipif(tf.__version__ < "2",
                    reason="the README's code is eager: TensorFlow 2")
def test_code_of_the_readme_prints_what_it_says(capsys):
    code = blocks(os.path.join(ROOT, "README.md"), "python")[0]
    exec(code, {})
    assert capsys.readouterr().out.split("\n")[0] == promised(code)


def promised(code):
    return re.search(r"print\(.*\) +# (.*)", code).group(1)


@pytest.mark.slow
@pytest.mark.skipif(tf.__version__ < "2", reason="TensorFlow 1 has no Keras")
def test_keras_code_of_the_readme_prints_what_it_says():
    """ResNet-50 without its download, and of small images."""
    code = blocks(os.path.join(ROOT, "README.md"), "python")[1]
    done = subprocess.run(
        [sys.executable, "-c", code.replace("224", "32").replace(
            '"imagenet"', "None")], cwd=ROOT, env=dict(
                os.environ, TF_USE_LEGACY_KERAS="0"),   # see test_keras.py
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == promised(code)


@pytest.mark.parametrize("page", [
    "README", "docs/deployment", "docs/modelarts",
    "docs/bring-your-own-network", "docs/change-the-network", "docs/video",
    "docs/explain", "docs/report", "docs/video-deployment", "docs/many-gpus"])
def test_both_languages_show_the_same_commands_and_flags(page):
    english, chinese = (os.path.join(ROOT, page + ending)
                        for ending in (".md", ".zh.md"))
    without_comments = [
        [shlex.split(line, comments=True) for line in shell_lines(path)]
        for path in (english, chinese)]
    assert without_comments[0] == without_comments[1]
    assert blocks(english, "python") == blocks(chinese, "python")
    flags = []
    for path in (english, chinese):
        with open(path, encoding="utf-8") as file:
            flags.append(set(re.findall(r"`(--\w+)", file.read())))
    assert flags[0] == flags[1]


def test_relative_links_lead_somewhere():
    for path in PAGES:
        with open(path, encoding="utf-8") as file:
            links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read())
        for link in links:
            assert os.path.exists(
                os.path.join(os.path.dirname(path), link)), link
