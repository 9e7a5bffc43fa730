"""Says what Ascend's ATC would stumble over in any frozen graph, before ATC.

    python -m nonlocal_tf.export.preflight model.pb \\
        --input_shape="input:32,224,224,1" --out_nodes="output:0"

Takes ATC's own flags; those that do not matter here are passed over, so that
an atc line can be pasted. Exit code 0: clean, perhaps with doubts; 1: rejected
(with --strict also for doubts); 2: no such graph, or wrong flags.
"""

import argparse
import json
import os
import shutil
import sys
import textwrap

from nonlocal_tf import command
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy

CLEAN, REJECTED = 0, 1
_DYNAMIC = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")
_PASSED_OVER = (
    "output", "soc_version", "input_format", "output_type", "precision_mode",
    "precision_mode_v2", "insert_op_conf", "log", "input_fp16_nodes",
    "op_select_implmode", "optypelist_for_implmode", "keep_dtype", "weight",
    "auto_tune_mode", "disable_reuse_memory", "fusion_switch_file",
    "enable_scope_fusion_passes", "enable_small_channel", "buffer_optimize",
    "enable_compress_weight", "op_debug_level", "debug_dir", "check_report",
    "op_compiler_cache_dir", "op_compiler_cache_mode", "core_type",
    "aicore_num", "save_original_model", "dump_mode", "mode",
    "is_input_adjust_hw_layout", "is_output_adjust_hw_layout",
    "modify_mixlist", "deterministic", "host_env_os", "host_env_cpu",
    "op_precision_mode", "customize_dtypes", "input_shape_range", "singleop",
    "display_model_info")
_EXAMPLES = 3                   # nodes shown of those with one trouble


