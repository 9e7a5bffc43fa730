"""Test images as raw .bin files: see bins.py."""

import os
import shutil

import numpy as np

from nonlocal_tf import command, storage
from nonlocal_tf.data import batches, datasets
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy, layout
from nonlocal_tf.training.config import TrainConfig


def write(flags):
    """Writes the .bin files and the labels.

    Args:
      flags: the namespace of bins.py.
    Raises:
      UserError: one line; earlier files are as they were.
    """
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
    replaced = _check_target(target)
    label_paths = _check_labels(flags.output, replaced)
    _check_space(flags.output, count * deploy.bin_bytes(shape))
    try:
        _write_batches(target, images, labels, flags)
        with storage.replacing(label_paths[0]) as file:
            np.save(file, labels.astype("<i4"))
        storage.write_text(label_paths[1], "".join(
            "{}\n".format(label) for label in labels))
    except OSError as error:
        raise UserError(
            "--output {!r} must take {} files of {:,} bytes; {}. Free some "
            "space or name another folder.".format(
                flags.output, count, deploy.bin_bytes(shape),
                error.strerror or error))
    if replaced:
        command.say("{}: replaced {} files of an earlier run".format(
            target, replaced))
    _report(target, shape, count, len(labels), flags)


def _check_target(target):
    """The number of files there, all of an earlier run of this program."""
    names = os.listdir(target) if os.path.isdir(target) else []
    if os.path.islink(target):
        raise UserError("{!r} must be a folder and is a link. Name another "
                        "--output.".format(target))
    others = [name for name in sorted(names) if not name.startswith(".")
              and not layout.FILE_NAME.match(name)]
    if others or (os.path.lexists(target) and not os.path.isdir(target)):
        raise UserError(
            "{!r} must hold input files alone, since msame reads all that is "
            "there; it has {}. Move it away, or name another --output.".format(
                target, others[0] if others else "no folder's form"))
    return len(names)


def _check_labels(folder, replaced):
    """The paths of the labels; they may replace those of an earlier run."""
    paths = [os.path.join(folder, "labels" + end) for end in (".npy", ".txt")]
    for path in paths:
        if os.path.lexists(path) and not (
                replaced and os.path.isfile(path)):
            raise UserError(
                "{!r} is there and not of an earlier run. Move it away, or "
                "name another --output.".format(path))
    return paths


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
            path = os.path.join(
                folder, layout.file_name(index, flags.batchsize))
            with open(path, "wb") as file:
                file.write(prepared.astype("<f4").tobytes())


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
                layout.file_name(count - 1, flags.batchsize),
                (count - 1) * flags.batchsize, images - 1, rest))
    command.say("{}: {} labels (and labels.txt)".format(
        os.path.join(flags.output, "labels.npy"), images))
