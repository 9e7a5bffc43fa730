"""An Ascend NPU, by its adapter: npu_bridge (TF 1.15), npu_device (TF 2.6).

The only user of the adapter. Nothing here has been run on the hardware.
"""

import importlib
import os

import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import npu_options, ranks

tf1 = tf.compat.v1

COMPILED = "The model has been compiled on the Ascend AI processor"


class Platform:
    """One card of an NPU; see `gpu.Platform`.

    Args:
      config: a `TrainConfig`.
    Raises:
      UserError: the adapter cannot be imported, or the environment would
        end it.
    """

    rates_steps = True
    device = "NPU"

    def __init__(self, config):
        self._config = config
        self.rank, self.size, self._device = ranks.settle(
            os.environ, config.cache_folder(),
            npu_options.of_config(config).get("session_device_id"))
        self._adapter = _import_adapter()

    def session_config(self):
        """ConfigProto with NpuOptimizer, without which all runs on the CPU."""
        config = tf1.ConfigProto(allow_soft_placement=True)
        rewriting = config.graph_options.rewrite_options
        # By its number: the name is in another module in each TensorFlow.
        rewriting.remapping = type(rewriting).OFF
        # Not OFF, which is 2: that is MANUAL of this field.
        rewriting.memory_optimization = type(rewriting).NO_MEM_OPT
        optimizer = rewriting.custom_optimizers.add()
        optimizer.name = "NpuOptimizer"
        npu_options.fill(
            optimizer.parameter_map, npu_options.of_config(self._config))
        return config

    def session(self, keep):
        """A session of the default graph; cards wait for each other by HCCL."""
        del keep
        return tf1.Session(config=self.session_config())

    def wrap_optimizer(self, optimizer):
        """Averages gradients over the cards and scales the loss."""
        if self.size > 1:
            optimizer = self._adapter.NPUDistributedOptimizer(optimizer)
        if self._config.loss_scale == "none":
            return optimizer
        if not hasattr(self._adapter, "NPULossScaleOptimizer"):
            raise UserError(
                "--loss_scale {} needs the adapter's NPULossScaleOptimizer, "
                "which {} does not have. Leave it out, or train on TensorFlow "
                "1.15.".format(self._config.loss_scale,
                               self._adapter.__name__))
        return self._adapter.NPULossScaleOptimizer(
            optimizer, self._loss_scale_manager(),
            is_distributed=self.size > 1)

    def _loss_scale_manager(self):
        if self._config.loss_scale != "dynamic":
            return self._adapter.FixedLossScaleManager(
                float(self._config.loss_scale))
        return self._adapter.ExponentialUpdateLossScaleManager(
            init_loss_scale=65536.0, incr_every_n_steps=1000,
            decr_every_n_nan_or_inf=2, decr_ratio=0.5)

    def sum_over_ranks(self, tensor):
        """The tensor's sum over all cards: one allreduce."""
        if self.size == 1:
            return tensor
        return self._adapter.hccl_ops.allreduce(tensor, "sum")

    def mean_over_ranks(self, gradients):
        """As they are: the adapter's optimizer has averaged them."""
        return gradients

    def broadcast(self, variables):
        """An operation that gives variables their values in rank 0."""
        if self.size == 1:
            return tf.no_op()
        values = self._adapter.hccl_ops.broadcast(
            [variable.read_value() for variable in variables], 0)
        return tf.group(*map(tf1.assign, variables, values))

    def memory(self):
        """Of the card: not known here."""
        return None

    def peak_memory(self):
        """Of the card: not known here."""
        return None

    def describe(self):
        """The device, for the first line of a report."""
        return "NPU {}, rank {} of {}, by {}".format(
            0 if self._device is None else self._device, self.rank, self.size,
            self._adapter.__name__)

    def verdict(self, output):
        """Whether the adapter reported a compiled graph."""
        if COMPILED in output(COMPILED):
            return ["On the NPU: the adapter reported a compiled graph."]
        return [
            "NOT SEEN: the adapter's line {!r}. If it is nowhere in the log, "
            "this run is on the CPU: see docs/modelarts.md.".format(COMPILED)]


def _import_adapter():
    """The adapter's module with all its names."""
    package = "npu_bridge" if tf.__version__.startswith("1.") else "npu_device"
    try:
        if package == "npu_bridge":
            return importlib.import_module("npu_bridge.npu_init")
        importlib.import_module("npu_device").compat.enable_v1()
        return importlib.import_module("npu_device.compat.v1.npu_init")
    except (ImportError, OSError, AttributeError, tf.errors.OpError) as error:
        raise UserError(
            "--platform npu needs Ascend's package {} for TensorFlow {}; it "
            "cannot be imported ({}). Use an image with Ascend's toolkit "
            "(CANN; source its set_env.sh), or give --platform gpu.".format(
                package, tf.__version__, storage.gist(error)))
