"""A GPU where TensorFlow sees one, else the CPU; one process."""

import tensorflow as tf

tf1 = tf.compat.v1


def session_config():
    """ConfigProto that takes GPU memory as it is needed."""
    config = tf1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    return config


def wrap_optimizer(optimizer):
    """The optimizer itself: one process has no gradients to average."""
    return optimizer
