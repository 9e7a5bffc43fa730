"""The estimate of memory against what a run takes, in its own process."""

import re
import subprocess
import sys

import pytest
from support import ROOT


def figures(folder, data, *flags):
    """GiB: estimated, and at most taken."""
    text = subprocess.run(
        [sys.executable, "train_gpu.py", "--data_url", data, "--train_url",
         str(folder), "--max_steps", "1"] + list(flags), cwd=ROOT, check=True,
        stdout=subprocess.PIPE, universal_newlines=True).stdout
    found = [re.search(pattern, text) for pattern in (
        r"Estimate: ([0-9.]+) GiB", r"at most ([0-9.]+) GiB")]
    return [float(each.group(1)) for each in found]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [
    ["--image_size", "112", "--batchsize", "32", "--micro_batch", "16"],
    ["--image_size", "224", "--batchsize", "6", "--micro_batch", "6",
     "--inner_ratio", "1"],
    ["--image_size", "112", "--batchsize", "16", "--micro_batch", "16",
     "--resnet_size", "101", "--instantiation", "concatenation",
     "--non_local", "5"],
    ["--image_size", "224", "--batchsize", "6", "--micro_batch", "6",
     "--base_width", "8", "--non_local", "res2:2", "--affinity_mb", "0"]],
    ids=lambda flags: "-".join(flags[1::2]))
def test_memory_is_estimated_within_a_fifth(tiny_set, tmp_path, flags):
    estimated, taken = figures(tmp_path, tiny_set, *flags)
    assert taken / 1.1 <= estimated <= taken * 1.2
