"""kill -9 at random moments: the same command ends at the same weights.

    KILLS=20 python -m pytest -m slow -s tests/test_kill.py
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import video_sets
from support import ROOT, THIN, checkpoint_bytes, write_tiny_set

KILLS = int(os.environ.get("KILLS", "8"))


def start(arguments, train_url):
    return subprocess.Popen(
        [sys.executable, "-u", "train_gpu.py", "--train_url", str(train_url),
         "--seed", "3", "--checkpoint_seconds", "0.3", "--learning_rate",
         "1e-3"] + arguments,
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        universal_newlines=True)


def digits(folder):
    """Arguments, kills, and the steps of more than these leave time for."""
    write_tiny_set(folder, train=160, test=57)
    return ["--data_url", str(folder), "--Epoch", str(5 * KILLS)] + THIN, (
        KILLS, 5 * KILLS * 20)


def videos(folder):
    """The same, with dropout, SGD's momentum and parts of a batch."""
    pytest.importorskip("cv2")
    lists = video_sets.write_set(folder, train=80, test=9)
    kills = max(2, KILLS // 4)
    return ["--network", "tsm", "--data_url", lists[0], "--test_url", lists[1],
            "--image_size", "32", "--resnet_size", "14", "--base_width", "4",
            "--non_local", "1", "--batchsize", "8", "--micro_batch", "4",
            "--Epoch", str(12 * kills)], (kills, 12 * kills * 10)


def kill_somewhere(process, moments):
    """Kills at start-up, or some seconds into the training."""
    if moments.random() < 0.25:
        time.sleep(moments.uniform(0.0, 6.0))
    else:
        for line in process.stdout:
            if line.startswith("First step"):
                break
        time.sleep(moments.uniform(0.0, 2.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def timeless_records(train_url):
    with open(os.path.join(str(train_url), "metrics.jsonl")) as file:
        return [{key: value for key, value in json.loads(line).items()
                 if "second" not in key} for line in file]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [digits, videos])
def test_a_run_killed_some_times_equals_an_unbroken_one(tmp_path, kind):
    data, broken, unbroken = (
        tmp_path / name for name in ("data", "broken", "unbroken"))
    data.mkdir()
    arguments, (wanted, steps) = kind(data)
    moments = random.Random(int(os.environ.get("KILL_SEED", "1")))
    kills = 0
    while kills < wanted:
        process = start(arguments, broken)
        assert kill_somewhere(process, moments), "ended before the kills"
        kills += 1
        model = broken / "Model"
        names = sorted(os.listdir(str(model))) if model.exists() else []
        print("kill {:2}: {}".format(kills, [
            name for name in names if name.endswith((".index", ".partial"))]))
    for train_url in (broken, unbroken):
        process = start(arguments, train_url)
        output = process.communicate()[0]
        assert process.returncode == 0, output
    last = os.path.join("Model", "model.ckpt-{}".format(steps))
    assert checkpoint_bytes(str(broken / last)) == checkpoint_bytes(
        str(unbroken / last))
    assert timeless_records(broken) == timeless_records(unbroken)


@pytest.mark.slow
def test_the_full_width_in_pieces_equals_an_unbroken_run(tmp_path):
    """Kernels that share their work among threads add in a fixed order."""
    data = tmp_path / "data"
    data.mkdir()
    write_tiny_set(data, train=400)
    for name, pieces in (("pieces", (4, 10)), ("unbroken", (10,))):
        for steps in pieces:
            subprocess.run(
                [sys.executable, "train_gpu.py", "--data_url", str(data),
                 "--train_url", str(tmp_path / name), "--image_size", "56",
                 "--resnet_size", "14", "--non_local", "1", "--batchsize", "16",
                 "--max_steps", str(steps)],
                cwd=ROOT, check=True)
    last = os.path.join("Model", "model.ckpt-10")
    assert checkpoint_bytes(str(tmp_path / "pieces" / last)) == (
        checkpoint_bytes(str(tmp_path / "unbroken" / last)))
