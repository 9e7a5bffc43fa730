"""NpuOptimizer's parameter_map: keys, proto fields, values, combinations.

The table of ascend.md 1.4, written out; lists that it has not are those of the
vendor's pages and, of precision_mode_v2, of GE's ir_common.
"""

import json
import os
import re

from ascend_fake.errors import fatal, refuse

MIX = "allow_mix_precision"
PRECISION_MODES = (
    "force_fp32", "allow_fp32_to_fp16", "force_fp16",
    "must_keep_origin_dtype", MIX, "cube_fp16in_fp32out",
    MIX + "_fp16", MIX + "_bf16", "allow_fp32_to_bf16")
PROFILING_KEYS = (
    "output", "training_trace", "task_trace", "aicpu", "hccl",
    "aic_metrics", "fp_point", "bp_point")


def one_of(*values):
    return lambda value: value in values


def matches(pattern):
    return lambda value: re.fullmatch(pattern, value) is not None


def at_least(lowest):
    return lambda value: value >= lowest


def anything(value):
    return value != ""


def dump_step(value):
    """`0|5|10-20`, at most 100 groups."""
    groups = [list(map(int, group.split("-"))) for group in value.split("|")
              if re.fullmatch(r"\d+(-\d+)?", group)]
    return len(groups) == value.count("|") + 1 <= 100 and all(
        group[0] < group[-1] for group in groups if len(group) == 2)


FLAG, BYTES = ("b", one_of(False, True)), ("s", matches(r"[1-9]\d*"))
TEXT, FILE = ("s", anything), ("s", os.path.isfile)
SECONDS, SWITCH = ("i", at_least(1)), ("i", one_of(0, 1))

KEYS = {
    "use_off_line": FLAG, "mix_compile_mode": FLAG,
    "iterations_per_loop": ("i", one_of(1)),    # more: a data set's getnext
    "enable_data_pre_proc": FLAG, "lower_functional_ops": FLAG,
    "job": TEXT, "task_index": ("i", at_least(0)),
    "precision_mode": ("s", one_of(*PRECISION_MODES)),
    "precision_mode_v2": ("s", one_of(
        "fp16", "origin", "cube_fp16in_fp32out", "mixed_float16",
        "mixed_bfloat16", "cube_hif8", "mixed_hif8")),
    "modify_mixlist": FILE, "op_precision_mode": FILE,
    "customize_dtypes": FILE,
    "op_select_implmode": ("s", one_of(
        "high_precision", "high_performance", "high_precision_for_all",
        "high_performance_for_all")),
    "optypelist_for_implmode": TEXT, "graph_run_mode": SWITCH,
    "graph_memory_max_size": BYTES, "variable_memory_max_size": BYTES,
    "hcom_parallel": FLAG, "hcom_multi_mode": FLAG,
    "hccl_timeout": SECONDS, "op_wait_timeout": SECONDS,
    "op_execute_timeout": SECONDS, "HCCL_algorithm": TEXT,
    "is_tailing_optimization": FLAG,
    "auto_tune_mode": ("s", one_of("RL,GA", "GA")),
    "aoe_mode": ("s", one_of("1", "2", "4", "mdat")),
    "mstune_mode": ("s", one_of("1", "2", "3", "4")),
    "work_path": TEXT, "distribute_config": TEXT,
    "profiling_mode": FLAG, "profiling_options": TEXT,
    "enable_dump": FLAG, "dump_path": TEXT,
    "dump_step": ("s", dump_step),
    "dump_mode": ("s", one_of("input", "output", "all")),
    "enable_dump_debug": FLAG,
    "dump_debug_mode": ("s", one_of(
        "aicore_overflow", "atomic_overflow", "all")),
    "dump_data": ("s", one_of("tensor", "stats")), "dump_layer": TEXT,
    "enable_exception_dump": ("i", one_of(0, 1, 2)),
    "op_debug_level": ("i", one_of(0, 1, 2, 3, 4)),
    "op_debug_config": FILE,
    "op_compiler_cache_mode": ("s", one_of("enable", "disable", "force")),
    "op_compiler_cache_dir": TEXT, "debug_dir": TEXT,
    "stream_max_parallel_num": ("s", matches(r"\w+:\d+(,\w+:\d+)*")),
    "fusion_switch_file": FILE,
    "enable_scope_fusion_passes": ("s", matches(r"\w+(,\w+)*")),
    "buffer_optimize": ("s", one_of("l2_optimize", "off_optimize")),
    "enable_small_channel": SWITCH, "deterministic": SWITCH,
    "local_rank_id": ("i", one_of(*range(-1, 8))),
    "local_device_list": ("s", matches(r"\d+(,\d+)*")),
    "session_device_id": ("i", at_least(0)),
    "in_out_pair_flag": FLAG, "in_out_pair": TEXT,
    "soc_config": TEXT, "device_type": TEXT, "insert_op_file": FILE,
    "resource_config_path": FILE, "external_weight": FLAG,
    "topo_sorting_mode": ("i", at_least(0)),
    "graph_exec_timeout": SECONDS,
    "static_memory_policy": ("i", at_least(0)),
    "atomic_clean_policy": ("i", at_least(0)),
    "stream_sync_timeout": SECONDS, "event_sync_timeout": SECONDS,
}
# A bad value of these ends the process of the real adapter.
ABORTS = ("iterations_per_loop", "graph_run_mode", "buffer_optimize",
          "dump_step")


