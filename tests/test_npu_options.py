"""The adapter's options: keys, proto fields, values and combinations."""

import json

import pytest
import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import npu_options
from nonlocal_tf.training.config import TrainConfig

# From the adapter's npu_attrs.cc: the field that it reads of each key.
FIELDS = {
    "b": ["use_off_line", "mix_compile_mode", "enable_data_pre_proc",
          "hcom_parallel", "is_tailing_optimization", "profiling_mode",
          "enable_dump", "enable_dump_debug", "external_weight",
          "lower_functional_ops", "hcom_multi_mode", "in_out_pair_flag"],
    "i": ["iterations_per_loop", "graph_run_mode", "task_index",
          "hccl_timeout", "op_wait_timeout", "op_execute_timeout",
          "enable_exception_dump", "op_debug_level", "deterministic",
          "enable_small_channel", "local_rank_id", "session_device_id",
          "topo_sorting_mode", "graph_exec_timeout", "static_memory_policy",
          "atomic_clean_policy", "stream_sync_timeout", "event_sync_timeout"],
    "s": ["job", "precision_mode", "modify_mixlist", "op_precision_mode",
          "customize_dtypes", "op_select_implmode", "optypelist_for_implmode",
          "graph_memory_max_size", "variable_memory_max_size",
          "HCCL_algorithm", "auto_tune_mode", "aoe_mode", "work_path",
          "distribute_config", "profiling_options", "dump_path", "dump_step",
          "dump_mode", "dump_debug_mode", "dump_data", "dump_layer",
          "op_debug_config", "op_compiler_cache_mode", "op_compiler_cache_dir",
          "debug_dir", "stream_max_parallel_num", "fusion_switch_file",
          "enable_scope_fusion_passes", "buffer_optimize", "local_device_list",
          "in_out_pair", "soc_config", "device_type", "insert_op_file",
          "resource_config_path", "precision_mode_v2"],
}


def options(*settings, **flags):
    return npu_options.of_config(TrainConfig(
        platform="npu", npu_option=settings, **flags))


def test_each_key_has_the_field_that_the_adapter_reads():
    assert {key: option.field for key, option
            in npu_options.OPTIONS.items()} == {
                key: field for field, keys in FIELDS.items() for key in keys}


def test_the_default_is_a_graph_on_the_npu_in_mixed_precision():
    assert options() == {"use_off_line": True,
                         "precision_mode": "allow_mix_precision"}


def test_flags_reach_their_keys(tmp_path):
    found = options(
        precision_mode="force_fp32", deterministic=True,
        op_compiler_cache_mode="enable", op_compiler_cache_dir="/cache/ops",
        graph_memory_max_size="26GB", variable_memory_max_size="1024",
        dump_path=str(tmp_path), dump_step="0|5|10-20", dump_mode="all",
        profiling_path=str(tmp_path))
    profiling = json.loads(found.pop("profiling_options"))
    assert profiling["output"] == str(tmp_path)
    assert profiling["task_trace"] == profiling["training_trace"] == "on"
    assert found == {
        "use_off_line": True, "precision_mode": "force_fp32",
        "deterministic": 1, "op_compiler_cache_mode": "enable",
        "op_compiler_cache_dir": "/cache/ops",
        "graph_memory_max_size": "27917287424",
        "variable_memory_max_size": "1024", "dump_path": str(tmp_path),
        "dump_step": "0|5|10-20", "dump_mode": "all", "enable_dump": True,
        "profiling_mode": True}


def test_overflow_dump_is_a_dump_of_its_own(tmp_path):
    found = options(dump_path=str(tmp_path), overflow_dump=True)
    assert found["enable_dump_debug"] is True
    assert "enable_dump" not in found


def test_other_options_reach_the_map_in_their_fields():
    graph_options = tf.compat.v1.ConfigProto().graph_options
    values = graph_options.rewrite_options.custom_optimizers.add(
        ).parameter_map
    npu_options.fill(values, options(
        "hcom_parallel=true", "hccl_timeout=600", "HCCL_algorithm=ring"))
    assert {key: (value.WhichOneof("value"),
                  getattr(value, value.WhichOneof("value")))
            for key, value in values.items()} == {
        "use_off_line": ("b", True),
        "precision_mode": ("s", b"allow_mix_precision"),
        "hcom_parallel": ("b", True), "hccl_timeout": ("i", 600),
        "HCCL_algorithm": ("s", b"ring")}


def test_precision_mode_v2_takes_the_place_of_the_older_one():
    assert options("precision_mode_v2=origin") == {
        "use_off_line": True, "precision_mode_v2": "origin"}


def test_a_list_of_mixed_operations_fits_the_default(tmp_path):
    path = tmp_path / "ops.json"
    path.write_text("{}")
    found = options("modify_mixlist=" + str(path))
    assert found["modify_mixlist"] == str(path)
    with pytest.raises(UserError, match="needs precision_mode=allow_mix"):
        options("modify_mixlist=" + str(path), precision_mode="force_fp16")


@pytest.mark.parametrize("setting, words", [
    ("hcom_parallel", "KEY=VALUE"),
    ("sump_mode=all", "did you mean dump_mode"),
    ("hccl_algorithm=ring", "did you mean HCCL_algorithm"),
    ("autotune_tune_mode=GA", "no option of the adapter"),
    ("precision_mode=force_fp16", "give --precision_mode force_fp16"),
    ("dynamic_loss_scale=true", "--loss_scale dynamic"),
    ("use_off_line=false", "else the graph runs on the CPU"),
    ("iterations_per_loop=10", "one batch again"),
    ("graph_run_mode=0", "for inference"),
    ("graph_run_mode=2", "for inference"),
    ("hcom_parallel=maybe", "true or false"),
    ("hccl_timeout=ten", "whole number"),
    ("op_debug_level=5", "0 to 4"),
    ("local_rank_id=8", "0 to 7"),
    ("session_device_id=-1", "whole number"),
    ("buffer_optimize=l1", "l2_optimize, off_optimize"),
    ("modify_mixlist=/no/such/file", "a file that is there"),
    ("profiling_mode=true", "needs profiling_options"),
    ("profiling_options=[]", "a JSON object"),
    ("optypelist_for_implmode=Pooling", "needs op_select_implmode"),
    ("enable_dump=true", "needs dump_path"),
    ("enable_dump_debug=true", "needs dump_path"),
    ("dynamic_dims=1", "batches whose size changes"),
    ("stream_max_parallel_num=10", "DNN_VM_TF:10"),
    ("job=", "a text"),
])
def test_what_the_adapter_would_not_notice_is_one_line(setting, words):
    with pytest.raises(UserError, match=words) as error:
        options(setting)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flags, words", [
    ({"dump_path": "/no/such/folder"}, "a folder that is there"),
    ({"dump_step": "0-5"}, "needs dump_path"),
    ({"overflow_dump": True}, "needs dump_path"),
    ({"profiling_path": "/no/such/folder"}, "profiling_path must be"),
    ({"graph_memory_max_size": "lots"}, "26GB"),
])
def test_bad_flags_are_one_line(flags, words):
    with pytest.raises(UserError, match=words):
        options(**flags)


def test_a_dump_has_a_hundred_groups_of_steps_at_most(tmp_path):
    options(dump_path=str(tmp_path), dump_step="|".join("1" * 100))
    with pytest.raises(UserError, match="100 groups"):
        options(dump_path=str(tmp_path), dump_step="|".join("1" * 101))
