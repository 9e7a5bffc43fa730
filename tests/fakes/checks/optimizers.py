"""Is the fake of npu_bridge strict, and true, about training on one rank?"""

import json
import os

import harness
import numpy as np
import tensorflow as tf
from npu import FOLDER, config, network, refused
from npu_bridge import npu_init

tf1 = tf.compat.v1
tf1.disable_eager_execution()


def check_one_rank_trains_as_without_the_distributed_optimizer():
    with tf.Graph().as_default():
        x, y, w = network()
        inner = tf1.train.GradientDescentOptimizer(0.1)
        outer = npu_init.NPUDistributedOptimizer(inner)
        (gradient, _), = outer.compute_gradients(y)
        assert "Hcom" not in gradient.name
        train = outer.minimize(y)
        with tf1.Session(config=config()) as session:
            session.run(tf1.global_variables_initializer())
            session.run(train, {x: [[1, 2]]})
            np.testing.assert_allclose(
                session.run(w), [0.9, 1.8], rtol=1e-6)
    with refused("train.Optimizer"):
        npu_init.NPUDistributedOptimizer("adam")


def loss_scaled(manager):
    """Steps fed 1, infinity, infinity, 1: (w, global_step, scale) after."""
    x = tf1.placeholder(tf.float32, [], "x")
    w = tf1.get_variable("w", initializer=1.0, use_resource=True)
    step = tf1.train.get_or_create_global_step()
    optimizer = npu_init.NPULossScaleOptimizer(
        tf1.train.GradientDescentOptimizer(0.5), manager)
    train = optimizer.minimize(x * w, global_step=step)
    rows = []
    with tf1.Session(config=config()) as session:
        session.run(tf1.global_variables_initializer())
        for value in (1, np.inf, np.inf, 1):
            session.run(train, {x: value})
            rows.append([float(each) for each in session.run(
                [w, step, manager.get_loss_scale()])])
    return rows


def check_an_overflow_leaves_the_step_out():
    with tf.Graph().as_default():
        rows = loss_scaled(npu_init.FixedLossScaleManager(8))
    assert rows == [[0.5, 1, 8]] * 3 + [[0, 2, 8]], rows
    with harness.raises(ValueError, "at least 1"):
        npu_init.FixedLossScaleManager(0.5)


def check_an_iterator_is_empty_before_it_reaches_the_inner_optimizer():
    """Seen with the adapter's own Python on TensorFlow 1.15.5."""
    with tf.Graph().as_default():
        _, y, _ = network()
        optimizer = npu_init.NPULossScaleOptimizer(
            tf1.train.AdamOptimizer(0.5), npu_init.FixedLossScaleManager(8))
        pairs = optimizer.compute_gradients(y)
        with harness.raises(ValueError, "No variables provided."):
            optimizer.apply_gradients(iter(pairs))
        optimizer.apply_gradients(pairs)


def check_the_scale_falls_and_rises():
    with tf.Graph().as_default():
        rows = loss_scaled(npu_init.ExponentialUpdateLossScaleManager(
            64, 1, decr_every_n_nan_or_inf=2, decr_ratio=0.5))
        names = {each.op.name for each in tf1.global_variables()}
        assert {"loss_scale", "good_steps", "bad_steps"} < names
    assert [row[2] for row in rows] == [128, 128, 64, 128], rows
    with tf.Graph().as_default():
        with tf.control_dependencies([tf.no_op()]):
            with refused("control_dependencies"):
                npu_init.ExponentialUpdateLossScaleManager(64, 1)


def check_operations_of_the_npu_have_no_kernel_for_the_cpu():
    path = os.path.join(FOLDER, "table.json")
    with open(path, "w") as file:
        json.dump(harness.rank_table(1), file)
    with tf.Graph().as_default(), harness.environment(
            RANK_TABLE_FILE=path, RANK_ID="0", DEVICE_ID="0"):
        one = npu_init.hccl_ops.broadcast([tf.constant(1.0)], 0)
        with tf1.Session(config=config()) as session:
            assert session.run(one) == [1.0]
        with harness.raises(tf.errors.OpError, "no kernel"):
            tf1.Session().run(one)


def check_many_ranks_need_is_distributed():
    inner = tf1.train.GradientDescentOptimizer(0.1)
    manager = npu_init.FixedLossScaleManager(8)
    with harness.environment(RANK_SIZE="2"), refused("is_distributed"):
        npu_init.NPULossScaleOptimizer(inner, manager)


def check_the_arguments_of_the_collectives():
    ops = npu_init.hccl_ops
    one = tf.constant(1.0)
    with refused("RANK_TABLE_FILE"):
        ops.allreduce(one, "sum")
    with harness.environment(RANK_TABLE_FILE="/some"):
        for call, text in (
                (lambda: ops.allreduce(one, "mean"), "reduction"),
                (lambda: ops.allreduce(tf.constant(1, tf.int64), "sum"),
                 "int64"),
                (lambda: ops.allreduce([one], "sum"), "one tensor"),
                (lambda: ops.allreduce(one, "sum", group="mine"), "group"),
                (lambda: ops.broadcast(one, 0), "list"),
                (lambda: ops.broadcast([one], 1), "root_rank"),
                (lambda: ops.broadcast([tf.constant(True)], 0), "bool")):
            with refused(text):
                call()