def main(arguments):
    """Examines by command-line arguments; returns the exit code."""
    return command.run("preflight", lambda: _examine(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module(
        "nonlocal_tf.export.preflight", __doc__,
        "%(prog)s model.pb [flags of atc]")
    parser.add_argument("pb", nargs="?", help="the frozen graph")
    parser.add_argument("--model", help="the same, as atc spells it")
    parser.add_argument(
        "--input_shape", type=_shapes, help='"name:32,224,224,1;other:1,8"')
    parser.add_argument(
        "--out_nodes", type=_names, help='"output:0;probabilities:0"')
    parser.add_argument("--framework", help="3, TensorFlow")
    for name in _DYNAMIC:
        parser.add_argument("--" + name, help="as for atc")
    parser.add_argument(
        "--write", metavar="CLEAN.pb", help="write what the outputs need, "
        "without attributes that TensorFlow 1.15 does not know where they are "
        "at their defaults, and examine that")
    parser.add_argument(
        "--json", action="store_true", help="print every finding as JSON")
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 for doubts too")
    for name in _PASSED_OVER:
        parser.add_argument("--" + name, help=argparse.SUPPRESS)
    if arguments[:1] == ["atc"]:                        # a pasted line
        arguments = arguments[1:]
    flags = parser.parse(arguments)
    if bool(flags.pb) == bool(flags.model):
        raise UserError(
            "Name one frozen graph, as preflight model.pb; got {}.".format(
                "{!r} and {!r}".format(flags.pb, flags.model)
                if flags.pb else "none"))
    if flags.framework not in (None, "3"):
        raise UserError("--framework must be 3, TensorFlow, for a .pb; got "
                        "{!r} (atc: E10007).".format(flags.framework))
    _check_dynamic(flags)
    _check_others(flags)
    return flags


def _shapes(text):
    """--input_shape as {name: sizes}."""
    shapes = {}
    for part in text.strip().strip(";").split(";"):
        name, colon, sizes = part.strip().rpartition(":")
        if name in shapes:
            raise argparse.ArgumentTypeError(
                "must name each input once, not {!r} twice".format(name))
        try:
            shapes[name] = [int(size) for size in sizes.split(",")]
        except ValueError:
            colon = ""
        if not colon or not name or min(shapes[name]) < -1 or (
                0 in shapes[name]):
            raise argparse.ArgumentTypeError(
                "must be like name:32,224,224,1;other:1,8 with sizes above 0, "
                "or -1, not {!r}{}".format(
                    text, "" if all(ord(sign) < 128 for sign in text) else
                    " (it has signs that are not ASCII, such as full-width "
                    "ones)"))
    return shapes


def _names(text):
    """--out_nodes as (name, index); without an index it is None."""
    names = [part.strip() for part in text.strip().strip(";").split(";")]
    for name in names:
        if not name or not name.partition(":")[2].isdigit() and ":" in name:
            raise argparse.ArgumentTypeError(
                "must be like output:0;probabilities:0, not {!r}".format(text))
    pairs = [name.partition(":") for name in names]
    return [(name, int(index) if index else None)
            for name, _, index in pairs]


def _check_dynamic(flags):
    """The rules of atc for its three flags of open sizes."""
    given = [name for name in _DYNAMIC if getattr(flags, name)]
    if len(given) > 1:
        raise UserError("--{} and --{} exclude each other; give one.".format(
            *given[:2]))
    shapes = (flags.input_shape or {}).values()
    if flags.dynamic_batch_size and any(-1 in sizes[1:] for sizes in shapes):
        raise UserError("--dynamic_batch_size opens the first size alone; "
                        "--input_shape has -1 elsewhere too.")
    if given and not any(-1 in sizes for sizes in shapes):
        raise UserError(
            "--{} needs an --input_shape with -1 for what is open.".format(
                given[0]))
    for text in getattr(flags, given[0]).replace(";", ",").split(",") if (
            given) else ():
        if not text.strip().isdigit():
            raise UserError("--{} must be numbers with commas between; got "
                            "{!r}.".format(given[0], getattr(flags, given[0])))


def _check_others(flags):
    """Slips that atc would meet late."""
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


def _examine(flags):
    import tensorflow as tf  # --help answers without it

    from nonlocal_tf.export import graphdef
    from nonlocal_tf.export.preflight import checks, clean
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    path = flags.pb or flags.model
    graph_def = graphdef.read(path)
    if flags.write:
        graph_def = clean.write(graph_def, path, flags.write, [
            name for name, _ in flags.out_nodes or ()])
        path = flags.write
    findings = checks.examine(graph_def, checks.Request(
        flags.input_shape, flags.out_nodes,
        any(getattr(flags, name) for name in _DYNAMIC)))
    rejected = sum(each.level == checks.REJECT for each in findings)
    doubts = len(findings) - rejected
    verdict = "rejected" if rejected or (flags.strict and doubts) else "clean"
    if flags.json:
        command.say(json.dumps({
            "model": path, "nodes": len(graph_def.node), "verdict": verdict,
            "findings": [each._asdict() for each in findings]}, indent=1))
    else:
        _print_table(findings)
        command.say("{}: {}; {} nodes, findings to reject: {}, doubts: {}"
                    .format(path, verdict, len(graph_def.node), rejected,
                            doubts))
    return REJECTED if verdict == "rejected" else CLEAN


def _print_table(findings):
    """Level, node, reason and remedy in columns; alike ones together."""
    groups = {}
    for each in sorted(findings, key=lambda each: each.level != "reject"):
        key = (each.level, each.check, each.remedy,
               each.reason if each.check in (
                   "operation", "new_attribute") else each.reason.split(
                       ":")[-1])
        groups.setdefault(key, []).append(each)
    width = max(80, min(140, shutil.get_terminal_size((110, 24)).columns))
    column = (width - 11) // 3
    widths = (6, column, column, column)
    rows = [("", "node", "reason", "remedy")]
    for group in groups.values():
        names = [each.node for each in group[:_EXAMPLES]]
        if len(group) > _EXAMPLES:
            names.append("and {} more (--json lists them)".format(
                len(group) - _EXAMPLES))
        first = group[0]
        rows.append((first.level, "\n".join(names), first.reason,
                     first.remedy))
    for row in rows if findings else ():
        cells = [_wrapped(text, size) for text, size in zip(row, widths)]
        for line in range(max(map(len, cells))):
            command.say("  ".join(
                (cell[line] if line < len(cell) else "").ljust(size)
                for cell, size in zip(cells, widths)).rstrip())
        command.say()


def _wrapped(text, width):
    """Lines of at most `width`; a long name is cut behind a slash."""
    lines = []
    if "=" in text:                     # a flag to copy stays in one piece
        return textwrap.wrap(text, width, break_long_words=False,
                             break_on_hyphens=False)
    for line in text.split("\n"):
        spaced = " ".join(
            word if len(word) <= width else word.replace("/", "/ ")
            for word in line.split(" "))
        lines += [part.replace("/ ", "/")
                  for part in textwrap.wrap(spaced, width)] or [""]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
