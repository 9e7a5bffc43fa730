"""What the rehearsals of Ascend's msame and ais_bench share.

Either runs the .pb in the place of the .om that atc makes of it: which inputs
and outputs that has, the sizes of its files, and the run on the CPU.
"""

import contextlib
import json
import os
import time
from typing import Any, NamedTuple

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import frozen_file, interface
from nonlocal_tf.export.preflight import atc


class Input(NamedTuple):
    """An input of the graph."""

    name: str
    dtype: Any                          # of NumPy, little-endian
    shape: list                         # every size known

    @property
    def bytes(self):
        """Of a file that holds it."""
        return interface.bin_bytes(self.shape, self.dtype.itemsize)

    def text(self):
        """For a reader, such as 2 x 3 float32."""
        return " ".join([" x ".join(map(str, self.shape)), self.dtype.name])


class Model(NamedTuple):
    """A graph as its .om would be."""

    path: str
    graph_def: Any
    inputs: list                        # of `Input`, in the graph's order
    outputs: list                       # names, in the order of an .om


def add_flags(parser):
    """The flags that both tools have, and the one that neither has."""
    parser.add_argument("--model", required=True, help="the frozen graph")
    parser.add_argument("--dymBatch", "--dymbatch", type=int, default=None,
                        dest="dymbatch", help="size of an open batch, to 2048")
    parser.add_argument(
        "--out_nodes", type=atc.names, help="not the tool's: the outputs, as "
        "given to atc (default: those that nothing reads)")


def check_flags(flags):
    """Refuses what `add_flags` lets through."""
    if flags.dymbatch is not None and not 1 <= flags.dymbatch <= 2048:
        raise UserError("--dymBatch must be 1 to 2048; got {}.".format(
            flags.dymbatch))


def open_model(flags):
    """The `Model` that the flags of `add_flags` name.

    Raises:
      UserError: it cannot be read, or a size or an output is not known.
    """
    if flags.model.endswith(".om"):
        raise UserError("The rehearsal runs the .pb that atc was given; got "
                        "{!r}.".format(flags.model))
    check_manifest(flags.model, flags.input or "")
    data = frozen_file.read(flags.model)
    import tensorflow as tf  # a wrong file is said without it

    from nonlocal_tf.export import graphdef
    from nonlocal_tf.export.preflight import trim
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    graph_def = trim.trim(graphdef.parse(data, flags.model), atc.Request(
        out_nodes=flags.out_nodes))
    outputs = _output_names(graph_def, flags)
    return Model(flags.model, graph_def, inputs_of(
        graph_def, flags.model, flags.dymbatch), outputs)


def check_manifest(model, text):
    """Refuses .bin files of videos that were made for another graph.

    Neither tool can see it where sizes are equal.

    Args:
      model: its path; its note may lie beside it.
      text: --input: a folder, whose manifest may lie beside it.
    """
    folder = os.path.dirname(os.path.normpath(text.split(",")[0]))
    found = []
    for path in (model + interface.NOTE,
                 os.path.join(folder, interface.MANIFEST)):
        if not os.path.isfile(path):
            return
        with open(path, encoding="utf-8") as file:
            found.append(json.load(file))
    wanted, made = ([each[name] for name in ("layout", "dtype", "shape")]
                    for each in found)
    if wanted != made:
        raise UserError(
            "{!r} takes {} {} {}; the files in {!r} were made as {} {} {}. "
            "Make them by bins --model {}.".format(
                model, *(wanted + [text] + made + [model])))


def inputs_of(graph_def, path, batch=None):
    """The graph's `Input`s in its order, an open batch set to `batch`.

    Raises:
      UserError: one is of strings, or a size is not known.
    """
    import numpy as np
    import tensorflow as tf

    from nonlocal_tf.export import graphdef
    inputs = []
    for node in graphdef.placeholders(graph_def):
        kind = graphdef.attribute_type(node, "dtype")
        dtype = tf.as_dtype(kind) if kind else tf.string
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            raise UserError(
                "Inputs must be numbers; {!r} of {!r} is {}. Freeze a graph "
                "that decodes nothing.".format(node.name, path, dtype.name))
        shape = graphdef.declared_shape(node)
        if shape and batch:
            if shape[0] is not None:
                raise UserError(
                    "--dymBatch sets an open batch; that of {!r} in {!r} is "
                    "{}. Leave --dymBatch out.".format(
                        node.name, path, shape[0]))
            shape[0] = batch
        if shape is None or None in shape:
            raise UserError(
                "Each size of the input must be known; {!r} of {!r} is {}. "
                "Give --dymBatch for an open batch; else a file of fixed "
                "sizes: preflight --write with --input_shape, or "
                "freeze_pb.py --batchsize.".format(
                    node.name, path, "of unknown rank" if shape is None
                    else [-1 if size is None else size for size in shape]))
        inputs.append(Input(node.name, np.dtype(
            dtype.as_numpy_dtype).newbyteorder("<"), shape))
    return inputs


