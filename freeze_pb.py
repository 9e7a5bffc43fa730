"""Freezes a checkpoint to a .pb file that Ascend's ATC takes.

    python freeze_pb.py
"""

import sys


def main(arguments):
    """Freezes by command-line arguments; returns the exit code."""
    try:
        from nonlocal_tf import command
        from nonlocal_tf.export.flags import parse_flags

        def act():
            flags = parse_flags(arguments, "freeze_pb.py")
            from nonlocal_tf.export.freeze import freeze  # imports TensorFlow
            freeze(flags)
            return 0

        return command.run("freeze_pb.py", act)
    except ImportError as error:
        from nonlocal_tf.errors import missing_packages
        sys.stderr.write(missing_packages("freeze_pb.py", error))
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
