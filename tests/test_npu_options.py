"""The adapter's options: keys, proto fields, values and combinations."""

import contextlib
import json
import os
import sys

import pytest
import tensorflow as tf
from support import ROOT

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import npu_options
from nonlocal_tf.training.config import TrainConfig


def options(*settings, **flags):
    return npu_options.of_config(TrainConfig(
        platform="npu", npu_option=settings, **flags))


@pytest.fixture
def keys(monkeypatch):
    """The fake's table, written from the adapter's source by itself."""
    monkeypatch.setattr(sys, "path", [
        os.path.join(ROOT, "tests", "fakes", "common")] + sys.path)
    from ascend_fake.options import KEYS
    return KEYS


def test_each_key_has_the_field_that_the_adapter_reads(keys):
    assert {key: field for key, (field, _) in npu_options.OPTIONS.items()} == {
        key: field for key, (field, _) in keys.items()}


@pytest.mark.parametrize("text", [
    "foo", "-1", "0", "2", "9", "RL", "origin", "true", "1,2", "a:1"])
def test_no_value_passes_that_the_adapter_does_not_take(keys, text):
    for key, (_, read) in npu_options.OPTIONS.items():
        with contextlib.suppress(ValueError):
            value = read(text)
            assert keys[key][1](value), key


def test_the_default_is_a_graph_on_the_npu_in_mixed_precision():
    assert options() == {"use_off_line": True,
                         "precision_mode": "allow_mix_precision"}


def test_options_reach_the_map_in_their_fields(tmp_path):
    graph_options = tf.compat.v1.ConfigProto().graph_options
    values = graph_options.rewrite_options.custom_optimizers.add(
        ).parameter_map
    profiling = json.dumps({"output": str(tmp_path), "task_trace": "on"})
    npu_options.fill(values, options(
        "hcom_parallel=true", "hccl_timeout=600", "HCCL_algorithm=ring",
        "deterministic=1", "graph_memory_max_size=26GB",
        "variable_memory_max_size=1024", "enable_dump=true",
        "dump_path=" + str(tmp_path), "dump_step=0|5|10-20",
        "profiling_mode=1", "profiling_options=" + profiling))
    assert {key: (value.WhichOneof("value"),
                  getattr(value, value.WhichOneof("value")))
            for key, value in values.items()} == {
        "use_off_line": ("b", True),
        "precision_mode": ("s", b"allow_mix_precision"),
        "hcom_parallel": ("b", True), "hccl_timeout": ("i", 600),
        "HCCL_algorithm": ("s", b"ring"), "deterministic": ("i", 1),
        "graph_memory_max_size": ("s", b"27917287424"),
        "variable_memory_max_size": ("s", b"1024"),
        "enable_dump": ("b", True),
        "dump_path": ("s", str(tmp_path).encode()),
        "dump_step": ("s", b"0|5|10-20"), "profiling_mode": ("b", True),
        "profiling_options": ("s", profiling.encode())}


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


@pytest.mark.parametrize("settings, words", [
    ("hcom_parallel", "KEY=VALUE"),
    ("sump_mode=all", "did you mean dump_mode"),
    ("hccl_algorithm=ring", "did you mean HCCL_algorithm"),
    ("autotune_tune_mode=GA", "no option of the adapter"),
    ("precision_mode=force_fp16", "flag of its own, --precision_mode"),
    ("dynamic_loss_scale=true", "--loss_scale dynamic"),
    ("use_off_line=false", "else the graph runs on the CPU"),
    ("iterations_per_loop=10", "one batch again"),
    ("graph_run_mode=0", "for inference"),
    ("hcom_parallel=maybe", "true or false"),
    ("hccl_timeout=ten", "whole number"),
    ("op_debug_level=5", "0 to 4"),
    ("auto_tune_mode=RL", "one of RL,GA, GA; got"),
    ("precision_mode_v2=foo", "one of fp16, origin"),
    ("op_debug_config=/no/such/file", "a file that is there"),
    ("session_device_id=-1", "whole number"),
    ("buffer_optimize=l1", "l2_optimize, off_optimize"),
    ("graph_memory_max_size=lots", "26GB"),
    ("modify_mixlist=/no/such/file", "a file that is there"),
    ("dump_path=/no/such/folder", "a folder that is there"),
    ("profiling_mode=true", "needs profiling_options"),
    ("profiling_options=[]", "a JSON object"),
    ("profiling_options={\"output\": \"/no/such/folder\"}", "a folder that"),
    ("optypelist_for_implmode=Pooling", "needs op_select_implmode"),
    ("enable_dump=true", "needs dump_path"),
    ("enable_dump_debug=true", "needs dump_path"),
    ("dump_step=0-5", "needs enable_dump=true"),
    ("dump_step=5 dump_path=. enable_dump_debug=true", "needs enable_dump"),
    ("dump_path=. enable_dump=1 enable_dump_debug=1", "exclude each other"),
    ("dump_step=20-10", "each range upwards"),
    ("dump_step=0|10-10", "each range upwards"),
    ("dump_step=" + "|".join("1" * 101), "100 groups"),
    ("dynamic_dims=1", "batches whose size changes"),
    ("stream_max_parallel_num=10", "DNN_VM_TF:10"),
    ("job=", "a text"),
])
def test_what_the_adapter_would_not_notice_is_one_line(settings, words):
    with pytest.raises(UserError, match=words) as error:
        options(*settings.split(" ") if "{" not in settings else [settings])
    assert "\n" not in str(error.value)
