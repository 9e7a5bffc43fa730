"""Writes test images or videos as the raw .bin files that Ascend's tools read.

    python -m nonlocal_tf.export.bins --batchsize 32 --output bins
    python -m nonlocal_tf.export.bins --model MODEL.pb --data_url LIST

bins/input holds little-endian arrays in C order, a batch a file, and nothing
else, since msame reads every file of a folder. The last batch is filled up
with zeros.

Of images: float32, 0 to 1. The rule of a name, read from the known
1_batch_0_32.bin (two readings are possible; this is ours): number of the batch
from 1, "batch", first image, one past the last image. The labels in
bins/labels.npy (int32) and bins/labels.txt (one a line) tell how many images
there are.

Of videos: 0.bin, 1.bin and so on, as a frozen network of clips takes them,
whose note MODEL.pb.json tells how; or as --network and --protocol have them.
bins/k400.info has a line INDEX LABEL for each video; one that cannot be read
has zeros and the label -1. bins/manifest.json tells how they were made.
Interrupted, the same command goes on; exit code 1: some cannot be read.
"""

import dataclasses
import json
import os
import re
import sys

from nonlocal_tf import command, storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import interface
from nonlocal_tf.protocols import (
    CLASSES,
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    VIDEO_NETWORKS,
)

_BY_THE_NOTE = ("batchsize", "input_layout", "input", "views", "image_size",
                "network", "protocol")
FILE_NAME = re.compile(r"^\d+_batch_\d+_\d+\.bin$")     # see `file_name`


def main(arguments):
    """Writes by command-line arguments; returns the exit code."""
    def act():
        flags = parse(arguments)
        _check_is_no_input(flags.output)
        if flags.model:
            return _as_frozen(flags)
        if flags.network:
            return _as_published(flags)
        write(flags)
        return 0

    return command.run("bins", act)


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.export.bins", __doc__)
    parser.add_argument(
        "--data_url", "--data_path", default="",
        help="folder with the two test files, or with test/CLASS/*.png "
        "(default: as train_gpu.py); or a list of videos")
    parser.add_argument(
        "--model", default="", metavar="FILE", help="a frozen file of a "
        "network of clips, whose note beside it tells what it takes, in place "
        "of {}".format(", ".join("--" + name for name in _BY_THE_NOTE)))
    parser.add_argument("--dataset", default="mnist",
                        help="name of the data set (default: %(default)s)")
    parser.add_argument("--mirror", default="",
                        help="base URLs to try first for a download")
    parser.add_argument("--output", default="bins",
                        help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int,
        help="images or videos a file, as in freeze_pb.py (default: 32; of "
        "videos 1)")
    interface.add_flags(parser)
    parser.add_argument(
        "--image_size", type=int,
        help="pixels of the image layout, with zeros around the images, which "
        "are not resized; or of clips (default: 224)")
    parser.add_argument("--images", "--videos", type=int, default=0,
                        help="the first so many; 0: all (default)")
    parser.add_argument(
        "--network", choices=VIDEO_NETWORKS, default="", help="of clips of "
        "another system, without a --model of ours")
    parser.add_argument(
        "--protocol", choices=tuple(PROTOCOLS), default="", help="that system "
        "(default: c2d, i3d: {c2d}; tsm: {tsm})".format(**DEFAULT_PROTOCOL))
    parser.add_argument(
        "--video_root", default="", help="folder of the paths in the list "
        "(default: the list's own)")
    flags = parser.parse(arguments)
    clips = flags.model or flags.network
    given = [name for name in _BY_THE_NOTE if getattr(flags, name)]
    if flags.model and given:
        raise UserError(
            "--{} must be left out with --model, whose note tells it. For "
            "another one freeze again.".format(given[0]))
    if not clips and os.path.isfile(flags.data_url):
        raise UserError(
            "--data_url of images must be a folder; {!r} is a file. Of a list "
            "of videos give --model too, or --network.".format(flags.data_url))
    others = [name for name in ("protocol", "video_root")
              if getattr(flags, name)]
    if others and not clips:
        raise UserError("--{} is for lists of videos: give --model too, or "
                        "--network.".format(others[0]))
    if flags.batchsize is None:
        flags.batchsize = 1 if clips else 32
    if flags.image_size is None:
        flags.image_size = 224
    command.check_ranges(
        flags, ("batchsize", 1, 100000), ("images", 0, 10 ** 9),
        ("image_size", 28, 4096))
    if ".bin" in flags.output or "," in flags.output:
        raise UserError(
            "--output must have no \".bin\" and no comma in it, since msame "
            "takes such a path for a file, or for several; got {!r}.".format(
                flags.output))
    if clips and not flags.data_url:
        raise UserError("--data_url must be a list of videos, a line PATH "
                        "LABEL each; got none.")
    return flags


