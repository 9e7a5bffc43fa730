"""Trains the MNIST network as a job of ModelArts, on an NPU by default.

    python train_modelarts.py --data_url obs://bucket/mnist/ --train_url obs://bucket/run/
"""

import sys

from nonlocal_tf.training.command import run_job


def main(arguments):
    """Trains by command-line arguments; returns the exit code."""
    return run_job(arguments, "train_modelarts.py", __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
