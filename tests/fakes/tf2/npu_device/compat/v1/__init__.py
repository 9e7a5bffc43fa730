"""npu_bridge's names, made over for TensorFlow 2: no loss scale."""

from ascend_fake import device, modules

device.need_v1()
modules.install(__name__, with_loss_scale=False)
