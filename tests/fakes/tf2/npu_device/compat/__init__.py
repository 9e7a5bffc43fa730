"""enable_v1(), and npu_bridge's names as `v1`."""

import sys

from ascend_fake import session as _session
from ascend_fake.modules import Module


def enable_v1():
    """Graph mode, and NpuOptimizer's library."""
    _session.tf1.disable_v2_behavior()
    _session.state["on"] = True


sys.modules[__name__].__class__ = Module
