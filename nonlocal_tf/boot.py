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
        yield "boot: {} {}".format(name, _version(name))
    for line in secrets.masked_environment(environ):
        yield "env: " + line
    yield "boot: device {}, rank {} of {}, rank table {}".format(
        environ.get("ASCEND_DEVICE_ID") or environ.get("DEVICE_ID") or "none",
        environ.get("RANK_ID", "0"), environ.get("RANK_SIZE", "1"),
        environ.get("RANK_TABLE_FILE", "none"))
    yield secrets.masked("boot: data_url {}, train_url {}, others: {}".format(
        known.data_url, known.train_url,
        " ".join(secrets.masked_arguments(others)) or "none"), environ)


def _version(name):
    """The version of an installed package, without importing it."""
    try:
        from importlib import metadata  # Python 3.8 and later
    except ImportError:
        import pkg_resources as metadata
    try:
        if hasattr(metadata, "version"):
            return metadata.version(name)
        return metadata.get_distribution(name).version
    except Exception:           # each of the two has errors of its own
        return "not installed"


def _say(line):
    """A line that cannot be shown must not keep the job from starting."""
    with contextlib.suppress(OSError):
        command.say(line)
