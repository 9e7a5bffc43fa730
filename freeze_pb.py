"""Freezes a checkpoint to a .pb file that Ascend's ATC takes.

    python freeze_pb.py
"""

import sys

from nonlocal_tf import command
from nonlocal_tf.export import freeze


def main(arguments):
    """Freezes by command-line arguments; returns the exit code."""
    def act():
        freeze.freeze(freeze.parse_flags(arguments, "freeze_pb.py"))
        return 0

    return command.run("freeze_pb.py", act)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
