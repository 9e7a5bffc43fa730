"""The options of Ascend's TensorFlow adapter, checked before it sees them.

The adapter ignores a key that it does not know, reads a value of the wrong
proto field as empty, and aborts the process over many a bad value. So each
key has its field and its rule here. Source: the adapter's npu_attrs.cc of
2021 to 2023, and vendor pages for values that it passes on unread; of newer
keys only precision_mode_v2 is here, with the values of GE's own check.
"""

import difflib
import json
import os
import re

from nonlocal_tf.errors import UserError

PRECISION_MODES = (
    "allow_mix_precision", "force_fp32", "allow_fp32_to_fp16", "force_fp16",
    "must_keep_origin_dtype", "cube_fp16in_fp32out",
    "allow_mix_precision_fp16", "allow_mix_precision_bf16",
    "allow_fp32_to_bf16",
)


def _boolean(text):
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1")


def _whole(least, most=2 ** 31 - 1):
    def read(text):
        if not re.match(r"^-?\d+$", text) or not least <= int(text) <= most:
            raise ValueError("a whole number from {} to {}".format(
                least, most))
        return int(text)
    return "i", read


def _one_of(*values):
    def read(text):
        if text not in values:
            raise ValueError("one of {}".format(", ".join(values)))
        return text
    return "s", read


def _only(field, value, why):
    """One value alone, although the adapter would take others."""
    def read(text):
        if text.lower() != str(value).lower():
            raise ValueError("{} ({})".format(str(value).lower(), why))
        return value
    return field, read


def _matching(pattern, required):
    def read(text):
        if not re.match("^(?:{})$".format(pattern), text):
            raise ValueError(required)
        return text
    return "s", read


def _bytes(text):
    match = re.match(r"^(\d+)\s*(GB|G|)$", text, re.IGNORECASE)
    if not match or not int(match.group(1)):
        raise ValueError("a number of bytes, or such as 26GB")
    return str(int(match.group(1)) * (2 ** 30 if match.group(2) else 1))


def _file(text):
    if not os.path.isfile(text):
        raise ValueError("a file that is there")
    return text


def _folder(text):
    if not (os.path.isdir(text) and os.access(text, os.R_OK | os.W_OK)):
        raise ValueError("a folder that is there and can be written")
    return text


def _steps(text):
    groups = [re.match(r"^(\d+)(?:-(\d+))?$", group)
              for group in text.split("|")]
    if len(groups) > 100 or not all(groups) or any(
            group.group(2) and int(group.group(1)) >= int(group.group(2))
            for group in groups):
        raise ValueError("steps such as 0|5|10-20, each range upwards, 100 "
                         "groups at most")
    return text


def _profiling(text):
    try:
        _folder(json.loads(text)["output"])
    except (KeyError, TypeError, ValueError):
        raise ValueError("a JSON object whose output is a folder that is "
                         "there and can be written")
    return text


_SWITCH, _SECONDS = _whole(0, 1), _whole(1)
# A key's proto field (of AttrValue: b, i or s), and its reader: text ->
# value, or ValueError(required).
_KINDS = (
    (("b", _boolean), "mix_compile_mode enable_data_pre_proc hcom_parallel "
     "lower_functional_ops hcom_multi_mode is_tailing_optimization "
     "profiling_mode enable_dump enable_dump_debug in_out_pair_flag "
     "external_weight"),
    (_SWITCH, "enable_small_channel deterministic topo_sorting_mode "
     "atomic_clean_policy"),
    (_SECONDS, "hccl_timeout op_wait_timeout op_execute_timeout "
     "graph_exec_timeout stream_sync_timeout event_sync_timeout"),
    (_whole(0), "task_index session_device_id"),
    (("s", _bytes), "graph_memory_max_size variable_memory_max_size"),
    (("s", _file), "modify_mixlist op_precision_mode customize_dtypes "
     "distribute_config fusion_switch_file insert_op_file "
     "op_debug_config resource_config_path"),
    (("s", _folder), "dump_path work_path debug_dir"),
    (_matching(r".*\S.*", "a text"), "job HCCL_algorithm dump_layer "
     "optypelist_for_implmode op_compiler_cache_dir in_out_pair "
     "soc_config device_type"),
)
OPTIONS = dict({
    "use_off_line": _only("b", True, "else the graph runs on the CPU"),
    "iterations_per_loop": _only("i", 1, "a loop on the device would see "
                                 "one batch again and again"),
    "graph_run_mode": _only("i", 1, "0 is for inference"),
    "precision_mode": _one_of(*PRECISION_MODES),
    "op_select_implmode": _one_of(
        "high_precision", "high_performance", "high_precision_for_all",
        "high_performance_for_all"),
    "precision_mode_v2": _one_of(
        "fp16", "origin", "cube_fp16in_fp32out", "mixed_float16",
        "mixed_bfloat16", "cube_hif8", "mixed_hif8"),
    "auto_tune_mode": _one_of("RL,GA", "GA"),
    "aoe_mode": _one_of("1", "2", "4", "mdat"),
    "mstune_mode": _one_of("1", "2", "3", "4"),
    "profiling_options": ("s", _profiling),
    "dump_step": ("s", _steps),
    "dump_mode": _one_of("input", "output", "all"),
    "dump_data": _one_of("tensor", "stats"),
    "dump_debug_mode": _one_of("aicore_overflow", "atomic_overflow", "all"),
    "enable_exception_dump": _whole(0, 2),
    "op_debug_level": _whole(0, 4),
    "op_compiler_cache_mode": _one_of("enable", "disable", "force"),
    "stream_max_parallel_num": _matching(
        r"\w+:\d+(,\w+:\d+)*", "such as DNN_VM_TF:10,DNN_V100:1"),
    "buffer_optimize": _one_of("l2_optimize", "off_optimize"),
    "enable_scope_fusion_passes": _matching(
        r"\w+(,\w+)*", "such as ScopeLayerNormPass"),
    "local_rank_id": _whole(0, 7),
    "local_device_list": _matching(r"\d+(,\d+)*", "such as 1,2,3"),
    "static_memory_policy": _whole(0, 4),
}, **{key: kind for kind, keys in _KINDS for key in keys.split()})

