"""The collectives between two real processes; each runs this."""

import os
import time

import harness
import numpy as np
import tensorflow as tf
from npu import config
from npu_bridge import npu_init

tf1 = tf.compat.v1
tf1.disable_eager_execution()

RANK = int(os.environ["RANK_ID"])
hccl_ops = npu_init.hccl_ops


def run(fetches, feeds=None):
    with tf1.Session(config=config()) as session:
        session.run(tf1.global_variables_initializer())
        return session.run(fetches, feeds)


def values(rank, dtype):
    random = np.random.RandomState(rank)
    return (random.randn(3, 5) * 10).astype(dtype)


def check_allreduce_equals_numpy():
    wanted, given = [], []
    with tf.Graph().as_default():
        for dtype in ("float32", "float16", "int32", "int8"):
            pair = [values(rank, dtype) for rank in (0, 1)]
            for name, function in (("sum", np.add), ("max", np.maximum),
                                   ("min", np.minimum)):
                given.append(hccl_ops.allreduce(
                    tf.constant(pair[RANK]), name))
                wanted.append(function(*pair))
        for one, other in zip(run(given), wanted):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def check_broadcast_gives_the_root_s_values():
    with tf.Graph().as_default():
        tensors = [tf.constant(values(RANK, dtype))
                   for dtype in ("float32", "int64")]
        given = run(hccl_ops.broadcast(tensors, 1))
    for one, dtype in zip(given, ("float32", "int64")):
        np.testing.assert_array_equal(one, values(1, dtype))


def check_operations_that_wait_in_any_order_do_not_block_each_other():
    with tf.Graph().as_default():
        sums = []
        for number in range(8):
            with tf.control_dependencies(
                    [tf.constant(0)] if number % 2 == RANK else []):
                sums.append(hccl_ops.allreduce(
                    tf.fill([100000], float(number)), "sum"))
        for number, given in enumerate(run(sums)):
            assert (given == 2 * number).all()


def train(step_count, feed, wrap):
    """w after steps with the gradient `feed(step)`, and global_step."""
    with tf.Graph().as_default():
        x = tf1.placeholder(tf.float32, [2])
        w = tf1.get_variable("w", initializer=tf.ones(2), use_resource=True)
        v = tf1.get_variable("v", initializer=1.0, use_resource=True)
        step = tf1.train.get_or_create_global_step()
        operation = wrap(tf1.train.GradientDescentOptimizer(0.5)).minimize(
            tf.reduce_sum(w * x) + v, global_step=step)
        with tf1.Session(config=config()) as session:
            session.run(tf1.global_variables_initializer())
            for number in range(step_count):
                session.run(operation, {x: feed(number)})
            return session.run([w, v, step])


def check_gradients_are_the_mean_of_all_ranks():
    w, v, step = train(
        2, lambda _: [RANK, 3 * RANK], npu_init.NPUDistributedOptimizer)
    np.testing.assert_array_equal(w, [0.5, -0.5])
    assert (v, step) == (0, 2)


def check_all_ranks_leave_out_the_step_in_which_one_overflows():
    def inner(optimizer):
        return npu_init.NPULossScaleOptimizer(
            optimizer, npu_init.FixedLossScaleManager(8),
            is_distributed=True)

    def feed(number):
        return [np.inf if number == RANK == 1 else 1.0, 0.0]

    for wrap in (
            lambda each: npu_init.NPUDistributedOptimizer(inner(each)),
            lambda each: inner(npu_init.NPUDistributedOptimizer(each))):
        w, _, step = train(3, feed, wrap)
        np.testing.assert_array_equal(w, [0, 1])
        assert step == 2


def failing(fetch, text):
    with tf1.Session(config=config()) as session:
        with harness.raises(tf.errors.OpError, text):
            session.run(fetch)


def check_the_log_level_decides_on_the_compiled_line():
    """Rank 1 has TF_CPP_MIN_LOG_LEVEL=1, rank 0 none."""
    with harness.standard_error() as text:
        train(1, lambda _: [0, 0], npu_init.NPUDistributedOptimizer)
    assert ("compiled on the Ascend AI processor" in text()) == (RANK == 0)


def check_different_shapes_raise_on_both():
    with tf.Graph().as_default():
        failing(hccl_ops.allreduce(tf.zeros([2 + RANK]), "sum"), "disagree")


def check_a_rank_that_ends_does_not_leave_the_other_waiting():
    """Rank $LEAVER ends here; its parent sees that by the missing answer."""
    leaves = int(os.environ["LEAVER"]) == RANK
    with tf.Graph().as_default():
        total = hccl_ops.allreduce(tf.zeros([2]), "sum")
        if leaves:
            time.sleep(0.5)
            os._exit(0)
        start = time.monotonic()
        failing(total, "has ended")
    assert time.monotonic() - start < 5
