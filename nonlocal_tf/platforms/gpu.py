"""A GPU where TensorFlow sees one, else the CPU; one process, or several."""

import os

import tensorflow as tf

from nonlocal_tf.platforms import cluster, machine, precision
from nonlocal_tf.platforms.peers import Peers

tf1 = tf.compat.v1

# Threads that begin operations, at least, of several processes: one alone puts
# the gradients' sums behind the whole backward pass.
_BEGINNING = 4


class Platform:
    """What the training takes from a machine; `npu.Platform` has the same.

    Args:
      config: a `TrainConfig`.
    Raises:
      UserError: its precision cannot be had here, or TF_CONFIG cannot work.

    Attributes:
      rank, size: which of how many processes this is.
      rates_steps: whether an epoch's line ends in steps a second, as the
        known system's does on an NPU, and not in seconds.
      device: "CPU", "GPU" or "NPU".
    """

    rates_steps = False

    def __init__(self, config):
        self._config = config
        found = cluster.settle(os.environ)
        self.rank, self.size = found.rank, found.size
        self._threads = config.threads or machine.cores()
        self.device = "CPU"
        with tf1.Session(graph=tf.Graph(),
                         config=self.session_config()) as session:
            if any(device.device_type == "GPU"
                   for device in session.list_devices()):
                self.device = "GPU"
        precision.check(config.precision, self.device)
        precision.check_wire(config.gradient_precision, self.device)
        self._peers = None if self.size == 1 else Peers(
            found, config.shared_settings(), self.session_config(),
            self.device)

    def session(self, keep):
        """A session of the default graph; see `peers.Peers.session`."""
        if self._peers:
            return self._peers.session(keep)
        return tf1.Session(config=self.session_config())

    def session_config(self):
        """ConfigProto: the threads, and GPU memory as it is needed.

        On a CPU TensorFlow rewrites the graph once, not twice: steps are as
        fast, and the first comes some seconds earlier.
        """
        beginning = self._threads if self.size == 1 else max(
            self._threads, _BEGINNING)
        config = tf1.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=self._threads,
            inter_op_parallelism_threads=beginning)
        config.gpu_options.allow_growth = True
        if self.device == "CPU":
            rewriting = config.graph_options.rewrite_options
            rewriting.meta_optimizer_iterations = type(rewriting).ONE
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
        return self._peers.sum(tensor) if self._peers else tensor

    def mean_over_ranks(self, gradients):
        """Gradients averaged over all processes, where no optimizer does."""
        if not self._peers:
            return gradients
        return self._peers.mean(gradients, tf.dtypes.as_dtype(
            self._config.gradient_precision))

    def broadcast(self, variables):
        """An operation that gives variables their values in rank 0."""
        return self._peers.broadcast(variables) if self._peers else tf.no_op()

    def describe(self):
        """The device, for the first line of a report."""
        text = "GPU" if self.device == "GPU" else "CPU, {} threads".format(
            self._threads)
        if self.size > 1:
            text += ", rank {} of {}".format(self.rank, self.size)
        if self.device == "GPU":
            return text
        return text + (
            ", although an NVIDIA device is there: pip install "
            "'tensorflow[and-cuda]'" if os.path.exists("/dev/nvidia0") else "")

    def verdict(self, output):
        """Lines on what `output` (see `training.loop.train`) tells."""
        del output
        return []
