"""The flags of Ascend's ATC: how they are written, and its rules for them."""

import argparse
import os
import re
from typing import List, NamedTuple, Optional

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy

_DYNAMIC = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")
_CHOICES = {                    # what atc takes when it makes an .om
    "framework": "3 5",
    "mode": "0 3",
    "input_format": "NCHW NHWC ND NCDHW NDHWC",
    "precision_mode": "force_fp16 force_fp32 allow_fp32_to_fp16 "
    "must_keep_origin_dtype allow_mix_precision cube_fp16in_fp32out "
    "allow_mix_precision_fp16 allow_mix_precision_bf16 allow_fp32_to_bf16",
    "precision_mode_v2": "fp16 origin cube_fp16in_fp32out mixed_float16 "
    "mixed_bfloat16",
}
_PASSED_OVER = (
    "output", "soc_version", "output_type", "insert_op_conf", "log",
    "input_fp16_nodes", "op_select_implmode", "optypelist_for_implmode",
    "keep_dtype", "weight", "auto_tune_mode", "disable_reuse_memory",
    "fusion_switch_file", "enable_scope_fusion_passes", "enable_small_channel",
    "buffer_optimize", "enable_compress_weight", "op_debug_level", "debug_dir",
    "check_report", "op_compiler_cache_dir", "op_compiler_cache_mode",
    "core_type", "aicore_num", "save_original_model", "dump_mode",
    "is_input_adjust_hw_layout", "is_output_adjust_hw_layout",
    "modify_mixlist", "deterministic", "host_env_os", "host_env_cpu",
    "op_precision_mode", "customize_dtypes", "input_shape_range", "singleop",
    "display_model_info")


class Request(NamedTuple):
    """What ATC will be asked for."""

    shapes: Optional[dict] = None       # --input_shape: name -> sizes, -1 open
    out_nodes: Optional[List[tuple]] = None     # (name, index or None)
    dynamic: bool = False               # a --dynamic_... flag is given
    input_format: Optional[str] = None
    precision: Optional[str] = None     # --precision_mode, or its _v2
    soc_version: Optional[str] = None


def add_flags(parser):
    """Declares ATC's flags."""
    parser.add_argument(
        "--input_shape", type=_shapes, help='"name:32,224,224,1;other:1,8"')
    parser.add_argument(
        "--out_nodes", type=names, help='"output:0;probabilities:0"')
    for name, values in _CHOICES.items():
        parser.add_argument("--" + name, choices=values.split(),
                            help="3, TensorFlow; preflight reads no other"
                            if name == "framework"
                            else argparse.SUPPRESS)
    for name in _DYNAMIC:
        parser.add_argument("--" + name, help="as for atc")
    for name in _PASSED_OVER:
        parser.add_argument("--" + name, help=argparse.SUPPRESS)


def request(flags):
    """The `Request` of a namespace, after ATC's own checks.

    Raises:
      UserError: what ATC would refuse.
    """
    if flags.framework == "5" or (flags.pb or flags.model).endswith(".onnx"):
        raise UserError(
            "Preflight reads TensorFlow's graphs (--framework=3); {!r} is for "
            "--framework=5, ONNX. Examine the .pb that it was made of; atc "
            "itself takes the .onnx, without --out_nodes.".format(
                flags.pb or flags.model))
    if flags.precision_mode and flags.precision_mode_v2:
        raise UserError("--precision_mode and --precision_mode_v2 exclude each "
                        "other; give one.")
    if flags.output and (flags.output.endswith(("/", ".om"))
                         or os.path.isdir(flags.output)):
        raise UserError("--output must be a path without .om that ends in a "
                        "file's name; got {!r} (atc: E10022).".format(
                            flags.output))
    if flags.soc_version:
        deploy.check_soc_version(flags.soc_version)
    if flags.insert_op_conf and not os.path.isfile(flags.insert_op_conf):
        raise UserError("--insert_op_conf must be a file; {!r} is none.".format(
            flags.insert_op_conf))
    given = [name for name in _DYNAMIC if getattr(flags, name)]
    if len(given) > 1:
        raise UserError("--{} and --{} exclude each other; give one.".format(
            *given[:2]))
    if given:
        _check_dynamic(given[0], flags)
    return Request(flags.input_shape, flags.out_nodes, bool(given),
                   flags.input_format,
                   flags.precision_mode or flags.precision_mode_v2,
                   flags.soc_version)


