"""One training step of the network, beside PyTorch and a matrix product.

Ours is the step of nonlocal_tf.training.loop: fed images, forward, backward,
Adam. PyTorch's is the same network with the same first weights (see
pytorch.py). The product of two square matrices is what the machine can do at
most; the share of it counts the step's FLOPs by formula, three times those of
a forward pass. In each precision all contenders take turns. bfloat16 has our
float32 step of the same width beside it. Networks of clips drop no features
here, so that first losses can be compared; they cost as much.

    python -m benchmarks.train_step --precision float32
    python -m benchmarks.train_step --network c2d --precision float32
"""

import sys

from benchmarks import common, inputs, trace
from benchmarks.common import Column
from nonlocal_tf import command
from nonlocal_tf.errors import UserError
from nonlocal_tf.training import need

PRECISIONS = ("float32", "bfloat16")
BATCH = {"images": 16, "clips": 4}
INNER_RATIO = {"float32": 1.0, "bfloat16": 0.5}     # of clips 0.5
FASTER, BFLOAT16_FASTER = 1.1, 1.7      # targets: times the images/s
SHARE = 92                              # target: per cent of matmul's rate
OURS, PLAIN, FLOAT32 = "ours", "ours, plain", "ours, float32"
PYTORCH, MATMUL = "PyTorch", "matmul"
LOSS_SPREAD = {"float32": 1e-3, "bfloat16": 0.1}
_LISTED = 12                            # kernels that --profile shows


def _columns(unit):
    return [
        Column("contender", "contender"),
        Column(unit + "/s", unit + "_per_second"),
        Column("over PyTorch", "ratio_to_pytorch"),
        Column("over ours float32", "ratio_to_float32"),
        Column("GFLOP/s", "flops_per_second", 1e-9),
        Column("share of matmul, %", "share_of_matmul", 100)]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("train_step", __doc__, arguments, _add_flags, _measure)


def _add_flags(parser):
    parser.add_argument("--precision", choices=PRECISIONS,
                        help="one alone (default: both)")
    parser.add_argument("--batch_size", "--batchsize", type=int,
                        help="images a step (default: 16), or clips "
                        "(default: 4)")
    parser.add_argument("--inner_ratio", type=float,
                        help="width inside a block over that of its input "
                        "(default: 1 in float32, 0.5 in bfloat16 and of clips)")
    common.add_network_flags(parser, image_size=224)
    common.add_clip_flags(parser)
    parser.add_argument("--matmul_size", type=int, default=4096,
                        help="rows of the matrices (default: %(default)s)")
    parser.add_argument("--profile", action="store_true",
                        help="list the kernels of one step of ours by time")


def _measure(flags, report):
    command.check_ranges(flags, ("matmul_size", 1, 10 ** 5))
    from benchmarks import ours
    ours.quiet()
    if flags.batch_size is None:
        flags.batch_size = BATCH[common.unit(flags)]
    agree = [_Comparison(flags, report, precision).run()
             for precision in PRECISIONS
             if flags.precision in (None, precision)]
    return not all(agree)


