"""What part of a training step is not spent in the session's kernels.

A step is what feeds the loop's session: the next batch of the data, and one
run of the session; what the loop prints and records is not in it.
Steps that TensorFlow traces take turns with steps that it does not.
`wall` is the time of an untraced step; `kernels` is the time of a traced one
in which at least one kernel ran. What is left, 1 - kernels / wall, is Python,
feeding, fetching and the session's own work. As the two come from different
steps, a share of less than their spread means nothing; the last column is the
same share of the traced steps alone, an upper bound, as tracing adds to what
lies between kernels.

    python -m benchmarks.feed --cases 28x32
"""

import argparse
import itertools
import re
import sys
import time

from benchmarks import common, inputs, trace
from benchmarks.common import Column
from nonlocal_tf import command

SHARE = 1                               # target: per cent of a step, at most
COLUMNS = [
    Column("case", "case"), Column("step, ms", "step_seconds", 1000),
    Column("kernels, ms", "kernel_seconds", 1000),
    Column("outside of kernels, %", "share", 100),
    Column("of traced steps, %", "traced_share", 100)]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("feed", __doc__, arguments, _add_flags, _measure)


def _cases(text):
    """28x32,224x16: pairs of pixels and batch."""
    found = [re.match(r"^(\d+)x(\d+)$", word) for word in text.split(",")]
    if None in found:
        raise argparse.ArgumentTypeError(
            "must be PIXELSxBATCH with commas between, not {!r}".format(text))
    return [(int(each.group(1)), int(each.group(2))) for each in found]


def _add_flags(parser):
    parser.add_argument("--cases", type=_cases, default="28x32,224x16",
                        metavar="PIXELSxBATCH",
                        help="with commas between (default: %(default)s)")
    parser.add_argument("--images", type=int, default=60000,
                        help="of the data set (default: %(default)s)")
    common.add_network_flags(parser)


def _measure(flags, report):
    from benchmarks import ours
    command.check_ranges(flags, ("images", 1, 10 ** 7))
    ours.quiet()
    rows = [_row(flags, *case) for case in flags.cases]
    report.table(
        "A step and its kernels, {} threads; median of {} rounds "
        "[least..most]".format(flags.threads, flags.rounds), COLUMNS, rows)
    for row in rows:        # by the upper bound, of the same steps
        report.target("{}: % of a traced step outside of kernels".format(
            row["case"]), 100 * row["traced_share"].median, SHARE,
            at_most=True)


def _row(flags, image_size, batch_size):
    """Measures one case."""
    from benchmarks import ours
    from nonlocal_tf.data import batches
    images, labels = inputs.digits(flags.images)
    batches.steps_per_epoch(flags.images, batch_size)       # checks
    step = ours.TrainStep(ours.train_config(
        flags, image_size=image_size, batch_size=batch_size))
    fed = itertools.chain.from_iterable(
        batches.train_batches(images, labels, batch_size, 0, epoch)
        for epoch in itertools.count())
    traced, busy = [], []

    def untraced_step():
        step.run(*next(fed))

    def traced_step():
        batch = next(fed)
        began = time.perf_counter()
        metadata = step.traced(*batch)
        traced.append(time.perf_counter() - began)
        busy.append(trace.busy_seconds(trace.kernels(metadata)))

    seconds = common.alternate(
        {"wall": untraced_step, "traced": traced_step}, flags.rounds)
    step.close()
    return figures("{} px, batch {}".format(image_size, batch_size),
                   seconds["wall"], traced[1:], busy[1:])


def figures(case, wall, traced, busy):
    """A row of the table, from the seconds of each round.

    Args:
      case: its name.
      wall: of untraced steps.
      traced, busy: of traced steps, and of their kernels.
    """
    return {
        "case": case,
        "step_seconds": common.figure(wall),
        "kernel_seconds": common.figure(busy),
        "share": common.rest(common.ratio(busy, wall)),
        "traced_share": common.rest(common.ratio(busy, traced))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