def _check_dynamic(name, flags):
    """The rules of atc for its three flags of open sizes.

    Read in the sources of 2021: atc_ir_common.cc, multi_batch_options.cc.
    """
    shapes = [sizes for sizes in (flags.input_shape or {}).values()
              if -1 in sizes]
    if not shapes:
        raise UserError("--{} needs an --input_shape with -1 for what is open."
                        .format(name))
    batch, dims = name == "dynamic_batch_size", name == "dynamic_dims"
    if dims:
        if flags.input_format != "ND":
            raise UserError("--dynamic_dims needs --input_format=ND (E10001).")
        values = sum(sizes.count(-1) for sizes in shapes)
    else:
        layout = flags.input_format or "NHWC"
        wanted = [0] if batch else {
            "NHWC": [1, 2], "NCHW": [2, 3]}.get(layout)
        values = 1 if batch else 2
        if any([at for at, size in enumerate(sizes) if size == -1] != wanted
               or not batch and len(sizes) != 4 for sizes in shapes):
            raise UserError(
                "--dynamic_batch_size opens the first size alone; "
                "--input_shape has -1 elsewhere too." if batch else
                "--dynamic_image_size opens H and W of the four sizes of NHWC "
                "or NCHW, and no other size (E10019); --input_format is {}."
                .format(layout))
    text, between = getattr(flags, name), "," if batch else ";"
    gears = text[:-1] if text.endswith(between) else text
    gears = [[gear] if batch else gear.split(",")
             for gear in gears.split(between)]
    number = re.compile("0*[1-9][0-9]*" if dims else " *0*[1-9][0-9]* *")
    if not all(len(gear) == values and all(map(number.fullmatch, gear))
               for gear in gears) or not 2 <= len(gears) <= 100 or len(
                   {tuple(map(int, gear)) for gear in gears}) < len(gears):
        raise UserError(
            "--{} must be 2 to 100 different gears, {!r} between them, each of "
            "{} number{} above 0, such as {} (E10033 to E10042); got {!r}."
            .format(
                name, between, values, "s" * (values > 1), between.join(
                    ",".join([size] * values) for size in "18"), text[:200]))


def _shapes(text):
    """--input_shape as {name: sizes}."""
    shapes = {}
    for part in text.strip().strip(";").split(";"):
        name, colon, sizes = part.strip().rpartition(":")
        if name in shapes:
            raise argparse.ArgumentTypeError(
                "must name each input once, not {!r} twice".format(name))
        try:                            # a scalar has no sizes; 1~8: open
            shapes[name] = [-1 if re.fullmatch(r"\d+~(\d+|-1)", size.strip())
                            else int(size) for size in sizes.split(",")
                            if sizes.strip()]
        except ValueError:
            colon = ""
        if not colon or not name or 0 in shapes[name] or not all(
                -1 <= size < 2 ** 63 for size in shapes[name]):
            raise argparse.ArgumentTypeError(
                "must be like name:32,224,224,1;other:1,8 with sizes above 0, "
                "or -1, not {!r}{}".format(
                    text[:200], "" if all(ord(sign) < 128 for sign in text)
                    else " (it has signs that are not ASCII, such as "
                    "full-width ones)"))
    return shapes


def names(text):
    """--out_nodes as (name, index); without an index it is None."""
    parts = [part.strip() for part in text.strip().strip(";").split(";")]
    for name in parts:
        if not name or not name.partition(":")[2].isdigit() and ":" in name:
            raise argparse.ArgumentTypeError(
                "must be like output:0;probabilities:0, not {!r}".format(text))
    pairs = [name.partition(":") for name in parts]
    return [(name, int(index) if index else None)
            for name, _, index in pairs]
