"""Is the fake of npu_bridge strict about sessions and their options?"""

import json
import os

import harness
import numpy as np
import tensorflow as tf
from npu import FOLDER, config, network, open_session, refused
from npu_bridge import npu_init

tf1 = tf.compat.v1
tf1.disable_eager_execution()
LINE = ("tf_adapter/kernels/geop_npu.cc:765] The model has been compiled "
        "on the Ascend AI processor, current graph id is: ")


def check_unknown_names_raise():
    assert not hasattr(npu_init, "npu_tf_optimizer")
    with refused("no 'NPURunConfig'"):
        npu_init.NPURunConfig(save_checkpoints_steps=1)


def check_the_exact_name_once():
    for name in ("NPUOptimizer", "npuoptimizer", "NpuOptimiser",
                 "NupOptimizer", "NPUDistributedOptimizer"):
        with refused("exact name"):
            open_session(name=name)
    twice = config()
    twice.graph_options.rewrite_options.custom_optimizers.add().name = (
        "NpuOptimizer")
    with refused("twice"):
        tf1.Session(graph=tf.Graph(), config=twice)


def check_the_rewriter():
    with refused("remapping"):
        open_session(remapping=0)
    proto = config()
    rewrite = proto.graph_options.rewrite_options
    rewrite.memory_optimization = type(rewrite).OFF
    with refused("MANUAL"):
        tf1.Session(graph=tf.Graph(), config=proto)
    rewrite.memory_optimization = type(rewrite).NO_MEM_OPT
    tf1.Session(graph=tf.Graph(), config=proto).close()
    rewrite.constant_folding = type(rewrite).OFF
    with refused("constant_folding"):
        tf1.Session(graph=tf.Graph(), config=proto)


def check_good_options_are_accepted():
    mixlist = os.path.join(FOLDER, "list.json")
    with open(mixlist, "w") as file:
        file.write("{}")
    open_session(
        precision_mode="allow_mix_precision", modify_mixlist=mixlist,
        graph_run_mode=1, iterations_per_loop=1, session_device_id=0,
        enable_dump=True, dump_path=FOLDER, dump_step="0|5|10-20",
        profiling_mode=True, hcom_parallel=True, hccl_timeout=600,
        profiling_options=json.dumps({"output": FOLDER}))


WRONG = [
    ({"precision_mod": "force_fp16"}, "unknown key"),
    ({"dynamic_loss_scale": True}, "unknown key"),
    ({"precision_mode": True}, "proto field 'b'"),
    ({"session_device_id": 0.0}, "proto field 'f'"),
    ({"precision_mode": "fp16"}, "not legal"),
    ({"use_off_line": False}, "CPU"),
    ({"modify_mixlist": __file__}, "needs precision_mode"),
    ({"modify_mixlist": __file__, "precision_mode": "allow_mix_precision"},
     "not JSON"),
    ({"precision_mode": "force_fp16", "precision_mode_v2": "origin"},
     "together"),
    ({"optypelist_for_implmode": "Pooling"}, "FATAL"),
    ({"enable_dump": True}, "dump_path"),
    ({"enable_dump_debug": True}, "dump_path"),
    ({"enable_dump": True, "dump_path": "/no/such"}, "no folder"),
    ({"dump_step": "1,2"}, "FATAL"),
    ({"dump_step": "20-10"}, "FATAL"),
    ({"dump_step": "5"}, "under enable_dump"),
    ({"dump_step": "5", "enable_dump_debug": True, "dump_path": FOLDER},
     "under enable_dump"),
    ({"enable_dump": True, "enable_dump_debug": True, "dump_path": FOLDER},
     "exclude"),
    ({"dump_step": "|".join(map(str, range(101)))}, "FATAL"),
    ({"graph_run_mode": 2}, "FATAL"),
    ({"iterations_per_loop": 0}, "FATAL"),
    ({"buffer_optimize": "on"}, "FATAL"),
    ({"session_device_id": -1}, "not legal"),
    ({"profiling_mode": True}, "FATAL"),
    ({"profiling_mode": True, "profiling_options": "task_trace"}, "JSON"),
    ({"profiling_mode": True, "profiling_options": "{\"outptu\": \"\"}"},
     "outptu"),
]


def check_each_wrong_option_raises():
    for options, text in WRONG:
        with refused(text):
            open_session(**options)
    unset = config()
    unset.graph_options.rewrite_options.custom_optimizers[
        0].parameter_map["precision_mode"].SetInParent()
    with refused("proto field None"):
        tf1.Session(graph=tf.Graph(), config=unset)


def check_the_environment():
    for values, text in (
            ({"RANK_SIZE": "2", "JOB_ID": "1"}, "RANK_TABLE_FILE"),
            ({"RANK_SIZE": "2"}, "JOB_ID"),
            ({"RANK_SIZE": "two"}, "RANK_SIZE"),
            ({"ASCEND_DEVICE_ID": "-1"}, "FATAL"),
            ({"DEVICE_ID": "npu0"}, "FATAL")):
        with harness.environment(**values), refused(text):
            open_session()


def with_table(table, **values):
    path = os.path.join(FOLDER, "table.json")
    with open(path, "w") as file:
        json.dump(table, file)
    values = dict({"RANK_TABLE_FILE": path, "RANK_SIZE": "2",
                   "RANK_ID": "1", "JOB_ID": "1",
                   "ASCEND_DEVICE_ID": "1"}, **values)
    with harness.environment(**values):
        open_session()


def check_the_rank_table():
    good = harness.rank_table(2)
    with_table(good)
    for values, text in (
            ({"RANK_ID": None}, "RANK_ID"), ({"RANK_ID": "2"}, "not in"),
            ({"POD_NAME": "job-0"}, "FATAL: POD_NAME"),
            ({"ASCEND_DEVICE_ID": None}, "device 0"),
            ({"RANK_SIZE": "1"}, "not 0..0"), ({"JOB_ID": None}, "JOB_ID"),
            ({"RANK_TABLE_FILE": FOLDER}, "cannot be read")):
        with refused(text):
            with_table(good, **values)
    for change, text in (
            ({"version": "0.1"}, "version"), ({"status": "initializing"},
                                              "completed"),
            ({"server_count": 1}, "no string"),
            ({"server_list": []}, "server_count")):
        with refused(text):
            with_table(dict(good, **change))


def check_the_compiled_line_once_for_each_graph():
    with harness.standard_error() as text, tf.Graph().as_default():
        x, y, w = network()
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
            session.run(y, {x: [[1, 1]]})
            session.run(y, {x: [[2, 1]]})
    lines = [line for line in text().splitlines() if "geop_npu" in line]
    assert len(lines) == 2 and all(LINE in line for line in lines), text()
    assert lines[0].split()[2] == "I", lines


def check_no_line_from_the_silent_cpu_nor_from_a_session_without_npu():
    for silent, proto in (("1", config()), (None, tf1.ConfigProto())):
        with harness.standard_error() as text, tf.Graph().as_default():
            _, _, w = network()
            with harness.environment(ASCEND_FAKE_SILENT_CPU=silent):
                with tf1.Session(config=proto) as session:
                    session.run(w.initializer)
        assert "geop_npu" not in text()


def check_another_batch_shape_raises():
    with tf.Graph().as_default():
        x, y, w = network()
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
            session.run(y, {x: np.ones((4, 2))})
            with refused("recompilation"):
                session.run(y, {x: np.ones((3, 2))})
            with refused("Session.run only"):
                session.make_callable(y)
