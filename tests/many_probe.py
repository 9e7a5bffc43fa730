"""Trains or evaluates by flags, with the waits of `peers` in seconds:

    python many_probe.py train|evaluate START SILENT GRACE FLAG...

A module, since --num_gpus starts it again in each process.
"""

import sys

from nonlocal_tf import evaluate, processes
from nonlocal_tf.training.command import run

COMMAND, START, SILENT, GRACE = sys.argv[1:5]
processes.GRACE = float(GRACE)


if __name__ == "__mp_main__" or "--num_gpus" not in sys.argv:
    from nonlocal_tf.platforms import peers  # the parent needs none
    peers.START_SECONDS, peers.SILENT_SECONDS = int(START), int(SILENT)
    peers._BUCKET_BYTES = 50000         # several of a thin network
if __name__ == "__main__":
    sys.exit(evaluate.main(sys.argv[5:]) if COMMAND == "evaluate"
             else run(sys.argv[5:], "probe", ""))
