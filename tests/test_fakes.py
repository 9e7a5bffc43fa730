"""Are the fakes of Ascend's adapter and of moxing strict, and true?

The checks are functions in fakes/checks/*.py. A fake changes its whole
process and TensorFlow takes seconds to import: a few processes start
at once, and each check is a test here.
"""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

CHECKS = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "fakes", "checks")
NPU_BRIDGE = ["plain", "adapter", "optimizers"]
LEAVES = "check_a_rank_that_ends_does_not_leave_the_other_waiting"
# What the reader's machine may have set would change the answers.
FOREIGN = re.compile("RANK|DEVICE_ID|JOB_ID|POD_NAME|ASCEND|FAKE|MOX_|TF_CPP")


def names(modules):
    found = []
    for module in modules:
        with open(os.path.join(CHECKS, module + ".py")) as file:
            found += re.findall(
                r"^def (check_\w+)\(", file.read(), re.MULTILINE)
    return found


def start(modules, folder, **variables):
    environment = {name: value for name, value in os.environ.items()
                   if not FOREIGN.search(name)}
    environment.update(variables)
    path = folder / (modules[0] + variables.get("RANK_ID", ""))
    with path.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore",
             os.path.join(CHECKS, "harness.py")] + modules,
            env=environment, cwd=str(folder), stdout=output,
            stderr=subprocess.STDOUT)
    return process, path


def start_ranks(folder):
    """Two processes of collectives.py; rank 1 ends before its last check."""
    sys.path.insert(0, CHECKS)
    try:
        import harness
    finally:
        sys.path.remove(CHECKS)
    table = folder / "table.json"
    table.write_text(json.dumps(harness.rank_table(2)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{}".format(free.getsockname()[1])
    return [start(
        ["collectives"], folder, RANK_ID=str(rank), RANK_SIZE="2",
        ASCEND_DEVICE_ID=str(rank), JOB_ID="10087", LEAVER="1",
        RANK_TABLE_FILE=str(table), ASCEND_FAKE_HCCL=address,
        **({"TF_CPP_MIN_LOG_LEVEL": "1"} if rank else {}))
        for rank in (0, 1)]


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fakes")
    ranks = start_ranks(folder)
    found = {"npu_bridge": start(NPU_BRIDGE, folder),
             "npu_device": start(["device"], folder),
             "moxing": start(["obs"], folder),
             "rank 0": ranks[0], "rank 1": ranks[1]}
    yield found
    for process, _ in found.values():
        process.kill()
        process.wait()


def answers(processes, who):
    """{check: error or None}, and what the process printed."""
    process, path = processes[who]
    process.wait(timeout=120)
    with path.open(errors="replace") as file:
        text = file.read()
    lines = [line for line in text.splitlines()
             if line.startswith("CHECKS ")]
    return json.loads(lines[-1].split(" ", 1)[1]) if lines else {}, text


def holds(processes, who, check):
    found, text = answers(processes, who)
    assert check in found, text
    assert found[check] is None, found[check]


@pytest.mark.parametrize("check", names(NPU_BRIDGE))
def test_npu_bridge(processes, check):
    holds(processes, "npu_bridge", check)


@pytest.mark.parametrize("check", names(["device"]))
def test_npu_device(processes, check):
    if "npu_device is for TensorFlow 2" in answers(
            processes, "npu_device")[1]:
        pytest.skip("npu_device is for TensorFlow 2, and says so")
    holds(processes, "npu_device", check)


@pytest.mark.parametrize("check", names(["obs"]))
def test_moxing(processes, check):
    holds(processes, "moxing", check)


@pytest.mark.parametrize("check", names(["collectives"]))
def test_collectives(processes, check):
    holds(processes, "rank 0", check)
    if check != LEAVES:
        holds(processes, "rank 1", check)
    else:
        assert check not in answers(processes, "rank 1")[0]
