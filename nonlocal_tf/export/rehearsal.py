"""What msame does with an .om, done on the CPU with the frozen graph."""

import datetime
import os
import time

import numpy as np
import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import formats, graphdef, predict, runs

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
    inputs = runs.inputs_of(graph_def, flags)
    groups, from_folder = runs.runs_of(inputs, flags)
    outputs = _output_names(graph_def, flags)
    _check_output_folder(flags.output)
    try:
        with tf.Graph().as_default() as graph, predict.cpu_session() as session:
            graphdef.load(graph_def, flags.model)
            fetches = [_tensor(graph, name) for name in outputs]
            _check_outputs(fetches, flags)
            _say_opening(flags, inputs, outputs)
            folder = os.path.join(flags.output, formats.stamp(
                datetime.datetime.now()))
            say(folder)
            milliseconds = []
            with storage.replacing_folder(folder) as partial:
                for each in groups:
                    results = _run(
                        session, each.files, inputs, fetches,
                        1 if from_folder else flags.loop, milliseconds)
                    _write(results, os.path.join(partial, each.stem), flags)
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


def _say_opening(flags, inputs, outputs):
    for line in formats.opening(flags.model, flags.device):
        say(line)
    if flags.debug:
        for each in inputs:
            say("[DEBUG] input {}: {} {}".format(
                each.name, each.dtype.name, each.shape))
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


def _check_output_folder(path):
    """msame makes one folder, not its parents."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise UserError(
            "--output {!r} must lie in a folder that is there, as msame makes "
            "one level alone; {!r} is not. Make it first.".format(
                path, parent))
    storage.make_folder(path, "--output")


def _run(session, files, inputs, fetches, loops, milliseconds):
    """Runs once, or in a loop; appends the times; returns the last results."""
    feed = {}
    for each, path in zip(inputs, files or [None] * len(inputs)):
        if path is None:
            array = np.zeros(each.shape, each.dtype)
        else:
            say("[INFO] start to process file:" + path)
            array = np.fromfile(path, each.dtype).reshape(each.shape)
        feed[each.name + ":0"] = array
    for _ in range(loops):
        began = time.perf_counter()
        results = session.run(fetches, feed)
        milliseconds.append(1000 * (time.perf_counter() - began))
        say("Inference time: {:g}ms".format(milliseconds[-1]))
    say("[INFO] get max dynamic batch size success")
    return results


def _write(results, stem, flags):
    sizes = runs.numbers("--outputSize", flags.outputsize) if (
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