class _Comparison:
    """All contenders in one precision."""

    def __init__(self, flags, report, precision):
        self.flags, self.report = flags, report
        self.unit = common.unit(flags)
        self.precision = precision
        self.steps, self.missing = {}, {}
        self.config = self._config()
        self._add_ours()
        if self.steps:
            self._add_pytorch()

    def _config(self, **settings):
        from benchmarks import ours
        ratio = self.flags.inner_ratio
        if ratio is None:
            ratio = INNER_RATIO[self.precision] if (
                self.unit == "images") else 0.5
        return ours.train_config(
            self.flags, batch_size=self.flags.batch_size, inner_ratio=ratio,
            **dict({"precision": self.precision}, **settings))

    def _add_ours(self):
        from benchmarks import ours
        wanted = {OURS: {}, PLAIN: {"plain": True}}
        if self.precision != "float32":
            wanted[FLOAT32] = {"precision": "float32"}
        self.values = None
        for name, settings in wanted.items():
            try:
                step = ours.TrainStep(self._config(**settings), self.values)
            except UserError as error:          # no bfloat16 here
                self.missing[name] = str(error)
                return
            self.values = self.values or step.values()
            self.trainable = step.trainable()
            self.steps[name] = step

    def _add_pytorch(self):
        reason = common.without_pytorch()
        if reason:
            self.missing[PYTORCH] = reason
            return
        from benchmarks import pytorch
        pytorch.prepare(self.flags.threads)
        self.steps[PYTORCH] = pytorch.TrainStep(
            self.values, self.trainable,
            *inputs.batch(self.config, self.flags.batch_size),
            config=self.config)

    def run(self):
        """Measures, prints, compares with the targets; whether all agree."""
        from benchmarks import ours
        if not self.steps:
            self.report.note("{}: {}".format(
                self.precision, self.missing[OURS]))
            return True
        flags = self.flags
        matmul = ours.Matmul(flags.matmul_size, self.precision, flags.threads)
        seconds = common.alternate(
            dict(self.steps, **{MATMUL: matmul}), flags.rounds)
        matmul.close()
        needed = need.training_flops(self.config)
        rows = self._rows(seconds, needed, matmul.flops)
        self.report.table(
            "Train step, {}: {}, batch {}, inner ratio {:g}, {} threads; {} "
            "GFLOP per {}; median of {} rounds [least..most]".format(
                self.precision, common.subject(flags), flags.batch_size,
                self.config.inner_ratio, flags.threads,
                common.number(1e-9 * needed), self.unit[:-1], flags.rounds),
            _columns(self.unit), rows, precision=self.precision,
            inner_ratio=self.config.inner_ratio, flops_per_image=needed)
        agree = self._are_equal()
        self._compare(rows)
        if flags.profile:
            self._profile()
        for step in self.steps.values():
            step.close()
        return agree

    def _rows(self, seconds, needed, matmul_flops):
        matmul = common.rates(seconds[MATMUL], matmul_flops)
        rows = []
        for name in list(self.steps) + list(self.missing):
            row = {"contender": name}
            rows.append(row)
            if name in self.missing:
                row["missing"] = self.missing[name]
                continue
            rates = common.rates(seconds[name], self.flags.batch_size)
            work = [needed * rate for rate in rates]
            row[self.unit + "_per_second"] = common.figure(rates)
            row["flops_per_second"] = common.figure(work)
            if name != FLOAT32:
                row["share_of_matmul"] = common.ratio(work, matmul)
            for key, other in (("ratio_to_pytorch", PYTORCH),
                               ("ratio_to_float32", FLOAT32)):
                if other in seconds and (name, other) != (FLOAT32, PYTORCH):
                    row[key] = common.ratio(rates, common.rates(
                        seconds[other], self.flags.batch_size))
        return rows + [{
            "contender": "{} {}".format(MATMUL, self.flags.matmul_size),
            "flops_per_second": common.figure(matmul)}]

    def _are_equal(self):
        """Whether all have the same size, and the same first loss nearly."""
        parameters = {name: step.parameters()
                      for name, step in self.steps.items()}
        losses = {name: step.first_loss for name, step in self.steps.items()}
        self.report.note("trained parameters: " + "; ".join(
            "{} {:,}".format(*each) for each in parameters.items()),
            precision=self.precision, parameters=parameters)
        self.report.note("loss of the first step: " + "; ".join(
            "{} {:.4f}".format(*each) for each in losses.items()),
            precision=self.precision, first_loss=losses)
        spread = max(losses.values()) - min(losses.values())
        return len(set(parameters.values())) == 1 and (
            spread <= LOSS_SPREAD[self.precision] * max(losses.values()))

    def _compare(self, rows):
        def median(key, scale=1):
            return scale * rows[0][key].median if key in rows[0] else None

        what = "train step in {}: ours over ".format(self.precision)
        self.report.target(
            what + PYTORCH, median("ratio_to_pytorch"), FASTER)
        if self.unit == "clips":
            return
        if self.precision == "float32":
            self.report.target(
                what + "the rate of matmul, %",
                median("share_of_matmul", 100), SHARE)
        else:
            self.report.target(what + "ours in float32",
                               median("ratio_to_float32"), BFLOAT16_FASTER)

    def _profile(self):
        kernels = trace.kernels(self.steps[OURS].traced(
            *inputs.batch(self.config, self.flags.batch_size)))
        rows = [{"kernel": name, "seconds": seconds, "count": count}
                for name, seconds, count in trace.by_operation(kernels)]
        self.report.table(
            "Kernels of one step of ours, {}; all of them {:.3f} s".format(
                self.precision, trace.busy_seconds(kernels)),
            [Column("kernel", "kernel"), Column("ms", "seconds", 1000),
             Column("runs", "count")], rows[:_LISTED],
            precision=self.precision)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
