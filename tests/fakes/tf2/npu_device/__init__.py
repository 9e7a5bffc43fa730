"""A strict fake of npu_device: see tests/fakes/README.md."""

import os
import sys

_COMMON = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "common")
if os.path.normpath(_COMMON) not in sys.path:
    sys.path.append(os.path.normpath(_COMMON))

import tensorflow as _tf  # noqa: E402
from ascend_fake import errors as _errors  # noqa: E402
from ascend_fake import modules as _modules  # noqa: E402
from ascend_fake import session as _session  # noqa: E402
from ascend_fake.device import global_options  # noqa: E402, F401
from ascend_fake.device import open_device as open  # noqa: E402, A004, F401

if _tf.__version__.startswith("1."):
    _errors.refuse("npu_device is for TensorFlow 2", "2")
_session.install()

from npu_device import compat  # noqa: E402, F401

_modules.module("npu_device.distribute", _modules.refused((
    "all_reduce", "broadcast", "shard_and_rebatch_dataset",
    "npu_distributed_keras_optimizer_wrapper")))
_modules.module("npu_device.train", {"__path__": []})
_modules.module("npu_device.train.optimizer", _modules.refused((
    "NpuLossScaleOptimizer",)))


sys.modules[__name__].__class__ = _modules.Module
