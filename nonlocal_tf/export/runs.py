"""What msame is asked to run: the sizes of the inputs, and their files."""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef


class Input(NamedTuple):
    """An input of the graph."""

    name: str
    dtype: np.dtype                     # little-endian
    shape: list                         # every size known


class Run(NamedTuple):
    """Files that make one run: one for each input; none: zeros."""

    stem: str                           # of the results' names
    files: list


def inputs_of(graph_def, flags):
    """The graph's inputs, what is open set by the flags.

    Args:
      graph_def: a frozen graph.
      flags: the namespace of msame.py.
    Returns:
      `Input`s in the graph's order.
    Raises:
      UserError: an input is no number, or a flag does not fit.
    """
    nodes = graphdef.placeholders(graph_def)
    names = [node.name for node in nodes]
    for name in _given_sizes(flags):
        if name not in names:
            raise UserError("{!r} has no input {!r} (there: {}).".format(
                flags.model, name, ", ".join(names)))
    return [Input(node.name, _dtype(node, flags), _shape(node, flags))
            for node in nodes]


def runs_of(inputs, flags):
    """What --input asks for, in msame's order, sizes checked.

    Returns:
      A list of `Run`s, and whether they come from a folder.
    """
    runs, from_folder = _runs(inputs, flags)
    for run in runs:
        for each, path in zip(inputs, run.files):
            _check_size(each, path)
    return runs, from_folder


def _dtype(node, flags):
    kind = graphdef.attribute_type(node, "dtype")
    dtype = tf.as_dtype(kind) if kind else tf.string
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise UserError(
            "Inputs must be numbers; {!r} of {!r} is {}. Freeze a graph that "
            "decodes nothing.".format(node.name, flags.model, dtype.name))
    return np.dtype(dtype.as_numpy_dtype).newbyteorder("<")


def _shape(node, flags):
    """Sizes of a Placeholder, what is open filled in by the flags."""
    declared = graphdef.declared_shape(node)
    shape = _asked_shape(node, declared, flags)
    if shape is not None and declared is not None and (
            len(shape) != len(declared) or any(
                old not in (None, new)
                for new, old in zip(shape, declared))):
        raise UserError(
            "The flags must fit the input {!r} of {!r}, which is {} (-1: "
            "open); they ask for {}. Only what is open can be set.".format(
                node.name, flags.model,
                [-1 if size is None else size for size in declared], shape))
    if shape is None or None in shape:
        raise UserError(
            "Each size of the input must be known; {!r} of {!r} is {}. Give "
            "--dymBatch, or freeze with a fixed --batchsize.".format(
                node.name, flags.model, "of unknown rank" if shape is None
                else [-1 if size is None else size for size in shape]))
    return shape


def _asked_shape(node, declared, flags):
    """The sizes that the flags ask for, None where open; None: no rank."""
    given = _given_sizes(flags).get(node.name)
    if given is not None:
        return given
    if declared is None:
        return None
    if flags.dymbatch:
        return [int(flags.dymbatch)] + declared[1:]
    if flags.dymhw:
        sizes = numbers("--dymHW", flags.dymhw)
        if len(sizes) != 2 or len(declared) != 4:
            raise UserError(
                "--dymHW must be height,width of an image input; got {!r} for "
                "{!r}.".format(flags.dymhw, node.name))
        return declared[:1] + sizes + declared[3:]
    return declared


def _given_sizes(flags):
    """--dymDims or --dymShape as {name: sizes}."""
    text = flags.dymdims or flags.dymshape or ""
    given = {}
    for part in text.strip(";").split(";") if text else ():
        name, _, sizes = part.strip().rpartition(":")
        given[name] = numbers("--dymDims", sizes)
    return given


def numbers(flag, text):
    """Whole numbers above 0, with commas between."""
    try:
        found = [int(number) for number in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError("{} must be numbers above 0 with commas between; got "
                        "{!r}.".format(flag, text))
    return found


def _runs(inputs, flags):
    entries = [entry.strip() for entry in flags.input.split(",")
               if entry.strip()]
    model = os.path.splitext(os.path.basename(flags.model))[0]
    if not entries:
        return [Run(model, [])], False
    if len(entries) != len(inputs):
        raise UserError(
            "{!r} has {} inputs ({}); --input names {}. Give one .bin or one "
            "folder for each, with commas between.".format(
                flags.model, len(inputs), ", ".join(
                    each.name for each in inputs), len(entries)))
    if not os.path.isdir(entries[0]):
        if ".bin" not in entries[0]:
            raise UserError(
                "--input must name .bin files or folders; {!r} is neither."
                .format(entries[0]))
        return [Run(model, entries)], False
    if ".bin" in entries[0]:
        raise UserError(
            "msame takes any path with \".bin\" in it for a file, so also the "
            "folder {!r}. Rename it.".format(entries[0]))
    return [
        Run(os.path.splitext(name)[0],
            [os.path.join(entry, name) for entry in entries])
        for name in _common_names(entries)], True


def _check_names(folder, names):
    """Files alone, of which each names its own results."""
    for name in names:
        if os.path.isdir(os.path.join(folder, name)):
            raise UserError(
                "A folder of inputs must hold .bin files alone; {!r} has the "
                "folder {!r}. Did you mean --input {}?".format(
                    folder, name, os.path.join(folder, name)))
    stems = [os.path.splitext(name)[0] for name in names]
    for name, stem in zip(names, stems):
        if "." not in name:
            raise UserError("Inputs must have an ending, or msame aborts; {!r} "
                            "has none. Rename it.".format(name))
        if stems.count(stem) > 1:
            raise UserError(
                "Inputs must differ before their endings, or msame overwrites "
                "results; {!r} does not. Rename it.".format(name))


def _common_names(folders):
    """The files of every folder, in msame's plain order."""
    names = None
    for folder in folders:
        found = sorted(
            name for name in os.listdir(folder) if not name.startswith(".")
        ) if os.path.isdir(folder) else []
        if not found or names not in (None, found):
            raise UserError(
                "Folders of inputs must hold files of the same names; {!r} "
                "holds {}.".format(folder, ", ".join(found[:3]) or "none"))
        names = found
    _check_names(folders[0], names)
    return names


def _check_size(each, path):
    """msame does not: a wrong size runs, or fails on the device."""
    wanted = int(np.prod(each.shape, dtype=np.int64)) * each.dtype.itemsize
    try:
        received = os.path.getsize(path)
    except OSError as error:
        raise UserError("{!r} must be a file of {:,} bytes; {}.".format(
            path, wanted, error.strerror))
    if received != wanted:
        raise UserError(
            "{!r} must have {:,} bytes, {} {} for the input {!r}; it has {:,}."
            " Write it by bins with the --batchsize, --input_layout and "
            "--image_size of the graph; move it away if it is no input."
            .format(path, wanted, " x ".join(map(str, each.shape)),
                    each.dtype.name, each.name, received))
