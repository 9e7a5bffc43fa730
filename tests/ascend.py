"""Trainers on the strict fakes of Ascend's adapter and of moxing."""

import json
import os
import re
import socket
import subprocess
import sys

import tensorflow as tf
from support import ROOT, THIN

FAKES = os.path.join(ROOT, "tests", "fakes")
ADAPTER = os.pathsep.join(os.path.join(FAKES, folder) for folder in (
    "common", "tf1" if tf.__version__ < "2" else "tf2"))
CLOUD = os.path.join(FAKES, "cloud")
# What the reader's machine may have set would change the answers.
_FOREIGN = re.compile("RANK|TF_CONFIG|DEVICE_ID|JOB_ID|POD_NAME|ASCEND|FAKE|"
                      "MOX_|TF_CPP|^CM_")


def environment(*paths, **variables):
    """That of a process with `paths` on its PYTHONPATH."""
    environ = {name: value for name, value in os.environ.items()
               if not _FOREIGN.search(name)}
    if ADAPTER in paths:            # without the guard of training/gradients.py
        environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    return dict(environ, PYTHONPATH=os.pathsep.join(paths), **variables)


def run(program, flags, cwd, *paths, **variables):
    """A finished process: returncode and stdout, with what is in stderr."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", program]
        + list(map(str, flags)), cwd=str(cwd),
        env=environment(*paths, **variables), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True)


def train(script, flags, cwd, *paths, **variables):
    """One of the scripts, on a thin network."""
    return run(os.path.join(ROOT, script), THIN + list(flags), cwd,
               *paths, **variables)


def rank_variables(folder, count):
    """The variables of each of `count` processes of one server."""
    table = folder / "table.json"
    table.write_text(json.dumps({
        "version": "1.0", "status": "completed", "server_count": "1",
        "server_list": [{"server_id": "127.0.0.1", "device": [
            {"device_id": str(rank), "device_ip": "192.168.100.10",
             "rank_id": str(rank)} for rank in range(count)]}]}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{}".format(free.getsockname()[1])
    return [{"RANK_ID": str(rank), "RANK_SIZE": str(count),
             "ASCEND_DEVICE_ID": str(rank), "RANK_TABLE_FILE": str(table),
             "ASCEND_FAKE_HCCL": address} for rank in range(count)]
