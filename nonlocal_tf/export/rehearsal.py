"""What msame does with an .om, done on the CPU with the frozen graph."""

import datetime
import os
import time

import numpy as np
import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import formats, graphdef, run

tf1 = tf.compat.v1


def rehearse(flags):
    """Runs the graph on the inputs and writes the results.

    Args:
      flags: the namespace of msame.py.
    Raises:
      UserError: one line; nothing is left in --output.
    """
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    if flags.model.endswith(".om"):
        raise UserError("The rehearsal runs the .pb that atc was given; got "
                        "{!r}.".format(flags.model))
    graph_def = graphdef.read(flags.model)
    inputs = graphdef.placeholders(graph_def)
    outputs = _output_names(graph_def, flags)
    _check_inputs(inputs, flags)
    shapes = [_shape(node, flags) for node in inputs]
    groups, from_folder = _input_groups(flags, inputs)
    for group in groups:
        for node, shape, path in zip(inputs, shapes, group.files):
            _check_size(node, shape, path)
    _check_output_folder(flags.output)
    try:
        with tf.Graph().as_default() as graph, run.cpu_session() as session:
            graphdef.load(graph_def, flags.model)
            fetches = [_tensor(graph, name) for name in outputs]
            _check_outputs(fetches, flags)
            _say_opening(flags, inputs, shapes, outputs)
            folder = os.path.join(flags.output, formats.stamp(
                datetime.datetime.now()))
            say(folder)
            milliseconds = []
            with storage.replacing_folder(folder) as partial:
                for group in groups:
                    results = _run(
                        session, group, inputs, shapes, fetches,
                        1 if from_folder else flags.loop, milliseconds)
                    _write(results, os.path.join(partial, group.stem), flags)
                    say("[INFO] output data success")
                    if from_folder:
                        say("[INFO] destroy model input success")
    except (MemoryError, ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError("The model could not be executed: {} Do the inputs "
                        "fit the graph?".format(storage.gist(error)))
    except OSError as error:
        raise UserError(
            "--output {!r} must take the results; {}. Free some space or name "
            "another folder.".format(flags.output, error.strerror or error))
    for line in formats.averages(milliseconds, from_folder) + formats.closing(
            flags.device):
        say(line)


def _say_opening(flags, inputs, shapes, outputs):
    for line in formats.opening(flags.model, flags.device):
        say(line)
    if flags.debug:
        for node, shape in zip(inputs, shapes):
            say("[DEBUG] input {}: {} {}".format(
                node.name, np.dtype(_dtype(node)).name, shape))
        say("[DEBUG] outputs: {}".format(", ".join(outputs)))


def _output_names(graph_def, flags):
    """Names of the output nodes, in the order of an .om."""
    if not flags.out_nodes:
        return [node.name for node in graphdef.leaves(graph_def)]
    names = [name.strip() for name in flags.out_nodes.strip(";").split(";")]
    nodes = graphdef.by_name(graph_def)
    for name in names:
        if graphdef.source(name) not in nodes:
            raise UserError(
                "--out_nodes must name nodes of {!r}; it has no {!r}.".format(
                    flags.model, name))
    return names


def _tensor(graph, name):
    try:
        return graph.get_tensor_by_name(name if ":" in name else name + ":0")
    except (KeyError, ValueError):
        raise UserError("The graph has no output {!r}. Name one with "
                        "--out_nodes.".format(name))


def _check_inputs(inputs, flags):
    """Types and names that msame could be given."""
    for node in inputs:
        dtype = tf.as_dtype(node.attr["dtype"].type) if (
            node.attr["dtype"].type) else tf.string
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            raise UserError(
                "Inputs must be numbers; {!r} of {!r} is {}. Freeze a graph "
                "that decodes nothing.".format(
                    node.name, flags.model, dtype.name))
    names = [node.name for node in inputs]
    for name in _given_sizes(flags):
        if name not in names:
            raise UserError("{!r} has no input {!r} (there: {}).".format(
                flags.model, name, ", ".join(names)))


def _check_outputs(tensors, flags):
    """Types that msame's files can hold."""
    if not tensors:
        raise UserError("{!r} has no output. Name one with --out_nodes.".format(
            flags.model))
    for tensor in tensors:
        dtype = tensor.dtype
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool) or (
                dtype == tf.bfloat16):
            raise UserError(
                "Outputs must be float, int or bool; {!r} is {}. Name others "
                "with --out_nodes.".format(tensor.name, dtype.name))


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
        sizes = _numbers("--dymHW", flags.dymhw)
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
        given[name] = _numbers("--dymDims", sizes)
    return given


