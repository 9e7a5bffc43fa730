"""A strict fake of npu_device: see tests/fakes/README.md."""

import sys

import tensorflow as _tf
from ascend_fake import errors as _errors
from ascend_fake import modules as _modules
from ascend_fake import session as _session

if _tf.__version__.startswith("1."):
    _errors.refuse("npu_device is for TensorFlow 2", "2")
_session.install()

from npu_device import compat  # noqa: E402, F401

sys.modules[__name__].__class__ = _modules.Module