# Keys that would not fit this trainer, and why.
_REFUSED = dict({
    "precision_mode": "has a flag of its own, --precision_mode",
    "dynamic_loss_scale": "is no key of the adapter; give --loss_scale dynamic",
    "jit_compile": "is read by npu_device's eager mode alone",
    "variable_format_optimize": "is deprecated in the adapter",
    "enable_compress_weight": "is for inference",
    "compress_weight_conf": "is for inference",
}, **{key: "is for batches whose size changes; here it is fixed"
      for key in ("dynamic_input", "dynamic_graph_execute_mode",
                  "dynamic_inputs_shape_range", "input_shape",
                  "dynamic_dims", "dynamic_node_type")})
# The key needs the other one; and, if given, with that value.
_NEEDS = (
    ("modify_mixlist", "precision_mode", "allow_mix_precision"),
    ("optypelist_for_implmode", "op_select_implmode", None),
    ("profiling_options", "profiling_mode", True),
    ("profiling_mode", "profiling_options", None),
    ("dump_step", "enable_dump", True),         # not read by overflow dump
    ("dump_mode", "enable_dump", True),
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
      UserError: an --npu_option is not as the adapter wants it.
    """
    texts = {"use_off_line": "true", "precision_mode": config.precision_mode}
    texts.update(map(_split, config.npu_option))
    if "precision_mode_v2" in texts:            # one of the two alone
        if config.precision_mode != PRECISION_MODES[0]:
            raise UserError(
                "--precision_mode and --npu_option precision_mode_v2 exclude "
                "each other; got {} and {}. Give one.".format(
                    config.precision_mode, texts["precision_mode_v2"]))
        del texts["precision_mode"]
    options = {key: _read(key, text) for key, text in texts.items()}
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


def _read(key, text):
    try:
        return OPTIONS[key][1](text)
    except ValueError as error:
        raise UserError("The NPU's option {} must be {}; got {!r}.".format(
            key, error, text))


def _check_together(options):
    """Combinations over which the adapter stops, or which it ignores."""
    for key, other, value in _NEEDS:
        if options.get(key) and (
                other not in options or value not in (None, options[other])):
            raise UserError(
                "The NPU's option {} needs {}{}; got {}. Give both, or "
                "neither.".format(
                    key, other, "" if value is None
                    else "={}".format(str(value).lower()
                                      if value is True else value),
                    options.get(other, "none")))
    if options.get("enable_dump") and options.get("enable_dump_debug"):
        raise UserError("The NPU's options enable_dump and enable_dump_debug "
                        "exclude each other; got both. Give one.")
    if options.get("dump_path") and not (
            options.get("enable_dump") or options.get("enable_dump_debug")):
        raise UserError("The NPU's option dump_path needs enable_dump=true or "
                        "enable_dump_debug=true, without which nothing is "
                        "dumped; got neither. Give one.")


def fill(parameter_map, options):
    """Writes options into a `parameter_map` of a ConfigProto.

    Args:
      parameter_map: of the custom optimizer NpuOptimizer.
      options: see `of_config`.
    """
    for key, value in options.items():
        field = OPTIONS[key][0]
        setattr(parameter_map[key], field,
                value.encode("utf-8") if field == "s" else value)
