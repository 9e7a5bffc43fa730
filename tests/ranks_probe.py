"""Trains by flags and keeps the variables: python ranks_probe.py FILE FLAG...

Of several processes rank 0 alone writes; a test wants to see all.
"""

import os
import signal
import sys
import time
import traceback

import numpy as np
import tensorflow as tf

from nonlocal_tf.training import loop
from nonlocal_tf.training.flags import parse_flags

PATH = sys.argv[1]


class Probe(loop._Run):
    """A run whose last session is looked into."""

    def _run_epochs(self):
        super()._run_epochs()
        names = tf.compat.v1.global_variables()
        np.savez(PATH, **{each.op.name: value for each, value in zip(
            names, self.session.run(names))})


loop._Run = Probe
test = loop.evaluate


def signalled(*arguments):
    """A signal in the midst of a test, to one of the ranks."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)                       # for it to be noted
    return test(*arguments)


if os.environ.get("PROBE_SIGNALLED"):
    loop.evaluate = signalled
code = 1
try:
    result = loop.train(parse_flags(sys.argv[2:], "probe", ""))
    print("step", result.step, "accuracy", result.test_accuracy)
    code = result.exit_code
except Exception:
    traceback.print_exc()
sys.stdout.flush()
os._exit(code)                          # as `command.end_at_once` says
