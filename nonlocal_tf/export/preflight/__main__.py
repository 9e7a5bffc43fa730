"""Says what Ascend's ATC would stumble over in any frozen graph, before ATC.

    python -m nonlocal_tf.export.preflight model.pb \\
        --input_shape="input:32,224,224,1" --out_nodes="output:0"

Takes ATC's own flags; those that do not matter here are passed over, so that
an atc line can be pasted. Below the findings stand the matrices of attention
and their memory; --run adds the range of the graph's values on real inputs.
Exit code 0: clean, perhaps with doubts; 1: rejected (with --strict also for
doubts); 2: no such graph, or wrong flags.
"""

import json
import os
import shutil
import sys
import textwrap

from nonlocal_tf import command
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import frozen_file
from nonlocal_tf.export.preflight import atc

CLEAN, REJECTED = 0, 1
_EXAMPLES = 3                   # nodes shown of those with one trouble
_MATRICES = 10                  # shown


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
    atc.add_flags(parser)
    parser.add_argument(
        "--write", metavar="CLEAN.pb", help="write what the outputs need, "
        "without attributes that TensorFlow 1.15 does not know where they are "
        "at their defaults, and examine that")
    parser.add_argument(
        "--run", metavar="FILE_OR_FOLDER", help="a .bin as msame takes it, or "
        "a folder of them (its first four), run on this CPU: the range of all "
        "values against fp16; of several inputs with commas between")
    parser.add_argument(
        "--json", action="store_true", help="print every finding as JSON")
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 for doubts too")
    if arguments[:1] == ["atc"]:                        # a pasted line
        arguments = arguments[1:]
    flags = parser.parse(arguments)
    if bool(flags.pb) == bool(flags.model):
        raise UserError(
            "Name one frozen graph, as preflight model.pb; got {}.".format(
                "{!r} and {!r}".format(flags.pb, flags.model)
                if flags.pb else "none"))
    flags.request = atc.request(flags)
    return flags


def _examine(flags):
    path = flags.pb or flags.model
    data = frozen_file.read(path)
    import tensorflow as tf  # --help and a wrong file are answered without it

    from nonlocal_tf.export import graphdef, rehearsal
    from nonlocal_tf.export.preflight import (
        affinity,
        checks,
        operations,
        ranges,
        trim,
    )
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    graph_def = graphdef.parse(data, path)
    del data                            # as large as the graph
    if flags.write:
        graph_def = trim.write(graph_def, path, flags.write, flags.request)
        path = flags.write
    findings = checks.examine(graph_def, flags.request, os.path.isfile(
        os.path.join(os.path.dirname(path), operations.LIBRARY)))
    matrices = affinity.matrices(graph_def, flags.request)
    measured = None
    if flags.run:
        try:
            rehearsal.check_manifest(path, flags.run)
            measured = ranges.measure(
                graph_def, flags.request, matrices, flags.run)
        except UserError:
            if not flags.json:          # what was found may be the reason
                _print_table(findings)
            raise
        findings += ranges.findings(measured)
    rejected = sum(each.level == checks.REJECT for each in findings)
    doubts = len(findings) - rejected
    verdict = "rejected" if rejected or (flags.strict and doubts) else "clean"
    if flags.json:
        command.say(json.dumps(dict(
            _report(findings, matrices, measured), model=path,
            nodes=len(graph_def.node), verdict=verdict), indent=1))
    else:
        _print_table(findings)
        _print_inputs(trim.inputs(graph_def, flags.request))
        _print_matrices(matrices, measured)
        if measured:
            _print_range(measured)
        command.say("{}: {}; {} nodes, findings to reject: {}, doubts: {}"
                    .format(path, verdict, len(graph_def.node), rejected,
                            doubts))
    return REJECTED if verdict == "rejected" else CLEAN


def _report(findings, matrices, measured):
    """For --json."""
    report = {
        "findings": [each._asdict() for each in findings],
        "affinity": [dict(
            each._asdict(), bytes_fp16=each.bytes(2), bytes_fp32=each.bytes(4))
            for each in matrices]}
    if measured:
        for each in report["affinity"]:
            each["largest_score"] = _number(measured.scores.get(each["name"]))
        report["fp16"] = {
            "runs": measured.runs, "beyond": len(measured.beyond()),
            "operations_inside": measured.inner,
            "largest": _number(measured.values[0]),
            "node": measured.values[0].node}
    return report


def _number(value):
    """None where it is not finite, which JSON does not have, or not known."""
    return value.largest if value and value.finite else None


def _print_inputs(names):
    """Of several, the order in which the rehearsals take their files."""
    if len(names) > 1:
        command.say("Inputs, in the file's order, that of msame's --input "
                    "(uncertain for the .om): " + ", ".join(names))
        command.say()


def _print_matrices(matrices, measured):
    """Name, sizes and bytes of the largest ones, and of all together."""
    if not matrices:
        return
    rows = [("attention", "matrix", "bytes fp16", "fp32")
            + ("largest score",) * bool(measured)]
    for each in matrices[:_MATRICES]:
        score = measured and measured.scores.get(each.name)
        rows.append((
            each.name, " x ".join(map(str, each.shape)),
            "{:,}".format(each.bytes(2)), "{:,}".format(each.bytes(4))) + (
                ("not measured" if not score else
                 "{:.4g}".format(score.largest) if score.finite else
                 "not finite",) if measured else ()))
    more = len(matrices) - _MATRICES
    if more > 0:
        rows.append(("and {} more (--json)".format(more), "", "", ""))
    rows.append(("together", "") + tuple("{:,}".format(sum(
        each.bytes(size) for each in matrices)) for size in (2, 4)))
    widths = [max(len(row[at]) for row in rows if len(row) > at)
              for at in range(len(rows[0]))]
    for row in rows:
        command.say("  ".join(
            cell.rjust(size) if at else cell.ljust(size)
            for at, (cell, size) in enumerate(zip(row, widths))).rstrip())
    command.say()


def _print_range(measured):
    """What the runs say of fp16, in a line."""
    largest, beyond = measured.values[0], len(measured.beyond())
    command.say("Run on {} of {} inputs: {}".format(
        measured.runs, measured.offered,
        "{} tensors that fp16 does not hold (fp16_range)".format(beyond)
        if beyond else "the largest value is {:.4g}, of {}; fp16 ends at 65504"
        .format(largest.largest, largest.node)))
    if measured.inner:
        command.say("  but for {} operations inside tf.cond or tf.while_loop, "
                    "which were not measured".format(measured.inner))


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
