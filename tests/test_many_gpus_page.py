"""docs/many-gpus.md: its commands, with few processes on this CPU."""

import contextlib
import os
import random
import re
import socket
import subprocess
import sys

import pytest
import video_sets
from support import ROOT, THIN, shell_lines

pytestmark = pytest.mark.slow           # two processes each, seconds to start
LINES = [line for line in shell_lines(
    os.path.join(ROOT, "docs", "many-gpus.md")) if "python" in line]


def start(line, folder, *more):
    """A line of the page, with flags behind it: the last of a name counts."""
    words = line.partition("  #")[0].replace("python ", sys.executable + " ")
    return subprocess.Popen(
        " ".join([words.replace("train_gpu.py", os.path.join(
            ROOT, "train_gpu.py"))] + list(more)),
        shell=True, cwd=str(folder), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True, env=dict(
            os.environ, PYTHONPATH=ROOT, CUDA_VISIBLE_DEVICES="-1"))


def ended(*processes):
    """What processes that went well printed."""
    said = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [
        0] * len(processes), said
    return [out for out, _ in said]


def free_ports(count):
    """The first of `count` free ports that follow each other.

    Below those that outgoing connections get.
    """
    for first in random.sample(range(20000, 32000), 100):
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("", port))
                return first
    raise AssertionError("no free ports")


def test_one_machine(tiny_set, tmp_path):
    line, = [each for each in LINES if "output/eight" in each]
    out, = ended(start(line, tmp_path, "--num_gpus 2", "--data_url", tiny_set,
                       "--max_steps 2", *THIN))
    assert "8 images in each of 2 processes" in out
    assert (tmp_path / "output/eight/Model/model.ckpt-2.index").exists()


def test_two_hosts(tiny_set, tmp_path):
    """As two of this machine: the first host alone has results."""
    hosts = [line for line in LINES if line.startswith("TF_CONFIG")]
    assert len(hosts) == 2
    port = free_ports(4)
    processes = []
    for index, line in enumerate(hosts):
        (tmp_path / str(index)).mkdir()
        line = line.replace("10.0.0.1:2222", "127.0.0.1:%d" % port).replace(
            "10.0.0.2:2222", "127.0.0.1:%d" % (port + 2))
        processes.append(start(
            line, tmp_path / str(index), "--num_gpus 2", "--data_url",
            tiny_set, "--max_steps 2", *THIN))
    first, second = ended(*processes)
    assert "8 images in each of 4 processes" in first
    assert re.sub("(No GPU is here|Waiting for Rank).*\n", "", second) == ""
    assert (tmp_path / "0/output/two/Model/model.ckpt-2.index").exists()
    assert not (tmp_path / "1/output").exists()


def test_videos_and_their_evaluation(tmp_path):
    pytest.importorskip("cv2")
    video_sets.write_set(tmp_path, train=8, test=3)
    (tmp_path / "test.txt").rename(tmp_path / "val.txt")
    train, evaluate = [each for each in LINES if "output/mine" in each]
    ended(start(train, tmp_path, "--num_gpus 2 --batchsize 2 --image_size 32",
                "--resnet_size 14 --base_width 4 --non_local 1 --max_steps 1"))
    out, = ended(start(evaluate, tmp_path, "--num_gpus 2"))
    assert out.count("3 videos, 0 done") == 1
    assert re.search("top-1.*3", out)
