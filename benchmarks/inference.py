"""The network at work: live graph, frozen file, ONNX Runtime, PyTorch.

All have the same weights: the first ones of the network, with moving
statistics of a batch, and non-local blocks that are no identity. The file is
frozen and folded as freeze_pb.py does it, with an open batch; ONNX Runtime
runs what tf2onnx makes of it; PyTorch is in eval mode (see pytorch.py). Each
gets the same padded images and returns logits, which have to agree. Of a
network of clips, which get uint8, there are the live graph and PyTorch.

    python -m benchmarks.inference --batches 1,32
    python -m benchmarks.inference --network c2d
"""

import functools
import sys
import tempfile

from benchmarks import common
from benchmarks.common import Column

LIVE, PB, ONNX, PYTORCH = "live graph", "PB", "ONNX Runtime", "PyTorch"
# Of a logit, and of the largest one: float32 in other orders, through 50
# layers of random weights. Any two of the four differ that much.
TOLERANCE = 5e-3
OVER_PYTORCH = ("ratio_to_pytorch", PYTORCH, 1.1)       # targets
OVER_ONNX = ("ratio_to_onnx", ONNX, 1.0)
# Of which contender, at which batch.
_TARGETS = {"images": (PB, 32, (OVER_PYTORCH, OVER_ONNX)),
            "clips": (LIVE, 4, (OVER_PYTORCH,))}
BATCHES = {"images": [1, 32, 128], "clips": [1, 4]}


def _columns(unit):
    return [
        Column("contender", "contender"), Column("batch", "batch"),
        Column(unit + "/s", unit + "_per_second"),
        Column("ms a batch", "seconds", 1000),
        Column("over PyTorch", "ratio_to_pytorch"),
        Column("over ONNX Runtime", "ratio_to_onnx"),
        Column("logits differ by", "difference"),
        Column("classes differ", "classes_differ")]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("inference", __doc__, arguments, _add_flags, _measure)


def _add_flags(parser):
    parser.add_argument("--batches", type=common.integers, metavar="N,N..",
                        help="images in a run (default: 1,32,128), or clips "
                        "(default: 1,4)")
    parser.add_argument("--inner_ratio", type=float, default=0.5,
                        help="width inside a block over that of its input "
                        "(default: %(default)s)")
    common.add_network_flags(parser, image_size=224)
    common.add_clip_flags(parser)


def _measure(flags, report):
    from benchmarks import frozen, ours
    ours.quiet()
    config = ours.train_config(
        flags, batch_size=1, inner_ratio=flags.inner_ratio)
    unit = common.unit(flags)
    flags.batches = flags.batches or BATCHES[unit]
    with tempfile.TemporaryDirectory() as folder:
        networks, absent = _networks(config, flags.threads, folder)
        rows = []
        for batch in flags.batches:
            rows += _rows(networks, frozen.samples(config, batch),
                          flags.rounds, unit)
    report.table(
        "Inference: {}, inner ratio {:g}, {} threads; median of {} "
        "rounds [least..most]".format(
            common.subject(flags), flags.inner_ratio, flags.threads,
            flags.rounds),
        _columns(unit), rows + absent)
    _compare(rows, report, *_TARGETS[unit])
    wrong = [row for row in rows if not row["agrees"]]
    if wrong:
        report.note("Not the live graph's answers: " + ", ".join(
            sorted({row["contender"] for row in wrong})))
    return bool(wrong)


def _networks(config, threads, folder):
    """Name -> images to logits; and rows of what is not installed."""
    from benchmarks import frozen
    values = frozen.sane_values(config, threads)
    if config.network == "digits":
        networks, absent = _of_digits(config, values, threads, folder)
    else:
        networks, absent = {LIVE: frozen.Clips(config, values, threads)}, []
    reason = common.without_pytorch()
    if reason:
        absent.append({"contender": PYTORCH, "missing": reason})
    else:
        from benchmarks import pytorch
        pytorch.prepare(threads)
        networks[PYTORCH] = pytorch.Classifier(values, config)
    return networks, absent


def _of_digits(config, values, threads, folder):
    """Live graph, frozen file and ONNX Runtime, as `_networks` has them."""
    from benchmarks import frozen
    live = frozen.Live(config, values, threads)
    path = live.freeze(folder)
    networks = {LIVE: live, PB: frozen.File(path, threads)}
    reason = common.missing(
        ["onnxruntime", "tf2onnx"], "requirements/onnx.txt")
    if reason:
        return networks, [{"contender": ONNX, "missing": reason}]
    networks[ONNX] = frozen.Onnx(path, threads)
    return networks, []


def _rows(networks, images, rounds, unit):
    """Checks and measures one batch size."""
    logits = {name: network(images) for name, network in networks.items()}
    seconds = common.alternate(
        {name: functools.partial(_call, network, images)
         for name, network in networks.items()}, rounds)
    rows = []
    for name in networks:
        row = dict(agreement(logits[name], logits[LIVE]), contender=name,
                   batch=len(images), seconds=common.figure(seconds[name]))
        rates = common.rates(seconds[name], len(images))
        row[unit + "_per_second"] = common.figure(rates)
        for key, other in (("ratio_to_pytorch", PYTORCH),
                           ("ratio_to_onnx", ONNX)):
            if other in seconds:
                row[key] = common.ratio(
                    rates, common.rates(seconds[other], len(images)))
        rows.append(row)
    return rows


def _call(network, images):
    network(images)


def agreement(logits, expected):
    """How far logits [B, classes] are from others, and whether that is near."""
    difference = float(abs(logits - expected).max())
    differ = int((logits.argmax(1) != expected.argmax(1)).sum())
    return {
        "difference": difference, "classes_differ": differ,
        "agrees": differ == 0 and (
            difference <= TOLERANCE * max(1.0, float(abs(expected).max())))}


def _compare(rows, report, contender, batch, targets):
    for row in rows:
        if (row["contender"] == contender and row["batch"] == batch
                and row["agrees"]):
            for key, other, required in targets:
                report.target(
                    "inference, batch {}: {} over {}".format(
                        batch, contender, other),
                    row[key].median if key in row else None, required)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