def check_size(entry, path):
    """Refuses a file that does not hold the `Input` whole, and no more."""
    received = file_size(path, entry)
    if received != entry.bytes:
        raise UserError(
            "{!r} must have {:,} bytes, {} for the input {!r}; it has {:,}."
            " Write it by bins with the --batchsize, --input_layout and "
            "--image_size of the graph, of clips with its --model; if it is no "
            "input, name the folder input/, or move it away.".format(
                path, entry.bytes, entry.text(), entry.name, received))


def file_size(path, entry):
    """Bytes of the file of an `Input`.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return os.path.getsize(path)
    except OSError as error:
        raise UserError("{!r} must be a file of {:,} bytes; {}.".format(
            path, entry.bytes, storage.gist(error)))


def read_bin(entry, path):
    """The array of an `Input` in a file that `check_size` let through."""
    import numpy as np
    return np.fromfile(path, entry.dtype).reshape(entry.shape)


def _output_names(graph_def, flags):
    """Names of the output nodes, in the order of an .om."""
    from nonlocal_tf.export import graphdef
    leaves = [node.name for node in graphdef.leaves(graph_def)]
    if not flags.out_nodes:
        if not leaves:
            raise UserError("{!r} has no output. Name one with --out_nodes."
                            .format(flags.model))
        return leaves
    nodes = graphdef.by_name(graph_def)
    for name, _ in flags.out_nodes:
        if name not in nodes:
            raise UserError(
                "--out_nodes must name nodes of {!r}; it has no {!r} (those "
                "that nothing reads: {}).".format(
                    flags.model, name, ", ".join(leaves[:8])))
    return [name if index is None else "{}:{}".format(name, index)
            for name, index in flags.out_nodes]


@contextlib.contextmanager
def running(model):
    """Yields a function: arrays of the inputs to (outputs, milliseconds)."""
    import tensorflow as tf

    from nonlocal_tf.export import graphdef, predict
    with tf.Graph().as_default() as graph, \
            predict.interruptible() as execute:
        graphdef.load(model.graph_def, model.path)
        fetches = [_tensor(graph, name) for name in model.outputs]

        def run(arrays):
            began = time.perf_counter()
            try:
                results = execute(fetches, {
                    entry.name + ":0": array for entry, array in zip(
                        model.inputs, arrays)})
            except (MemoryError, ValueError, TypeError,
                    tf.errors.OpError) as error:
                raise UserError(
                    "The model could not be executed: {} {}".format(
                        storage.gist(error), _hint(error)))
            return results, 1000 * (time.perf_counter() - began)

        yield run


def _hint(error):
    if "NHWC" in str(error):            # 1.15 and 2.6, of channels first
        return "A newer TensorFlow does this on a CPU (2.21)."
    return "Do the inputs fit the graph?"


def _tensor(graph, name):
    """An output, of a type that the tools' files can hold."""
    try:
        tensor = graph.get_tensor_by_name(
            name if ":" in name else name + ":0")
    except (KeyError, ValueError):
        raise UserError("The graph has no output {!r}. Name one with "
                        "--out_nodes.".format(name))
    dtype = tensor.dtype
    if dtype.name == "bfloat16" or not (
            dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise UserError(
            "Outputs must be float, int or bool; {!r} is {}. Name others with "
            "--out_nodes.".format(tensor.name, dtype.name))
    return tensor


@contextlib.contextmanager
def writing(folder):
    """Turns what the disk refuses into one line about --output."""
    try:
        yield
    except OSError as error:
        raise UserError(
            "--output {!r} must take the results; {}. Free some space or name "
            "another folder.".format(folder, storage.gist(error)))
