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

import argparse
import os
import re
import shutil
import sys

import numpy as np

from nonlocal_tf import command, storage
from nonlocal_tf.data import batches, datasets
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy, layout
from nonlocal_tf.training.config import TrainConfig

NAME = re.compile(r"^(\d+)_batch_(\d+)_(\d+)\.bin$")


def file_name(index, batch_size):
    """Of batch `index`, counted from 0."""
    return "{}_batch_{}_{}.bin".format(
        index + 1, index * batch_size, (index + 1) * batch_size)


def main(arguments):
    """Writes by command-line arguments; returns the exit code."""
    return command.run("bins", lambda: _write_all(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser(
        prog="python -m nonlocal_tf.export.bins", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False)
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
        "--input_layout", choices=layout.LAYOUTS, default="image",
        help="as in freeze_pb.py (default: %(default)s)")
    parser.add_argument(
        "--image_size", type=int, default=224,
        help="pixels of the image layout (default: %(default)s)")
    parser.add_argument("--images", type=int, default=0,
                        help="the first so many; 0: all (default)")
    flags = parser.parse(arguments)
    for name, least, most in (("batchsize", 1, 100000), ("images", 0, 10 ** 9),
                              ("image_size", layout.SIDE, 4096)):
        if not least <= getattr(flags, name) <= most:
            raise UserError("--{} must be {} to {}; got {}.".format(
                name, least, most, getattr(flags, name)))
    return flags


def _write_all(flags):
    config = TrainConfig(dataset=flags.dataset, data_url=flags.data_url,
                         mirror=flags.mirror)
    images, labels = datasets.load_test(
        config.dataset, config.data_folder(), config.mirrors())
    if flags.images:
        images, labels = images[:flags.images], labels[:flags.images]
    shape = layout.shape(flags.image_size, flags.batchsize, flags.input_layout)
    count = -(-len(labels) // flags.batchsize)
    target = os.path.join(flags.output, "input")
    storage.make_folder(flags.output, "--output")
    _check_target(target)
    _check_space(flags.output, count * deploy.bin_bytes(shape))
    try:
        _write_batches(target, images, labels, flags)
        np_path = os.path.join(flags.output, "labels.npy")
        with storage.replacing(np_path) as file:
            np.save(file, labels.astype("<i4"))
        storage.write_text(os.path.join(flags.output, "labels.txt"), "".join(
            "{}\n".format(label) for label in labels))
    except OSError as error:
        raise UserError(
            "--output {!r} must take {} files of {:,} bytes; {}. Free some "
            "space or name another folder.".format(
                flags.output, count, deploy.bin_bytes(shape),
                error.strerror or error))
    _report(target, shape, count, len(labels), flags)
    return 0


def _check_target(target):
    """Only files of an earlier run of this program may be replaced."""
    names = os.listdir(target) if os.path.isdir(target) else []
    others = [name for name in sorted(names) if not NAME.match(name)]
    if others or (os.path.lexists(target) and not os.path.isdir(target)):
        raise UserError(
            "{!r} must hold input files alone, since msame reads all that is "
            "there; it has {}. Name another --output.".format(
                target, others[0] if others else "no folder's form"))


def _check_space(folder, wanted):
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(
            "The .bin files take {:,} bytes; {!r} has {:,} free. Name another "
            "--output, or take the first images with --images.".format(
                wanted, folder, free))


def _write_batches(target, images, labels, flags):
    with storage.replacing_folder(target) as folder:
        for index, (batch, _, _) in enumerate(batches.test_batches(
                images, labels, flags.batchsize)):
            prepared = layout.prepare(
                batch, flags.image_size, flags.input_layout)
            path = os.path.join(folder, file_name(index, flags.batchsize))
            with open(path, "wb") as file:
                file.write(prepared.astype("<f4").tobytes())


def _report(target, shape, count, images, flags):
    command.say("{}: {} files, each {:,} bytes: {} float32".format(
        target, count, deploy.bin_bytes(shape), " x ".join(map(str, shape))))
    rest = count * flags.batchsize - images
    if rest:
        command.say(
            "{} holds images {} to {}, then {} of zeros".format(
                file_name(count - 1, flags.batchsize),
                (count - 1) * flags.batchsize, images - 1, rest))
    command.say("{}: {} labels (and labels.txt)".format(
        os.path.join(flags.output, "labels.npy"), images))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
