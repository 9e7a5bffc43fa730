"""Starts a trainer as ModelArts does, and ends as it ended.

Imports nothing but Python's own library and this package, so that its words
come out even where a package is missing.
"""

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys

from nonlocal_tf import command, secrets


def boot(script, arguments):
    """Says where it is, then runs `script` with all arguments.

    Args:
      script: path of the trainer.
      arguments: for the trainer, unchanged.
    Returns:
      The trainer's own exit code; 128 + N where signal N killed it.
    """
    if not {"-h", "--help"} & set(arguments):
        for line in describe(script, arguments, os.environ):
            _say(line)
    child, early = [], []

    def forward(number, _):
        if child:
            child[0].send_signal(number)
        else:
            early.append(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, lambda *_: None)   # a terminal tells both
    child.append(subprocess.Popen(
        [sys.executable, "-u", script] + list(arguments)))
    for number in early:
        child[0].send_signal(number)
    code = child[0].wait()
    if code < 0:
        _say("boot: the trainer was killed by signal {}".format(
            _MEANINGS.get(-code, -code)))
        from nonlocal_tf.training.command import push
        push(arguments, "boot_modelarts.py")        # it cannot any more
        code = 128 - code
    _say("boot: exit code {}".format(code))
    return code


# What ModelArts, or whoever starts cards, tells a process. No other variable
# is printed: a name does not say whether its value is a password.
_SHOWN = """
RANK_ID RANK_SIZE RANK_TABLE_FILE RANK_TABLE_FILE_V_1_0 ASCEND_DEVICE_ID
DEVICE_ID JOB_ID POD_NAME HCCL_CONNECT_TIMEOUT S3_ENDPOINT S3_USE_HTTPS
S3_VERIFY_SSL S3_REGION REGION TF_CPP_MIN_LOG_LEVEL MA_JOB_DIR MA_CURRENT_IP
MA_CURRENT_INSTANCE_NAME MA_NUM_GPUS MA_NUM_HOSTS MA_TASK_NAME VC_TASK_INDEX
VC_WORKER_HOSTS VC_WORKER_NUM DLS_TASK_INDEX DLS_TASK_NUMBER BATCH_JOB_ID
BATCH_TASK_CURRENT_INSTANCE BATCH_TASK_INDEX""".split()
_MEANINGS = {
    signal.SIGKILL: "9, SIGKILL: out of memory, or ended from outside",
    signal.SIGABRT: "6, SIGABRT: the Ascend adapter aborts over a bad option "
                    "or device; its reason stands above",
}


def describe(script, arguments, environ):
    """The lines with which a job's log begins, without credentials.

    Args:
      script: path of the trainer.
      arguments: for the trainer.
      environ: a mapping such as os.environ.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data_url", default="not given")
    parser.add_argument("--train_url", default="not given")
    known, others = parser.parse_known_args(arguments)
    yield "boot: {} under {}".format(script, os.getcwd())
    yield "boot: Python {} ({}) on {}".format(
        platform.python_version(), sys.executable, platform.platform())
    for name in ("tensorflow", "numpy", "absl-py", "moxing",
                 "boto3", "npu-bridge", "npu-device"):
        yield "boot: {} {}".format(
            name, command.installed(name) or "not installed")
    for name in _SHOWN:
        if name in environ:
            yield "env: {}={}".format(
                name, secrets.masked(environ[name], environ))
    yield secrets.masked("boot: data_url {}, train_url {}, others: {}".format(
        known.data_url, known.train_url,
        " ".join(secrets.masked_arguments(others)) or "none"), environ)


def _say(line):
    """A line that cannot be shown must not keep the job from starting."""
    with contextlib.suppress(OSError):
        command.say(line)