def _as_frozen(flags):
    """What the note of a frozen file asks for; returns the exit code."""
    from nonlocal_tf.export import clip_bins
    from nonlocal_tf.training.config import TrainConfig
    path = flags.model + interface.NOTE
    try:
        with open(path, encoding="utf-8") as file:
            note = json.load(file)
        config = TrainConfig(**note["config"])
        face = interface.of(config, *note["input"])
        if [face.shape, face.dtype] != [note["shape"], note["dtype"]]:
            raise ValueError("it is of another version")
        names, sha256 = tuple(note["class_names"]), note["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "--model must have its note beside it, {!r}, which freeze_pb.py "
            "writes; {}. Freeze again, or describe the input by --network and "
            "the flags below it.".format(path, storage.gist(error)))
    if not face.plan:
        raise UserError(
            "--model is for networks of clips; {!r} is one of images. Give "
            "--batchsize, --input_layout and --image_size.".format(flags.model))
    interface.check_same(flags.model, sha256)
    return clip_bins.write(flags, config, face, names)


def _as_published(flags):
    """As a network of another system has it; returns the exit code."""
    from nonlocal_tf.data import class_names
    from nonlocal_tf.export import clip_bins
    from nonlocal_tf.training.config import TrainConfig
    config = TrainConfig(
        network=flags.network, protocol=flags.protocol or None,
        image_size=flags.image_size, classes=CLASSES)
    return clip_bins.write(
        flags, config, interface.of(
            config, flags.batchsize, flags.input_layout, flags.input,
            flags.views), class_names.published(config.protocol, CLASSES))


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
                         mirror=flags.mirror, image_size=flags.image_size)
    images, labels = datasets.load_test(
        config.dataset, config.data_folder(), config.mirrors())
    if flags.images:
        images, labels = images[:flags.images], labels[:flags.images]
    face = interface.of(
        dataclasses.replace(config, digit_size=images.shape[1]),
        flags.batchsize, flags.input_layout, flags.input, flags.views)
    shape = face.shape
    count = -(-len(labels) // flags.batchsize)
    target = os.path.join(flags.output, "input")
    storage.make_folder(flags.output, "--output")
    replaced = _check_target(target)
    binary, text = [os.path.join(flags.output, "labels" + ending)
                    for ending in (".npy", ".txt")]
    for path in (binary, text):
        if os.path.lexists(path) and not (replaced and os.path.isfile(path)):
            raise UserError(
                "{!r} is there and not of an earlier run. Move it away, or "
                "name another --output.".format(path))
    storage.check_space(flags.output, count * interface.bin_bytes(shape),
                        ", or take the first images with --images")
    try:
        with storage.replacing_folder(target) as folder:
            for index, (batch, _, _) in enumerate(batches.test_batches(
                    images, labels, flags.batchsize)):
                path = os.path.join(folder, file_name(index, flags.batchsize))
                with open(path, "wb") as file:
                    file.write(interface.prepared(batch, face).tobytes())
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
                flags.output, count, interface.bin_bytes(shape),
                storage.gist(error)))
    if replaced:
        command.say("{}: replaced {} files of an earlier run".format(
            target, replaced))
    _report(target, shape, count, len(labels), flags)


def _check_is_no_input(folder):
    """msame would read the labels in a folder that is given as --input."""
    path = os.path.abspath(folder)
    if os.path.basename(path) == "input" or os.path.isdir(path) and any(
            FILE_NAME.match(name) or re.match(r"\d+\.bin$", name)  # of clips
            for name in os.listdir(path)):
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


def _report(target, shape, count, images, flags):
    command.say("{}: {} files, each {:,} bytes: {} float32".format(
        target, count, interface.bin_bytes(shape), " x ".join(map(str, shape))))
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


def file_name(index, batch_size):
    """Of the .bin of batch `index`, counted from 0; the rule: bins.py."""
    return "{}_batch_{}_{}.bin".format(
        index + 1, index * batch_size, (index + 1) * batch_size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
