"""docs/video-deployment.md, line by line: from a list of videos to top-5.

Preflight stands in for atc, the rehearsals for Ascend's tools; all get their
lines. A short training of a shallow network stands in for `make demo-video`,
on its digits and, where they are there, on real clips.
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
from support import ROOT, environment, run_in_turn, shell_lines
from test_across_versions import PYTHONS

pytest.importorskip("cv2")
pytestmark = pytest.mark.slow

try:
    import onnxruntime
    import tf2onnx
except ImportError:
    onnxruntime = tf2onnx = None

PAGE = os.path.join(ROOT, "docs", "video-deployment.md")
CLIPS = os.path.join(os.path.dirname(ROOT), "shared", "data", "video")
TRAIN = (
    "python train_gpu.py --network tsm --block pre_norm_cosine --train_url "
    "demo/output_video --image_size 56 --resnet_size 14 --non_local 1 "
    "--base_width 8 --optimizer adam --learning_rate 2e-3 ")
SETS = {
    "moving_digits": "--dataset moving_digits --data_url demo/moving_digits "
    "--Epoch 2 --batchsize 32",
    "real clips": "--data_url demo/moving_digits/test.txt --test_url "
    "demo/moving_digits/test.txt --Epoch 6 --batchsize 4"}


def real_clips(folder):
    """Their list, in the place of that of moving digits."""
    with open(os.path.join(CLIPS, "labels.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["k400_class"] or row["content"] for row in rows})
    os.makedirs(str(folder))
    (folder / "test.txt").write_text("".join("{} {}\n".format(
        os.path.join(CLIPS, row["file"]),
        classes.index(row["k400_class"] or row["content"])) for row in rows))


def command_of(line):
    """What stands in for a line of the page: the words after `python`."""
    words = shlex.split(line)
    if words[0] == "atc":
        return ["-m", "nonlocal_tf.export.preflight"] + words[1:]
    if words[:3] == ["python3", "-m", "ais_bench"] or words[0] == "./msame":
        tool = "msame" if words[0] == "./msame" else "ais_bench"
        flags = words[1:] if tool == "msame" else words[3:]
        return ["-m", "nonlocal_tf.export." + tool] + [
            word.replace(".om", ".pb") for word in flags]
    assert words[0] == "python", words
    if words[1] != "-m":
        words[1] = os.path.join(ROOT, words[1])
    return words[1:]


def run(words, folder):
    done = subprocess.run(
        words, cwd=str(folder), env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    print(" ".join(words), done.stdout, done.stderr[-2000:], sep="\n")
    assert done.returncode == 0, " ".join(words) + done.stderr
    return done.stdout


def rates(printed):
    """Top-1 and top-5 as `evaluate` and `score` print them."""
    return re.search(r"top-1 ([\d.]+%), top-5 ([\d.]+%)", printed).groups()


@pytest.mark.parametrize("name", [
    "moving_digits", pytest.param("real clips", marks=pytest.mark.skipif(
        not os.path.isdir(CLIPS), reason="no clips in ../shared/data/video"))])
def test_the_page_leads_to_the_rates_of_evaluate(name, tmp_path):
    if name == "real clips":
        real_clips(tmp_path / "demo" / "moving_digits")
    lines = [line for line in shell_lines(PAGE) if not (
        "framework=5" in line or "onnx" in line and not tf2onnx)]
    outputs = {}
    for line, (command, output, code) in zip(lines, run_in_turn([command_of(
            TRAIN + SETS[name] if line == "make demo-video" else line)
            for line in lines], tmp_path)):
        print(command, output, sep="\n")
        assert code == "0", command
        outputs[line] = output
    with open(str(tmp_path / "bins_video" / "manifest.json")) as file:
        videos = json.load(file)["videos"]
    evaluated, = (rates(output) for line, output in outputs.items()
                  if "nonlocal_tf.evaluate" in line)
    assert 0 < float(evaluated[0][:-1])
    scored = [rates(output) for line, output in outputs.items()
              if "export.score" in line]
    assert scored == [evaluated] * 3
    for line, output in outputs.items():        # each file on all videos
        if "freeze_pb" in line:
            found, = re.findall(r"accuracy ([\d.]+%) \(\d+ of {} test "
                                r"videos\)".format(videos), output)
            assert found == evaluated[0]
    for python in PYTHONS[1:]:
        folder = tmp_path / "another"
        shutil.rmtree(str(folder), ignore_errors=True)
        run([python, "-m", "nonlocal_tf.export.ais_bench", "--model",
             "demo/output_video/PB_Model/model.pb", "--input",
             "bins_video/input", "--output", str(folder)], tmp_path)
        assert rates(run([
            python, "-m", "nonlocal_tf.export.score", "--output", str(folder),
            "--labels", "bins_video/k400.info"], tmp_path)) == evaluated
