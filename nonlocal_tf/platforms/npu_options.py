"""The options of Ascend's TensorFlow adapter, checked before it sees them.

The adapter ignores a key that it does not know, reads a value of the wrong
proto field as empty, and aborts the process over many a bad value. So each
key has its field and its rule here. Source: the adapter's npu_attrs.cc of
2021 to 2023; keys that a newer toolkit added are not here.
"""

import difflib
import json
import os
import re
from typing import Callable, NamedTuple

from nonlocal_tf.errors import UserError

PRECISION_MODES = (
    "allow_mix_precision", "force_fp32", "allow_fp32_to_fp16", "force_fp16",
    "must_keep_origin_dtype", "cube_fp16in_fp32out",
    "allow_mix_precision_fp16", "allow_mix_precision_bf16",
    "allow_fp32_to_bf16",
)
_GB = 2 ** 30


class Option(NamedTuple):
    """How a key of the adapter's parameter map is set."""

    field: str                          # of AttrValue: b, i or s
    read: Callable                      # text -> value; ValueError(required)


def _boolean(text):
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1")


def _whole(least, most):
    def read(text):
        if not re.match(r"^-?\d+$", text) or not least <= int(text) <= most:
            raise ValueError("a whole number from {} to {}".format(
                least, most))
        return int(text)
    return read


def _one_of(*values):
    def read(text):
        if text not in values:
            raise ValueError("one of {}".format(", ".join(values)))
        return text
    return read


def _matching(pattern, required):
    def read(text):
        if not re.match("^(?:{})$".format(pattern), text):
            raise ValueError(required)
        return text
    return read


def _bytes(text):
    match = re.match(r"^(\d+)\s*(GB|G|)$", text, re.IGNORECASE)
    if not match or not int(match.group(1)):
        raise ValueError("a number of bytes, or such as 26GB")
    return str(int(match.group(1)) * (_GB if match.group(2) else 1))


def _file(text):
    if not os.path.isfile(text):
        raise ValueError("a file that is there")
    return text


def _folder(text):
    if not (os.path.isdir(text) and os.access(text, os.R_OK | os.W_OK)):
        raise ValueError("a folder that is there and can be written")
    return text


def _steps(text):
    groups = text.split("|")
    if len(groups) > 100 or not all(
            re.match(r"^\d+(-\d+)?$", group) for group in groups):
        raise ValueError("steps such as 0|5|10-20, 100 groups at most")
    return text


def _json(text):
    try:
        if isinstance(json.loads(text), dict):
            return text
    except ValueError:
        pass
    raise ValueError("a JSON object")


_text = _matching(r".*\S.*", "a text")
_FLAG = Option("b", _boolean)
_SWITCH = Option("i", _whole(0, 1))
_SECONDS = Option("i", _whole(1, 2 ** 31 - 1))
_TEXT = Option("s", _text)
_FILE = Option("s", _file)
_MEMORY = Option("s", _bytes)

OPTIONS = {
    "use_off_line": Option("b", _one_of("true")),
    "mix_compile_mode": _FLAG,
    "iterations_per_loop": Option("i", _one_of("1")),
    "enable_data_pre_proc": _FLAG,
    "lower_functional_ops": _FLAG,
    "job": _TEXT,
    "task_index": Option("i", _whole(0, 2 ** 31 - 1)),
    "precision_mode": Option("s", _one_of(*PRECISION_MODES)),
    "precision_mode_v2": _TEXT,
    "modify_mixlist": _FILE,
    "op_precision_mode": _FILE,
    "customize_dtypes": _FILE,
    "op_select_implmode": Option("s", _one_of(
        "high_precision", "high_performance", "high_precision_for_all",
        "high_performance_for_all")),
    "optypelist_for_implmode": _TEXT,
    "graph_run_mode": Option("i", _one_of("1")),
    "graph_memory_max_size": _MEMORY,
    "variable_memory_max_size": _MEMORY,
    "hcom_parallel": _FLAG,
    "hcom_multi_mode": _FLAG,
    "hccl_timeout": _SECONDS,
    "op_wait_timeout": _SECONDS,
    "op_execute_timeout": _SECONDS,
    "HCCL_algorithm": _TEXT,
    "is_tailing_optimization": _FLAG,
    "auto_tune_mode": Option("s", _one_of("RL,GA", "GA", "RL")),
    "aoe_mode": Option("s", _one_of("1", "2", "4", "mdat")),
    "work_path": Option("s", _folder),
    "distribute_config": _FILE,
    "profiling_mode": _FLAG,
    "profiling_options": Option("s", _json),
    "enable_dump": _FLAG,
    "dump_path": Option("s", _folder),
    "dump_step": Option("s", _steps),
    "dump_mode": Option("s", _one_of("input", "output", "all")),
    "enable_dump_debug": _FLAG,
    "dump_debug_mode": Option("s", _one_of(
        "aicore_overflow", "atomic_overflow", "all")),
    "dump_data": _TEXT,
    "dump_layer": _TEXT,
    "enable_exception_dump": Option("i", _whole(0, 2)),
    "op_debug_level": Option("i", _whole(0, 4)),
    "op_debug_config": _TEXT,
    "op_compiler_cache_mode": Option("s", _one_of(
        "enable", "disable", "force")),
    "op_compiler_cache_dir": _TEXT,
    "debug_dir": Option("s", _folder),
    "stream_max_parallel_num": Option("s", _matching(
        r"\w+:\d+(,\w+:\d+)*", "such as DNN_VM_TF:10,DNN_V100:1")),
    "fusion_switch_file": _FILE,
    "enable_scope_fusion_passes": _TEXT,
    "buffer_optimize": Option("s", _one_of("l2_optimize", "off_optimize")),
    "enable_small_channel": _SWITCH,
    "deterministic": _SWITCH,
    "local_rank_id": Option("i", _whole(0, 7)),
    "local_device_list": Option("s", _matching(
        r"\d+(,\d+)*", "such as 1,2,3")),
    "session_device_id": Option("i", _whole(0, 2 ** 31 - 1)),
    "in_out_pair_flag": _FLAG,
    "in_out_pair": _TEXT,
    "soc_config": _TEXT,
    "device_type": _TEXT,
    "topo_sorting_mode": _SWITCH,
    "insert_op_file": _FILE,
    "resource_config_path": _FILE,
    "external_weight": _FLAG,
    "graph_exec_timeout": _SECONDS,
    "static_memory_policy": Option("i", _whole(0, 4)),
    "atomic_clean_policy": _SWITCH,
    "stream_sync_timeout": _SECONDS,
    "event_sync_timeout": _SECONDS,
}

