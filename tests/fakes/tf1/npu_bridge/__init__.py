"""A strict fake of npu_bridge: see tests/fakes/README.md."""

import os
import sys

_COMMON = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "common")
if os.path.normpath(_COMMON) not in sys.path:
    sys.path.append(os.path.normpath(_COMMON))

from ascend_fake import modules, session  # noqa: E402

session.state["on"] = True
modules.install(__name__, with_loss_scale=True)
