"""What the fake of npu_bridge refuses: run with it on the PYTHONPATH.

A process of its own, since the fake changes TensorFlow's session class; see
../test_fakes.py. Each function ends silently, or by the error that it finds.
"""

import contextlib
import json
import os
import sys
import tempfile
import traceback

import numpy as np
import tensorflow as tf
from ascend_fake import AscendFakeError
from npu_bridge import npu_init

tf1 = tf.compat.v1
tf1.disable_eager_execution()
FOLDER = tempfile.mkdtemp(dir=os.getcwd())
INNER = tf1.train.GradientDescentOptimizer(0.1)


@contextlib.contextmanager
def refused(text, kind=AscendFakeError):
    try:
        yield
    except kind as error:
        assert text in str(error), "{!r} not in {!r}".format(text, error)
        return
    raise AssertionError("nothing raised, expected {!r}".format(text))


@contextlib.contextmanager
def environment(**values):
    """These variables for a while, beside the process's own."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def config(name="NpuOptimizer", remapping=2, **options):
    result = tf1.ConfigProto()
    rewrite = result.graph_options.rewrite_options
    rewrite.remapping = remapping
    optimizer = rewrite.custom_optimizers.add()
    optimizer.name = name
    for key, value in dict({"use_off_line": True}, **options).items():
        field = {bool: "b", int: "i", str: "s", float: "f"}[type(value)]
        setattr(optimizer.parameter_map[key], field, (
            value.encode("utf-8") if field == "s" else value))
    return result


def open_session(**options):
    tf1.Session(graph=tf.Graph(), config=config(**options)).close()


def network():
    """A graph with one trainable variable: its placeholder and result."""
    x = tf1.placeholder(tf.float32, [None, 2], "x")
    w = tf1.get_variable(
        "w", initializer=tf.constant([1.0, 2.0]), use_resource=True)
    return x, tf.reduce_sum(x * w), w


def unknown_names():
    assert not hasattr(npu_init, "npu_tf_optimizer")
    with refused("no 'NPURunConfig'"):
        npu_init.NPURunConfig(save_checkpoints_steps=1)


def names_that_are_nearly_right():
    for name in ("NPUOptimizer", "npuoptimizer", "NpuOptimiser",
                 "NupOptimizer", "NPUDistributedOptimizer"):
        with refused("exact name"):
            open_session(name=name)


def the_rewriter():
    with refused("remapping"):
        open_session(remapping=0)
    proto = config()
    rewrite = proto.graph_options.rewrite_options
    rewrite.memory_optimization = type(rewrite).OFF
    with refused("MANUAL"):
        tf1.Session(graph=tf.Graph(), config=proto)


def options():
    open_session(
        precision_mode="allow_mix_precision", graph_run_mode=1,
        iterations_per_loop=1, session_device_id=0, hcom_parallel=True,
        enable_dump=True, dump_path=FOLDER, dump_step="0|5|10-20",
        profiling_mode=True, hccl_timeout=600,
        profiling_options=json.dumps({"output": FOLDER}))
    for options, text in (
            ({"precision_mod": "force_fp16"}, "unknown key"),
            ({"dynamic_loss_scale": True}, "unknown key"),
            ({"precision_mode": True}, "proto field 'b'"),
            ({"session_device_id": 0.0}, "proto field 'f'"),
            ({"precision_mode": "fp16"}, "not legal"),
            ({"use_off_line": False}, "CPU"),
            ({"modify_mixlist": __file__}, "needs precision_mode"),
            ({"precision_mode": "force_fp16", "precision_mode_v2": "origin"},
             "together"),
            ({"optypelist_for_implmode": "Pooling"}, "FATAL"),
            ({"enable_dump": True}, "dump_path"),
            ({"enable_dump": True, "dump_path": "/no/such"}, "no folder"),
            ({"dump_step": "20-10"}, "FATAL"),
            ({"dump_step": "5", "enable_dump_debug": True,
              "dump_path": FOLDER}, "under enable_dump"),
            ({"enable_dump": True, "enable_dump_debug": True,
              "dump_path": FOLDER}, "exclude"),
            ({"iterations_per_loop": 0}, "FATAL"),
            ({"profiling_mode": True}, "FATAL"),
            ({"profiling_mode": True, "profiling_options": "{\"outptu\": 1}"},
             "outptu")):
        with refused(text):
            open_session(**options)


def the_environment():
    for values, text in (
            ({"RANK_SIZE": "2", "JOB_ID": "1"}, "RANK_TABLE_FILE"),
            ({"RANK_SIZE": "2"}, "JOB_ID"),
            ({"RANK_SIZE": "two"}, "RANK_SIZE"),
            ({"ASCEND_DEVICE_ID": "-1"}, "FATAL")):
        with environment(**values), refused(text):
            open_session()


def the_rank_table():
    table = {
        "version": "1.0", "status": "completed", "server_count": "1",
        "server_list": [{"server_id": "127.0.0.1", "device": [
            {"device_id": str(rank), "device_ip": "192.168.100.10",
             "rank_id": str(rank)} for rank in (0, 1)]}]}
    path = os.path.join(FOLDER, "table.json")
    given = {"RANK_TABLE_FILE": path, "RANK_SIZE": "2", "RANK_ID": "1",
             "JOB_ID": "1", "ASCEND_DEVICE_ID": "1"}
    for table_change, change, text in (
            ({}, {}, None), ({}, {"RANK_ID": "2"}, "not in"),
            ({}, {"POD_NAME": "job-0"}, "FATAL: POD_NAME"),
            ({}, {"CM_CHIEF_IP": "10.0.0.1"}, "HCCL stays off"),
            ({}, {"RANK_SIZE": "1"}, "not 0..0"),
            ({}, {"RANK_TABLE_FILE": FOLDER}, "cannot be read"),
            ({"version": "0.1"}, {}, "version"),
            ({"status": "initializing"}, {}, "completed"),
            ({"server_count": 1}, {}, "no string")):
        with open(path, "w") as file:
            json.dump(dict(table, **table_change), file)
        with environment(**dict(given, **change)), (
                refused(text) if text else contextlib.nullcontext()):
            open_session()


def another_size_of_the_batch():
    with tf.Graph().as_default():
        x, y, w = network()
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
            session.run(y, {x: np.ones((4, 2))})
            with refused("recompilation"):
                session.run(y, {x: np.ones((3, 2))})
            with refused("Session.run only"):
                session.make_callable(y)


def an_iterator_that_is_empty_before_it_reaches_the_inner_optimizer():
    """Seen with the adapter's own Python on TensorFlow 1.15.5."""
    with tf.Graph().as_default():
        optimizer = npu_init.NPULossScaleOptimizer(
            tf1.train.AdamOptimizer(0.5), npu_init.FixedLossScaleManager(8))
        pairs = optimizer.compute_gradients(network()[1])
        with refused("No variables provided.", ValueError):
            optimizer.apply_gradients(iter(pairs))
        optimizer.apply_gradients(pairs)


