"""Writes test images as the raw .bin files that msame and ais_bench read.

    python -m nonlocal_tf.export.bins --batchsize 32 --output bins

bins/input holds little-endian float32 in C order, 0 to 1, a batch a file, and
nothing else, since msame reads every file of a folder. The rule of a name,
read from the known 1_batch_0_32.bin (two readings are possible; this is ours):
number of the batch from 1, "batch", first image, one past the last image. The
last batch is filled up with zeros and keeps a full batch's name; the labels in
bins/labels.npy (int32) and bins/labels.txt (one a line) tell how many images
there are.
"""

import sys

from nonlocal_tf import command
from nonlocal_tf.architecture import DIGIT_SIZE
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy


def main(arguments):
    """Writes by command-line arguments; returns the exit code."""
    def act():
        flags = parse(arguments)
        from nonlocal_tf.export.inputs import write  # imports NumPy
        write(flags)
        return 0

    return command.run("bins", act)


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.export.bins", __doc__)
    parser.add_argument(
        "--data_url", "--data_path", default="",
        help="folder with the two test files (default: as train_gpu.py)")
    parser.add_argument("--dataset", default="mnist",
                        help="name of the data set (default: %(default)s)")
    parser.add_argument("--mirror", default="",
                        help="base URLs to try first for a download")
    parser.add_argument("--output", default="bins",
                        help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int, default=32,
        help="images a file, as in freeze_pb.py (default: %(default)s)")
    parser.add_argument(
        "--input_layout", choices=deploy.LAYOUTS, default="image",
        help="as in freeze_pb.py (default: %(default)s)")
    parser.add_argument(
        "--image_size", type=int, default=224,
        help="pixels of the image layout (default: %(default)s)")
    parser.add_argument("--images", type=int, default=0,
                        help="the first so many; 0: all (default)")
    flags = parser.parse(arguments)
    command.check_ranges(
        flags, ("batchsize", 1, 100000), ("images", 0, 10 ** 9),
        ("image_size", DIGIT_SIZE, 4096))
    if ".bin" in flags.output:
        raise UserError(
            "--output must have no \".bin\" in it, since msame takes such a "
            "path for a file; got {!r}.".format(flags.output))
    return flags


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
