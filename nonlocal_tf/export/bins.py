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

import os
import re
import shutil
import sys

from nonlocal_tf import command, storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy

FILE_NAME = re.compile(r"^\d+_batch_\d+_\d+\.bin$")     # see `file_name`


def main(arguments):
    """Writes by command-line arguments; returns the exit code."""
    def act():
        flags = parse(arguments)
        write(flags)
        return 0

    return command.run("bins", act)


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.export.bins", __doc__)
    parser.add_argument(
        "--data_url", "--data_path", default="",
        help="folder with the two test files, or with test/CLASS/*.png "
        "(default: as train_gpu.py)")
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
        ("image_size", 28, 4096))
    if ".bin" in flags.output or "," in flags.output:
        raise UserError(
            "--output must have no \".bin\" and no comma in it, since msame "
            "takes such a path for a file, or for several; got {!r}.".format(
                flags.output))
    return flags


def write(flags):
    """Writes the .bin files and the labels.

    Args:
      flags: the namespace of bins.py.
    Raises:
      UserError: one line; earlier files are as they were, or their labels
        are gone.
    """
    import numpy as np

    from nonlocal_tf.data import batches, datasets
    from nonlocal_tf.training.config import TrainConfig
    config = TrainConfig(dataset=flags.dataset, data_url=flags.data_url,
                         mirror=flags.mirror)
    images, labels = datasets.load_test(
        config.dataset, config.data_folder(), config.mirrors())
    if flags.images:
        images, labels = images[:flags.images], labels[:flags.images]
    side = images.shape[1]
    if side > flags.image_size:
        raise UserError("--image_size must be at least {0}, as the images in "
                        "{1!r} are {0}x{0}; got {2}.".format(
                            side, config.data_folder(), flags.image_size))
    shape = deploy.shape(
        flags.image_size, flags.batchsize, flags.input_layout, side)
    count = -(-len(labels) // flags.batchsize)
    target = os.path.join(flags.output, "input")
    _check_is_no_input(flags.output)
    storage.make_folder(flags.output, "--output")
    replaced = _check_target(target)
    binary, text = [os.path.join(flags.output, "labels" + ending)
                    for ending in (".npy", ".txt")]
    for path in (binary, text):
        if os.path.lexists(path) and not (replaced and os.path.isfile(path)):
            raise UserError(
                "{!r} is there and not of an earlier run. Move it away, or "
                "name another --output.".format(path))
    _check_space(flags.output, count * deploy.bin_bytes(shape))
    try:
        with storage.replacing_folder(target) as folder:
            for index, (batch, _, _) in enumerate(batches.test_batches(
                    images, labels, flags.batchsize)):
                path = os.path.join(folder, file_name(index, flags.batchsize))
                with open(path, "wb") as file:
                    file.write(prepare(
                        batch, flags.image_size, flags.input_layout
                    ).astype("<f4").tobytes())
            for path in (binary, text):     # new images never have old labels
                if os.path.exists(path):
                    os.unlink(path)
        with storage.replacing(binary) as file:
            np.save(file, labels.astype("<i4"))
        storage.write_text(text, "".join(map("{}\n".format, labels)))
    except OSError as error:
        raise UserError(
            "--output {!r} must take {} files of {:,} bytes; {}. Free some "
            "space or name another folder.".format(
                flags.output, count, deploy.bin_bytes(shape),
                storage.gist(error)))
    if replaced:
        command.say("{}: replaced {} files of an earlier run".format(
            target, replaced))
    _report(target, shape, count, len(labels), flags)


def _check_is_no_input(folder):
    """msame would read the labels in a folder that is given as --input."""
    path = os.path.abspath(folder)
    if os.path.basename(path) == "input" or os.path.isdir(path) and any(
            map(FILE_NAME.match, os.listdir(path))):
        raise UserError(
            "--output must be the folder that input/ and the labels come to "
            "lie in; {!r} is one that msame reads whole. Give --output {}."
            .format(folder, os.path.dirname(os.path.normpath(folder)) or "."))


def _check_target(target):
    """The number of files there, all of an earlier run of this program."""
    is_folder = os.path.isdir(target) and not os.path.islink(target)
    names = os.listdir(target) if is_folder else []
    others = [name for name in sorted(names) if not name.startswith(".")
              and not FILE_NAME.match(name)]
    if others or os.path.lexists(target) and not is_folder:
        raise UserError(
            "{!r} must be a folder of input files alone, since msame reads all "
            "that is there; it {}. Move it away, or name another --output."
            .format(target, "has " + others[0] if others
                    else "is a file or a link"))
    return len(names)


def _check_space(folder, wanted):
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(
            "The .bin files take {:,} bytes; {!r} has {:,} free. Name another "
            "--output, or take the first images with --images.".format(
                wanted, folder, free))


def _report(target, shape, count, images, flags):
    command.say("{}: {} files, each {:,} bytes: {} float32".format(
        target, count, deploy.bin_bytes(shape), " x ".join(map(str, shape))))
    if images < flags.images:
        command.say("--images {}: the test set has {}".format(
            flags.images, images))
    rest = count * flags.batchsize - images
    if rest:
        command.say(
            "{} holds images {} to {}, then {} of zeros".format(
                file_name(count - 1, flags.batchsize),
                (count - 1) * flags.batchsize, images - 1, rest))
    command.say("{}: {} labels (and labels.txt)".format(
        os.path.join(flags.output, "labels.npy"), images))


def prepare(images, image_size, layout):
    """Digits as the placeholder `input` wants them.

    Args:
      images: uint8 [N, side, side, 1].
      image_size: S.
      layout: "image" or "flat".
    Returns:
      float32 in 0..1, C-contiguous: [N, S, S, 1], zeros around, an odd rest
      at the bottom and at the right; or [N, side * side].
    """
    import numpy as np
    scaled = images.astype(np.float32) / np.float32(255)
    if layout == "flat":
        return scaled.reshape(len(images), -1)
    rest = image_size - images.shape[1]
    sides = (rest // 2, rest - rest // 2)
    return np.pad(scaled, ((0, 0), sides, sides, (0, 0)), mode="constant")


def file_name(index, batch_size):
    """Of the .bin of batch `index`, counted from 0; the rule: bins.py."""
    return "{}_batch_{}_{}.bin".format(
        index + 1, index * batch_size, (index + 1) * batch_size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
