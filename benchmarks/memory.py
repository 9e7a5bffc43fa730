"""The highest resident memory of a block's runs, in a process of its own.

`benchmarks.block` starts it; it prints a number of bytes.
"""

import argparse
import json
import subprocess
import sys

from benchmarks import common
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import machine

_RUNS = 2                               # the second one meets used memory
_SMALL = 4                              # side of the map that warms up


def of_block(flags, form, side, contender):
    """Bytes that the runs of a block take at their peak.

    Args:
      flags: of `benchmarks.block`.
      form, side, contender: which block.
    Raises:
      UserError: the process failed.
    """
    settings = dict(vars(flags), form=form, side=side, contender=contender)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", json.dumps(settings)],
        cwd=common.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    if done.returncode:
        raise UserError(
            "{} with {} positions ({}) must fit into memory; its process "
            "ended with {}: {}. Leave large --sizes out.".format(
                form, side * side, contender, done.returncode,
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


def main(arguments):
    """Prints the bytes for settings in JSON; returns the exit code."""
    from benchmarks import block
    flags = argparse.Namespace(**json.loads(arguments[0]))
    small, step = [block.make_step(flags, flags.form, side, flags.contender)
                   for side in (_SMALL, flags.side)]
    for _ in range(_RUNS):              # code, thread pools, small buffers
        small()

    def runs():
        for _ in range(_RUNS):
            step()

    print(peak(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
