"""The package that npu_bridge needs: hccl.manage.api."""

import os
import sys

_COMMON = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "common")
if os.path.normpath(_COMMON) not in sys.path:
    sys.path.append(os.path.normpath(_COMMON))

from ascend_fake import modules  # noqa: E402

modules.install_hccl()
