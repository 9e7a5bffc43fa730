"""A small graph and its inputs, for the rehearsals of Ascend's tools."""

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1


def write_model(path, shape):
    """x -> the largest's place, and 2 x; returns its path."""
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, shape, "input")
        tf.argmax(x, 1, output_type=tf.int32, name="output")
        tf.multiply(x, 2.0, name="double")
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def feed(folder, **arrays):
    """A folder of .bin files by name; returns its path."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        (folder / (name.strip("_") + ".bin")).write_bytes(
            np.array(array, "<f4").tobytes())
    return str(folder)
