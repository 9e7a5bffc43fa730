"""What the checks of the adapter share: sessions and a small network."""

import os
import tempfile

import harness
import tensorflow as tf
from ascend_fake import AscendFakeError

tf1 = tf.compat.v1
FOLDER = tempfile.mkdtemp(dir=os.getcwd())


def refused(text):
    return harness.raises(AscendFakeError, text)


def config(name="NpuOptimizer", remapping=2, **options):
    result = tf1.ConfigProto()
    rewrite = result.graph_options.rewrite_options
    rewrite.remapping = remapping
    optimizer = rewrite.custom_optimizers.add()
    optimizer.name = name
    for key, value in dict({"use_off_line": True}, **options).items():
        field = {bool: "b", int: "i", str: "s", float: "f"}[type(value)]
        setattr(optimizer.parameter_map[key], field, (
            value.encode("utf-8") if field == "s" else value))
    return result


def network():
    """A graph with one trainable variable: its placeholder and result."""
    x = tf1.placeholder(tf.float32, [None, 2], "x")
    w = tf1.get_variable(
        "w", initializer=tf.constant([1.0, 2.0]), use_resource=True)
    return x, tf.reduce_sum(x * w), w


def open_session(**options):
    session = tf1.Session(graph=tf.Graph(), config=config(**options))
    session.close()
