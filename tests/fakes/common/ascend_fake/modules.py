"""npu_bridge's names, for npu_bridge and npu_device.compat.v1.

Only those that a trainer without NPUEstimator needs; any other raises.
"""

import sys
import types

from ascend_fake import hccl_ops, loss_scale, optimizers, session
from ascend_fake.errors import UnknownNameError


class Module(types.ModuleType):
    """A module whose unknown names raise AscendFakeError."""

    def __getattr__(self, name):
        raise UnknownNameError("{} has no {!r} [ascend.md 1.1]".format(
            self.__name__, name))


def _module(name, *contents):
    """A module below one that is there."""
    made = sys.modules[name] = Module(name)
    vars(made).update((each.__name__.rpartition(".")[2], each)
                      for each in contents)
    parent, _, last = name.rpartition(".")
    setattr(sys.modules[parent], last, made)
    return made


def install(root, with_loss_scale):
    """Makes package `root`'s npu_init."""
    session.install()
    contents = [_module(root + ".hccl_ops", hccl_ops.allreduce,
                        hccl_ops.broadcast),
                optimizers.NPUDistributedOptimizer]
    if with_loss_scale:
        contents += [optimizers.NPULossScaleOptimizer,
                     loss_scale.FixedLossScaleManager,
                     loss_scale.ExponentialUpdateLossScaleManager]
    _module(root + ".npu_init", *contents)
