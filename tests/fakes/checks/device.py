"""Is the fake of npu_device strict? TensorFlow 2 only."""

import importlib

import harness
import npu
import tensorflow as tf
from npu import config, refused

tf1 = tf.compat.v1
npu.use("tf2")

import npu_device  # noqa: E402
from ascend_fake import device, log  # noqa: E402


def check_options_are_strict():
    options = npu_device.global_options()
    options.precision_mode = "allow_mix_precision"
    options.dump_config.enable_dump = True
    for name, value in (("auto_tune_mode", "RL,GA"),
                        ("precision_mode", "fp16"), ("jit_compile", 1.5)):
        with harness.raises(ValueError, name):
            setattr(options, name, value)
    with harness.raises(ValueError, "dump_pth"):
        options.dump_config.dump_pth = "."
    with refused("no 'opne'"):
        npu_device.opne()


def check_open_needs_the_ranks_and_excludes_enable_v1():
    with harness.environment(RANK_SIZE="2"):
        with harness.raises(RuntimeError, "RANK_TABLE_FILE"):
            npu_device.open()
    handle = npu_device.open()
    assert handle.as_default() is handle and not handle.is_cluster_worker()
    with harness.raises(RuntimeError, "one device"):
        npu_device.open(1)
    with refused("before"):
        npu_device.global_options().deterministic = 1
    with refused("after open"):
        npu_device.compat.enable_v1()
    device.state["open"] = None


def check_nothing_of_v1_works_before_enable_v1():
    with refused("enable_v1"):
        importlib.import_module("npu_device.compat.v1.npu_init")
    with refused("enable_v1"):
        tf1.Session(graph=tf.Graph(), config=config())


def check_enable_v1_gives_npu_bridge_without_the_loss_scale():
    npu_device.compat.enable_v1()
    assert not tf.executing_eagerly()
    names = {}
    exec("from npu_device.compat.v1.npu_init import *", names)
    from npu_device.compat.v1.estimator import npu_ops
    from npu_device.compat.v1.hccl import hccl_ops
    assert names["npu_ops"] is npu_ops and names["hccl_ops"] is hccl_ops
    assert "NPUDistributedOptimizer" in names
    for name in ("NPULossScaleOptimizer", "FixedLossScaleManager",
                 "ExponentialUpdateLossScaleManager"):
        assert name not in names
    with harness.raises(ImportError, "npu_loss_scale"):
        importlib.import_module("npu_device.compat.v1.estimator.npu."
                                "npu_loss_scale_manager")
    with refused("after enable_v1"):
        npu_device.open()


def check_a_session_on_the_npu_after_enable_v1():
    del log[:]
    with tf.Graph().as_default(), harness.standard_error() as text:
        w = tf1.get_variable("w", initializer=1.0, use_resource=True)
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
    assert "npu_session" in [entry["event"] for entry in log]
    assert "compiled on the Ascend AI processor" in text(), text()
