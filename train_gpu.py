"""Trains the MNIST network on a GPU, or on the CPU where there is none.

    python train_gpu.py --Epoch 20 --batchsize 128
"""

import sys

from nonlocal_tf.training.command import run


def main(arguments):
    """Trains by command-line arguments; returns the exit code."""
    return run(arguments, "train_gpu.py", __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
