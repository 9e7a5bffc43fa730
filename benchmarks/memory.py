"""The highest resident memory of something, in a process of its own."""

import json
import subprocess
import sys

from benchmarks import common
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import machine

PEAK = "--peak"                         # then settings, as JSON


def of_process(module, settings):
    """Bytes that `python -m module --peak SETTINGS` prints.

    Raises:
      UserError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, PEAK, json.dumps(settings)],
        cwd=common.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    if done.returncode:
        raise UserError(
            "{} must fit into memory; the process of {} ended with {}: {}. "
            "Leave large --sizes out.".format(
                module, settings, done.returncode,
                (done.stderr.strip().split("\n") or [""])[-1]))
    return int(done.stdout)


def peak(act):
    """Bytes by which a call takes the resident memory above what it is now."""
    _reset_peak()
    before = machine.used_memory()
    act()
    return machine.peak_memory() - before


def _reset_peak():
    """VmHWM becomes VmRSS; see proc(5)."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError as error:
        raise UserError("Peak memory is read from Linux's /proc, which "
                        "refuses it: {}.".format(error))
