"""A strict fake of npu_bridge: see tests/fakes/README.md."""

from ascend_fake import modules, session

session.state["on"] = True
modules.install(__name__, with_loss_scale=True)
