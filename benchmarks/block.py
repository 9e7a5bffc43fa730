"""One non-local block, forward and backward: time and memory as N grows.

N is the number of positions, the square of the map's side. Each form runs in
training, with gradients of x and of all variables. `chunked` is the block
with a limit to the bytes of its affinity matrix, which is then computed in
parts, and exactly; `plain` has no limit. PyTorch is beside them (pytorch.py),
its dot product by the cheaper order of products, as ours.

Time: alternated runs in one process. Memory: the highest resident memory of a
process of its own over what it had before the first run.

    python -m benchmarks.block --forms dot_product --sizes 14,28
"""

import argparse
import json
import sys

from benchmarks import common, inputs, memory
from benchmarks.common import Column
from nonlocal_tf import command
from nonlocal_tf.architecture import INSTANTIATIONS

PLAIN, CHUNKED, PYTORCH = "plain", "chunked", "PyTorch"
CONTENDERS = (PLAIN, CHUNKED, PYTORCH)
LINEAR = 1.1                    # target: exponent of what is linear, at most
_RUNS = 2
_SMALL = 4                      # side of the map that warms up
DEARER = 1.1                    # target: time of chunked over plain, at most

COLUMNS = [
    Column("contender", "contender"), Column("N", "positions"),
    Column("ms", "seconds", 1000),
    Column("time over PyTorch's", "time_ratio_to_pytorch"),
    Column("time over plain's", "time_ratio_to_plain"),
    Column("peak, MB", "peak_bytes", 1e-6),
    Column("time ~ N^", "time_growth"), Column("peak ~ N^", "peak_growth")]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    if arguments[:1] == [memory.PEAK]:
        print(_peak(argparse.Namespace(**json.loads(arguments[1]))))
        return 0
    return common.main("block", __doc__, arguments, _add_flags, _measure)


def _forms(text):
    names = text.split(",")
    for name in names:
        if name not in INSTANTIATIONS:
            raise argparse.ArgumentTypeError("must be of {}, not {!r}".format(
                ", ".join(INSTANTIATIONS), name))
    return names


def _add_flags(parser):
    parser.add_argument("--forms", type=_forms, metavar="FORM,FORM..",
                        default=",".join(INSTANTIATIONS),
                        help="pairwise functions (default: all four)")
    parser.add_argument("--sizes", type=common.integers,
                        default="14,28,56,112", metavar="SIDE,SIDE..",
                        help="sides of the map (default: %(default)s)")
    parser.add_argument("--batch_size", "--batchsize", type=int, default=1,
                        help="(default: %(default)s)")
    parser.add_argument("--channels", type=int, default=512,
                        help="of x (default: %(default)s)")
    parser.add_argument("--inner_channels", type=int, default=256,
                        help="inside the block (default: %(default)s)")
    parser.add_argument("--affinity_limit", type=int, default=16 << 20,
                        help="bytes of the affinity beyond which "
                        "`chunked` takes it in parts (default: %(default)s; "
                        "the trainers' is 256 MiB)")


def _measure(flags, report):
    command.check_ranges(flags, *[(name, 1, 10 ** 12) for name in (
        "batch_size", "channels", "inner_channels", "affinity_limit")])
    for form in flags.forms:
        rows = []
        for side in sorted(flags.sizes):
            rows += _rows(flags, form, side)
        _add_growth(rows)
        rows += [{"contender": name, "missing": reason}
                 for name, reason in _absent(form).items()]
        report.table(
            "{}: C {}, K {}, batch {}, {} threads; median of {} rounds "
            "[least..most]".format(
                form, flags.channels, flags.inner_channels, flags.batch_size,
                flags.threads, flags.rounds), COLUMNS, rows, form=form)
        _compare(form, rows, report)


def _absent(form):
    """Contender -> why it does not run."""
    found = {PYTORCH: common.without_pytorch()}
    if form == "dot_product":
        found[CHUNKED] = "not needed, no affinity is computed"
    return {name: reason for name, reason in found.items() if reason}


def _rows(flags, form, side):
    """Time and memory of all contenders at one size."""
    names = [name for name in CONTENDERS if name not in _absent(form)]
    steps = {name: make_step(flags, form, side, name) for name in names}
    seconds = common.alternate(steps, flags.rounds)
    for step in steps.values():
        step.close()
    rows = []
    for name in names:
        row = {"contender": name, "positions": side * side,
               "seconds": common.figure(seconds[name]),
               "peak_bytes": memory.of_process("benchmarks.block", dict(
                   vars(flags), form=form, side=side, contender=name))}
        for key, other in (("time_ratio_to_pytorch", PYTORCH),
                           ("time_ratio_to_plain", PLAIN)):
            if other in seconds:
                row[key] = common.ratio(seconds[name], seconds[other])
        rows.append(row)
    return rows


def _peak(flags):
    """Bytes that the runs of a block take at their peak."""
    small, step = [make_step(flags, flags.form, side, flags.contender)
                   for side in (_SMALL, flags.side)]
    for _ in range(_RUNS):              # code, thread pools, small buffers
        small()

    def runs():
        for _ in range(_RUNS):          # the second one meets used memory
            step()

    return memory.peak(runs)


def make_step(flags, form, side, name):
    """A contender: its call is one run forward and backward."""
    values = inputs.block_values(form, flags.channels, flags.inner_channels)
    shape = [flags.batch_size, side, side, flags.channels]
    x, gradient = inputs.normal(shape, 1), inputs.normal(shape, 2)
    if name == PYTORCH:
        from benchmarks import pytorch
        pytorch.prepare(flags.threads)
        return pytorch.Block(form, values, x, gradient)
    from benchmarks import ours
    ours.quiet()
    return ours.Block(form, values, x, gradient, flags.threads,
                      flags.affinity_limit if name == CHUNKED else None)


def _add_growth(rows):
    """The exponents between the two largest sizes, into the latter's row."""
    sizes = sorted({row["positions"] for row in rows})[-2:]
    for large in rows:
        for small in rows:
            if len(sizes) == 2 and small["contender"] == large["contender"] \
                    and [small["positions"], large["positions"]] == sizes:
                large["time_growth"] = common.growth(
                    small["seconds"].median, large["seconds"].median, *sizes)
                large["peak_growth"] = common.growth(
                    small["peak_bytes"], large["peak_bytes"], *sizes)


def _compare(form, rows, report):
    """The targets of a form, at the largest size."""
    last = {row["contender"]: row for row in rows}
    chunked = last.get(CHUNKED, {})
    if form == "dot_product":
        for key, what in (("time_growth", "time"), ("peak_growth", "peak")):
            report.target("{}: exponent of {}".format(form, what),
                          last[PLAIN].get(key), LINEAR, at_most=True)
    elif form == "embedded_gaussian":
        report.target(form + ", chunked: exponent of peak",
                      chunked.get("peak_growth"), LINEAR, at_most=True)
        report.target(form + ": time of chunked over plain",
                      chunked["time_ratio_to_plain"].median
                      if "time_ratio_to_plain" in chunked else None,
                      DEARER, at_most=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