def read(parameter_map):
    """{key: value} of a parameter_map, each with the right field."""
    return {key: _value(key, parameter_map[key])
            for key in sorted(parameter_map)}


def _value(key, attribute):
    if key not in KEYS:
        refuse("NpuOptimizer ignores the unknown key {!r} silently".format(
            key), "1.4")
    field, legal = KEYS[key]
    given = attribute.WhichOneof("value")
    if given != field:
        refuse("{} is in the proto field {!r}, the adapter reads {!r}".format(
            key, given, field), "1.4")
    value = getattr(attribute, field)
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not legal(value):
        raise_ = fatal if key in ABORTS else refuse
        raise_("{} = {!r} is not legal".format(key, value), "1.4")
    return value


def check(values):
    """The rules that join several keys."""
    if values.get("use_off_line") is not True:
        refuse("without use_off_line = True the graph runs on the CPU",
               "1.3, 1.4")
    _check_precision(values)
    _check_dump(values)
    _check_profiling(values)
    if "optypelist_for_implmode" in values and (
            "op_select_implmode" not in values):
        fatal("optypelist_for_implmode needs op_select_implmode", "1.4")


def _check_precision(values):
    mode = values.get("precision_mode")
    if "modify_mixlist" in values:
        if mode != MIX:
            refuse("modify_mixlist needs precision_mode = " + MIX, "1.4")
        try:
            with open(values["modify_mixlist"]) as file:
                json.load(file)
        except ValueError as error:
            refuse("modify_mixlist is not JSON: {}".format(error), "1.4")
    if mode is not None and "precision_mode_v2" in values:
        refuse("precision_mode and precision_mode_v2 together", "1.4")


def _check_dump(values):
    path = values.get("dump_path")
    for key in ("enable_dump", "enable_dump_debug"):
        if not values.get(key):
            continue
        if path is None:
            refuse("{} needs dump_path".format(key), "1.4")
        if not (os.path.isdir(path) and os.access(path, os.R_OK | os.W_OK)):
            refuse("dump_path {!r} is no folder to read and write".format(
                path), "1.4")
    if values.get("enable_dump") and values.get("enable_dump_debug"):
        refuse("enable_dump and enable_dump_debug exclude each other", "1.4")
    if "dump_step" in values and not values.get("enable_dump"):
        refuse("dump_step is read under enable_dump alone", "10")


def _check_profiling(values):
    if not values.get("profiling_mode"):
        return
    if "profiling_options" not in values:
        fatal("profiling_mode needs profiling_options", "1.4")
    try:
        unknown = set(json.loads(values["profiling_options"])) - set(
            PROFILING_KEYS)
    except (TypeError, ValueError) as error:
        refuse("profiling_options is not JSON: {}".format(error), "1.4")
    if unknown:
        refuse("profiling_options has unknown keys {}".format(
            sorted(unknown)), "1.4")
