"""The inputs of a frozen graph, and the .bin files that hold them."""

import os
from typing import Any, NamedTuple

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy


class Input(NamedTuple):
    """An input of the graph."""

    name: str
    dtype: Any                          # of NumPy, little-endian
    shape: list                         # every size known

    @property
    def bytes(self):
        """Of a file that holds it."""
        return deploy.bin_bytes(self.shape, self.dtype.itemsize)

    def text(self):
        """For a reader, such as 2 x 3 float32."""
        return " ".join([" x ".join(map(str, self.shape)), self.dtype.name])


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
                "Give --dymBatch, or freeze with a fixed --batchsize.".format(
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
            "--image_size of the graph; move it away if it is no input."
            .format(path, entry.bytes, entry.text(), entry.name, received))


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
