"""Are the fakes of Ascend's adapter strict, and true?

Two cards at once are in test_cards.py. The checks are functions in
fakes/checks/*.py. A fake changes its whole process and TensorFlow takes
seconds to import: two processes start at once, and each check is a test here.
"""

import json
import os
import re
import subprocess
import sys

import ascend
import pytest
import tensorflow as tf

pytestmark = pytest.mark.slow           # a process each, seconds to start
CHECKS = os.path.join(ascend.FAKES, "checks")
NPU_BRIDGE = ["adapter", "optimizers"]


def names(modules):
    found = []
    for module in modules:
        with open(os.path.join(CHECKS, module + ".py")) as file:
            found += re.findall(
                r"^def (check_\w+)\(", file.read(), re.MULTILINE)
    return found


def start(modules, folder, *paths):
    path = folder / modules[0]
    paths = [os.path.join(ascend.FAKES, each) for each in paths]
    with path.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore",
             os.path.join(CHECKS, "harness.py")] + modules,
            env=ascend.environment(*paths), cwd=str(folder),
            stdout=output, stderr=subprocess.STDOUT)
    return process, path


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fakes")
    found = {"npu_bridge": start(NPU_BRIDGE, folder, "common", "tf1"),
             "npu_device": start(["device"], folder, "common", "tf2")}
    yield found
    for process, _ in found.values():
        process.kill()
        process.wait()


def holds(processes, who, check):
    """Whether `check` held; if it was not run, what the process printed."""
    process, path = processes[who]
    process.wait(timeout=120)
    text = path.read_text(errors="replace")
    found = [json.loads(line[7:]) for line in text.splitlines()
             if line.startswith("CHECKS ")]
    assert found and check in found[-1], text
    assert found[-1][check] is None, found[-1][check]


@pytest.mark.parametrize("check", names(NPU_BRIDGE))
def test_npu_bridge(processes, check):
    holds(processes, "npu_bridge", check)


@pytest.mark.skipif(tf.__version__ < "2", reason="npu_device is for "
                    "TensorFlow 2")
@pytest.mark.parametrize("check", names(["device"]))
def test_npu_device(processes, check):
    holds(processes, "npu_device", check)
