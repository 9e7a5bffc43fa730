"""Freezes a checkpoint to a .pb file that Ascend's ATC takes.

    python freeze_pb.py
"""

import sys

from nonlocal_tf import command
from nonlocal_tf.export.flags import parse_flags


def main(arguments):
    """Freezes by command-line arguments; returns the exit code."""
    def act():
        flags = parse_flags(arguments, "freeze_pb.py")
        from nonlocal_tf.export.freeze import freeze  # imports TensorFlow
        freeze(flags)
        return 0

    return command.run("freeze_pb.py", act)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
