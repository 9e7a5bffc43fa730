"""Is the fake of npu_device strict? TensorFlow 2 only."""

import importlib

import harness
import npu_device
import tensorflow as tf
from npu import config, refused

tf1 = tf.compat.v1


def check_nothing_of_v1_works_before_enable_v1():
    with refused("enable_v1"):
        importlib.import_module("npu_device.compat.v1.npu_init")
    with refused("enable_v1"):
        tf1.Session(graph=tf.Graph(), config=config())
    with refused("no 'opne'"):
        npu_device.opne()


def check_enable_v1_gives_npu_bridge_without_the_loss_scale():
    npu_device.compat.enable_v1()
    assert not tf.executing_eagerly()
    init = importlib.import_module("npu_device.compat.v1.npu_init")
    assert init.NPUDistributedOptimizer and init.hccl_ops.allreduce
    for name in ("NPULossScaleOptimizer", "FixedLossScaleManager",
                 "ExponentialUpdateLossScaleManager"):
        assert not hasattr(init, name)
    with tf.Graph().as_default(), harness.standard_error() as text:
        w = tf1.get_variable("w", initializer=1.0, use_resource=True)
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
    assert "compiled on the Ascend AI processor" in text(), text()
