"""Freezes a checkpoint to a .pb file that Ascend's ATC takes.

    python freeze_pb.py
"""

import sys

from nonlocal_tf.export import freeze


def main(arguments):
    """Freezes by command-line arguments; returns the exit code."""
    return freeze.main(arguments, "freeze_pb.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
