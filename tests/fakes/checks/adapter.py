"""Is the fake of npu_bridge strict about sessions and their options?"""

import json
import os

import harness
import npu
import numpy as np
import tensorflow as tf
from npu import FOLDER, config, network, open_session, refused

npu.use("tf1")

from ascend_fake import log  # noqa: E402
from npu_bridge import npu_init  # noqa: E402

tf1 = tf.compat.v1
tf1.disable_eager_execution()
LINE = ("tf_adapter/kernels/geop_npu.cc:765] The model has been compiled "
        "on the Ascend AI processor, current graph id is: ")


def check_npu_bridge_has_the_names_that_others_import():
    from npu_bridge.estimator import npu_ops
    from npu_bridge.estimator.npu.npu_optimizer import (
        NPUDistributedOptimizer,
    )
    from npu_bridge.hccl import hccl_ops
    assert NPUDistributedOptimizer is npu_init.NPUDistributedOptimizer
    assert hccl_ops is npu_init.hccl_ops and npu_ops is npu_init.npu_ops
    assert not hasattr(npu_init, "npu_tf_optimizer")
    with refused("no 'npu_tf_optimizer'"):
        npu_init.npu_tf_optimizer  # noqa: B018
    with refused("NPURunConfig"):
        npu_init.NPURunConfig(save_checkpoints_steps=1)
    with harness.raises(ImportError, "npu_config_proto"):
        import npu_bridge.npu_init.npu_config_proto  # noqa: F401


def check_a_session_on_the_cpu_is_allowed_and_recorded():
    del log[:]
    with tf.Graph().as_default():
        with tf1.Session() as session:
            assert isinstance(session, tf1.Session)
            assert session.run(tf.constant(2)) == 2
    assert [entry["event"] for entry in log] == ["cpu_session"]


def check_npu_config_proto_adds_no_npu_optimizer():
    proto = npu_init.npu_config_proto()
    rewrite = proto.graph_options.rewrite_options
    assert rewrite.remapping == npu_init.RewriterConfig.OFF
    assert proto.allow_soft_placement and not rewrite.custom_optimizers
    with refused("replaces"):
        npu_init.npu_config_proto("a file")


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
    rewrite.memory_optimization = npu_init.RewriterConfig.OFF
    with refused("MANUAL"):
        tf1.Session(graph=tf.Graph(), config=proto)
    rewrite.memory_optimization = npu_init.RewriterConfig.NO_MEM_OPT
    tf1.Session(graph=tf.Graph(), config=proto).close()
    rewrite.constant_folding = npu_init.RewriterConfig.OFF
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
    ({"op_debug_level": "1"}, "proto field 's'"),
    ({"session_device_id": 0.0}, "proto field 'f'"),
    ({"graph_memory_max_size": 100}, "proto field 'i'"),
    ({"precision_mode": "fp16"}, "not legal"),
    ({"precision_mode": ""}, "not legal"),
    ({"use_off_line": False}, "CPU"),
    ({"modify_mixlist": __file__}, "needs precision_mode"),
    ({"modify_mixlist": __file__, "precision_mode": "allow_mix_precision"},
     "not JSON"),
    ({"modify_mixlist": "/no", "precision_mode": "allow_mix_precision"},
     "not legal"),
    ({"precision_mode": "force_fp16", "precision_mode_v2": "origin"},
     "together"),
    ({"optypelist_for_implmode": "Pooling"}, "FATAL"),
    ({"enable_dump": True}, "dump_path"),
    ({"enable_dump_debug": True}, "dump_path"),
    ({"enable_dump": True, "dump_path": "/no/such"}, "no folder"),
    ({"dump_step": "1,2"}, "not legal"),
    ({"dump_step": "|".join(map(str, range(101)))}, "not legal"),
    ({"input_shape": "x:1,2"}, "FATAL"),
    ({"input_shape": "x:-1", "dynamic_dims": "1;2", "dynamic_node_type": 1,
      "mix_compile_mode": True}, "mix_compile_mode"),
    ({"enable_compress_weight": True, "compress_weight_conf": __file__},
     "FATAL"),
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
            ({"ASCEND_DEVICE_ID": None}, "device 0"),
            ({"RANK_SIZE": "1"}, "lists 2"), ({"JOB_ID": None}, "JOB_ID"),
            ({"RANK_TABLE_FILE": FOLDER}, "folder"),
            ({"RANK_TABLE_FILE": "/no"}, "cannot be read")):
        with refused(text):
            with_table(good, **values)
    for change, text in (
            ({"version": "0.1"}, "version"), ({"status": "initializing"},
                                              "completed"),
            ({"server_count": 1}, "no string"),
            ({"server_list": []}, "server_list")):
        with refused(text):
            with_table(dict(good, **change))


def check_the_compiled_line_once_for_each_graph():
    del log[:]
    with harness.standard_error() as text, tf.Graph().as_default():
        x, y, w = network()
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
            session.run(y, {x: [[1, 1]]})
            session.run(y, {x: [[2, 1]]})
    lines = [line for line in text().splitlines() if "geop_npu" in line]
    assert len(lines) == 2 and all(LINE in line for line in lines), text()
    assert lines[0].split()[2] == "I", lines
    assert [entry["event"] for entry in log
            if entry["event"] == "compiled"] == ["compiled"] * 2


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
    assert log[-2]["event"] == "recompilation", log[-2:]


def check_a_second_npu_session_is_recorded():
    del log[:]
    with tf1.Session(graph=tf.Graph(), config=config()):
        open_session()
    assert "second_npu_session" in [entry["event"] for entry in log]


def check_what_happens_is_written_to_a_file_too():
    path = os.path.join(FOLDER, "log")
    with harness.environment(ASCEND_FAKE_LOG=path):
        open_session(precision_mode="force_fp16")
    with open(path) as file:
        found = {entry["event"]: entry for entry in map(json.loads, file)}
    assert found["npu_session"]["options"]["precision_mode"] == "force_fp16"
