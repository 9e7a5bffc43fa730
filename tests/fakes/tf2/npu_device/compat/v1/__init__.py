"""npu_bridge's names, made over for TensorFlow 2: no loss scale."""

from ascend_fake import modules, session
from ascend_fake.errors import refuse

if not session.state["on"]:
    refuse("call npu_device.compat.enable_v1() before npu_device.compat.v1 "
           "is imported", "2")
modules.install(__name__, with_loss_scale=False)
