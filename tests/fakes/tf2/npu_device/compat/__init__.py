"""enable_v1(), and npu_bridge's names as `v1`."""

import sys

from ascend_fake.device import enable_v1  # noqa: F401
from ascend_fake.modules import Module

sys.modules[__name__].__class__ = Module