def _numbers(flag, text):
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError("{} must be numbers above 0 with commas between; got "
                        "{!r}.".format(flag, text))
    return numbers


class _Group:
    """Files that make one run: one for each input; none: zeros."""

    def __init__(self, stem, files):
        self.stem = stem                # of the results' names
        self.files = files


def _input_groups(flags, inputs):
    """The runs that --input asks for, in msame's order; from a folder?"""
    entries = [entry.strip() for entry in flags.input.split(",")
               if entry.strip()]
    model = os.path.splitext(os.path.basename(flags.model))[0]
    if not entries:
        return [_Group(model, [])], False
    if len(entries) != len(inputs):
        raise UserError(
            "{!r} has {} inputs ({}); --input names {}. Give one .bin or one "
            "folder for each, with commas between.".format(
                flags.model, len(inputs), ", ".join(
                    node.name for node in inputs), len(entries)))
    if not os.path.isdir(entries[0]):
        if ".bin" not in entries[0]:
            raise UserError(
                "--input must name .bin files or folders; {!r} is neither."
                .format(entries[0]))
        return [_Group(model, entries)], False
    if ".bin" in entries[0]:
        raise UserError(
            "msame takes any path with \".bin\" in it for a file, so also the "
            "folder {!r}. Rename it.".format(entries[0]))
    return [
        _Group(os.path.splitext(name)[0],
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


def _dtype(node):
    return tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype


def _check_size(node, shape, path):
    """msame does not: a wrong size runs, or fails on the device."""
    wanted = int(np.prod(shape, dtype=np.int64)) * np.dtype(
        _dtype(node)).itemsize
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
            .format(
                path, wanted, " x ".join(map(str, shape)),
                np.dtype(_dtype(node)).name, node.name, received))


def _check_output_folder(path):
    """msame makes one folder, not its parents."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise UserError(
            "--output {!r} must lie in a folder that is there, as msame makes "
            "one level alone; {!r} is not. Make it first.".format(
                path, parent))
    storage.make_folder(path, "--output")


def _run(session, group, inputs, shapes, fetches, loops, milliseconds):
    """Runs one group; appends each run's time; returns the last results."""
    feed = {}
    for node, shape, path in zip(
            inputs, shapes, group.files or [None] * len(inputs)):
        dtype = np.dtype(_dtype(node)).newbyteorder("<")
        if path is None:
            array = np.zeros(shape, dtype)
        else:
            say("[INFO] start to process file:" + path)
            array = np.fromfile(path, dtype).reshape(shape)
        feed[node.name + ":0"] = array
    for _ in range(loops):
        began = time.perf_counter()
        results = session.run(fetches, feed)
        milliseconds.append(1000 * (time.perf_counter() - began))
        say("Inference time: {:g}ms".format(milliseconds[-1]))
    say("[INFO] get max dynamic batch size success")
    return results


def _write(results, stem, flags):
    sizes = _numbers("--outputSize", flags.outputsize) if (
        flags.outputsize) else []
    for index, array in enumerate(results):
        array = np.asarray(array)
        if index < len(sizes) and array.nbytes > sizes[index]:
            raise UserError(
                "--outputSize gives output {} {} bytes; it has {}.".format(
                    index, sizes[index], array.nbytes))
        path = "{}_output_{}".format(stem, index)
        if flags.outfmt == "TXT":
            with open(path + ".txt", "w", encoding="ascii") as file:
                file.write(formats.as_text(array))
        else:
            with open(path + ".bin", "wb") as file:
                file.write(array.astype(
                    array.dtype.newbyteorder("<")).tobytes())
