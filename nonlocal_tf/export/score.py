"""Scores what msame or ais_bench wrote against the labels.

    python -m nonlocal_tf.export.score --output results --labels bins/labels.npy

Reads .txt, .bin and .npy of classes or of scores for each class, in either
tool's naming. Each file's images are those that its name tells, so that the
order in which the tool took the files does not matter. Exit code 0: every
image has a result; 1: files are missing or surplus; 2: unusable.
"""

import sys

from nonlocal_tf import command
from nonlocal_tf.errors import UserError


def main(arguments):
    """Scores by command-line arguments; returns the exit code."""
    def act():
        flags = parse(arguments)
        from nonlocal_tf.export.scoring import score  # imports NumPy
        return score(flags)

    return command.run("score", act)


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.export.score", __doc__)
    parser.add_argument(
        "--output", required=True, help="folder that msame or ais_bench "
        "wrote to, or the stamped one in it")
    parser.add_argument(
        "--labels", required=True,
        help="labels.npy or labels.txt of bins.py, or an IDX file of labels")
    parser.add_argument(
        "--output_index", type=int, default=0,
        help="output of the model (default: %(default)s)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int, default=0,
        help="images a file, where the names do not tell")
    flags = parser.parse(arguments)
    for name in ("output_index", "batchsize"):
        if getattr(flags, name) < 0:
            raise UserError("--{} must be 0 or more; got {}.".format(
                name, getattr(flags, name)))
    return flags


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
