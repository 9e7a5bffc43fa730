"""A GPU where TensorFlow sees one, else the CPU; one process."""

import os

import tensorflow as tf

from nonlocal_tf.platforms import machine, precision

tf1 = tf.compat.v1


class Platform:
    """What the training takes from a machine; `npu.Platform` has the same.

    Args:
      config: a `TrainConfig`.
    Raises:
      UserError: its precision cannot be had here.

    Attributes:
      rank, size: which of how many processes this is.
      rates_steps: whether an epoch's line ends in steps a second, as the
        known system's does on an NPU, and not in seconds.
      device: "CPU", "GPU" or "NPU".
    """

    rank, size = 0, 1
    rates_steps = False

    def __init__(self, config):
        self._config = config
        self._threads = config.threads or machine.cores()
        with tf1.Session(graph=tf.Graph(),
                         config=self.session_config()) as session:
            self.device = "GPU" if any(
                device.device_type == "GPU"
                for device in session.list_devices()) else "CPU"
        precision.check(config.precision, self.device)

    def session_config(self):
        """ConfigProto: the threads, and GPU memory as it is needed."""
        config = tf1.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=self._threads,
            inter_op_parallelism_threads=self._threads)
        config.gpu_options.allow_growth = True
        return config

    def memory(self):
        """The CPU's `machine.Memory`; None where that is not known.

        Nor of a GPU, of which the estimate was never checked.
        """
        if self.device == "GPU":
            return None
        free = machine.free_memory()
        return None if free is None else machine.Memory(
            free, machine.used_memory() or 0)

    def peak_memory(self):
        """The most bytes that were taken so far; None if unknown."""
        return None if self.device == "GPU" else machine.peak_memory()

    def wrap_optimizer(self, optimizer):
        """The optimizer, with a loss scale where float16 needs one."""
        if self._config.precision != "mixed_float16":
            return optimizer
        return tf1.train.experimental.MixedPrecisionLossScaleOptimizer(
            optimizer, tf1.train.experimental.DynamicLossScale())

    def sum_over_ranks(self, tensor):
        """The tensor's sum over all processes."""
        return tensor

    def broadcast(self, variables):
        """An operation that gives variables their values in rank 0."""
        del variables
        return tf.no_op()

    def describe(self):
        """The device, for the first line of a report."""
        if self.device == "GPU":
            return "GPU"
        text = "CPU, {} threads".format(self._threads)
        return text + (
            ", although an NVIDIA device is there: pip install "
            "'tensorflow[and-cuda]'" if os.path.exists("/dev/nvidia0") else "")

    def verdict(self, output):
        """Lines on what `output` (see `training.loop.train`) tells."""
        del output
        return []
