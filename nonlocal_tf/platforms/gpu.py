"""A GPU where TensorFlow sees one, else the CPU; one process."""

import os

import tensorflow as tf

tf1 = tf.compat.v1


class Platform:
    """What the training takes from a machine; `npu.Platform` has the same.

    Args:
      config: a `TrainConfig`.

    Attributes:
      rank, size: which of how many processes this is.
      rates_steps: whether an epoch's line ends in steps a second, as the
        known system's does on an NPU, and not in seconds.
    """

    rank, size = 0, 1
    rates_steps = False

    def __init__(self, config):
        del config

    def session_config(self):
        """ConfigProto that takes GPU memory as it is needed."""
        config = tf1.ConfigProto(allow_soft_placement=True)
        config.gpu_options.allow_growth = True
        return config

    def wrap_optimizer(self, optimizer):
        """The optimizer itself: one process has no gradients to average."""
        return optimizer

    def sum_over_ranks(self, tensor):
        """The tensor's sum over all processes."""
        return tensor

    def broadcast(self, variables):
        """An operation that gives variables their values in rank 0."""
        del variables
        return tf.no_op()

    def describe(self, session):
        """The device, for the first line of a report."""
        if any(device.device_type == "GPU"
               for device in session.list_devices()):
            return "GPU"
        return "CPU" + (
            ", although an NVIDIA device is there: pip install "
            "'tensorflow[and-cuda]'" if os.path.exists("/dev/nvidia0") else "")

    def verdict(self, output):
        """What `output` (see `training.loop.train`) tells of the device."""
        del output
        return ""
