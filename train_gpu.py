"""Trains the MNIST network on a GPU, or on the CPU where there is none.

    python train_gpu.py --Epoch 20 --batchsize 128
"""

import sys


def main(arguments):
    """Trains by command-line arguments; returns the exit code."""
    try:
        from nonlocal_tf.training.command import run
        return run(arguments, "train_gpu.py", __doc__, platform="gpu")
    except ImportError as error:
        from nonlocal_tf.errors import missing_packages
        sys.stderr.write(missing_packages("train_gpu.py", error))
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