def a_loss_scale_of_one_rank_among_several():
    manager = npu_init.FixedLossScaleManager(8)
    with environment(RANK_SIZE="2"), refused("is_distributed"):
        npu_init.NPULossScaleOptimizer(INNER, manager)


def arguments_of_the_collectives():
    ops, one = npu_init.hccl_ops, tf.constant(1.0)
    with refused("RANK_TABLE_FILE"):
        ops.allreduce(one, "sum")
    with environment(RANK_TABLE_FILE="/some"):
        for call, text in (
                (lambda: ops.allreduce(one, "mean"), "reduction"),
                (lambda: ops.allreduce(tf.constant(1, tf.int64), "sum"),
                 "int64"),
                (lambda: ops.allreduce([one], "sum"), "one tensor"),
                (lambda: ops.broadcast(one, 0), "list"),
                (lambda: ops.broadcast([one], 1), "root_rank"),
                (lambda: ops.broadcast([tf.constant(True)], 0), "bool")):
            with refused(text):
                call()


if __name__ == "__main__":
    failures = []
    for check in (
            unknown_names, names_that_are_nearly_right, the_rewriter, options,
            the_environment, the_rank_table, another_size_of_the_batch,
            an_iterator_that_is_empty_before_it_reaches_the_inner_optimizer,
            a_loss_scale_of_one_rank_among_several,
            arguments_of_the_collectives):
        try:
            check()
        except Exception:
            failures.append(traceback.format_exc())
    sys.exit("\n".join(failures) or 0)