# Keys that would not fit this trainer, and why.
_REFUSED = {
    "dynamic_loss_scale": "is no key of the adapter; give --loss_scale dynamic",
    "jit_compile": "is read by npu_device's eager mode alone",
    "variable_format_optimize": "is deprecated in the adapter",
    "enable_compress_weight": "is for inference",
    "compress_weight_conf": "is for inference",
}
_REFUSED.update({name: "is for batches whose size changes; here it is fixed"
                 for name in ("dynamic_input", "dynamic_graph_execute_mode",
                              "dynamic_inputs_shape_range", "input_shape",
                              "dynamic_dims", "dynamic_node_type")})
# Why a value of a known key is refused although the adapter would take it.
_REASONS = {
    "use_off_line": "else the graph runs on the CPU",
    "iterations_per_loop": "a loop on the device would see one batch again "
                           "and again",
    "graph_run_mode": "0 is for inference",
}
# The key needs the other one; and, if given, with that value.
_NEEDS = (
    ("modify_mixlist", "precision_mode", "allow_mix_precision"),
    ("optypelist_for_implmode", "op_select_implmode", None),
    ("profiling_options", "profiling_mode", True),
    ("profiling_mode", "profiling_options", None),
    ("dump_step", "dump_path", None),
    ("enable_dump_debug", "dump_path", None),
    ("enable_dump", "dump_path", None),
)


def of_config(config):
    """The options of a run, as a dict from key to value.

    Args:
      config: a `TrainConfig`.
    Returns:
      Values as bool, int or str, by the key's proto field.
    Raises:
      UserError: a flag or an --npu_option is not as the adapter wants it.
    """
    texts = {"use_off_line": "true", "precision_mode": config.precision_mode}
    for key in ("op_compiler_cache_mode", "op_compiler_cache_dir",
                "graph_memory_max_size", "variable_memory_max_size",
                "dump_path", "dump_step"):
        if getattr(config, key):
            texts[key] = getattr(config, key)
    if config.deterministic:
        texts["deterministic"] = "1"
    if config.overflow_dump:
        texts.update(enable_dump_debug="true", dump_debug_mode="all")
    elif config.dump_path:
        texts.update(enable_dump="true", dump_mode=config.dump_mode)
    if config.profiling_path:
        _read("profiling_path", config.profiling_path, Option("s", _folder))
        texts.update(profiling_mode="true", profiling_options=json.dumps({
            "output": config.profiling_path, "training_trace": "on",
            "task_trace": "on", "aicpu": "on", "fp_point": "",
            "bp_point": ""}))
    for setting in config.npu_option:
        key, text = _split(setting)
        if key in vars(config):
            raise UserError("--npu_option {}: it has a flag of its own; give "
                            "--{} {}.".format(setting, key, text))
        texts[key] = text
    if "precision_mode_v2" in texts:            # one of the two alone
        del texts["precision_mode"]
    options = {key: _read(key, text, OPTIONS[key])
               for key, text in texts.items()}
    _check_together(options)
    return options


def _split(setting):
    """"key=value" to both; the key is one that may be given."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError("--npu_option must be KEY=VALUE; got {!r}.".format(
            setting))
    if key in _REFUSED:
        raise UserError("--npu_option {} {}. Leave it out.".format(
            key, _REFUSED[key]))
    if key not in OPTIONS:
        near = [name for name in OPTIONS if name.lower() == key.lower()]
        near = near or difflib.get_close_matches(key, OPTIONS, 1)
        raise UserError(
            "--npu_option {!r} is no option of the adapter, which would "
            "ignore it{}".format(key, "; did you mean {}?".format(near[0])
                                 if near else "."))
    return key, text


def _read(key, text, option):
    """The value of a text; a flag and a key have one name."""
    try:
        value = option.read(text)
    except ValueError as error:
        reason = _REASONS.get(key)
        raise UserError("The NPU's option {} must be {}{}; got {!r}.".format(
            key, error, " ({})".format(reason) if reason else "", text))
    if option.field == "b" and not isinstance(value, bool):
        return value == "true"
    return int(value) if option.field == "i" else value


def _check_together(options):
    """Combinations over which the adapter stops."""
    for key, other, value in _NEEDS:
        if not options.get(key):
            continue
        if other not in options or value not in (None, options[other]):
            raise UserError(
                "The NPU's option {} needs {}{}; got {}. Give both, or "
                "neither.".format(
                    key, other, "" if value is None else "={}".format(
                        str(value).lower() if value is True else value),
                    options.get(other, "none")))


def fill(parameter_map, options):
    """Writes options into a `parameter_map` of a ConfigProto.

    Args:
      parameter_map: of the custom optimizer NpuOptimizer.
      options: see `of_config`.
    """
    for key, value in options.items():
        if OPTIONS[key].field == "s":
            value = value.encode("utf-8")
        setattr(parameter_map[key], OPTIONS[key].field, value)
