"""The network at work: live graph, frozen file, ONNX Runtime, PyTorch.

All have the same weights: the first ones of the network, with moving
statistics of a batch, and non-local blocks that are no identity. The file is
frozen and folded as freeze_pb.py does it, with an open batch; ONNX Runtime
runs what tf2onnx makes of it; PyTorch is in eval mode (see pytorch.py). Each
gets the same padded images and returns logits, which have to agree.

    python -m benchmarks.inference --batches 1,32
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
OVER_PYTORCH, OVER_ONNX = 1.1, 1.0      # targets, at the middle batch
_TARGET_BATCH = 32

COLUMNS = [
    Column("contender", "contender"), Column("batch", "batch"),
    Column("images/s", "images_per_second"),
    Column("ms a batch", "seconds", 1000),
    Column("over PyTorch", "ratio_to_pytorch"),
    Column("over ONNX Runtime", "ratio_to_onnx"),
    Column("logits differ by", "difference"),
    Column("classes differ", "classes_differ")]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("inference", __doc__, arguments, _add_flags, _measure)


def _add_flags(parser):
    parser.add_argument("--batches", type=common.integers, default="1,32,128",
                        metavar="N,N..",
                        help="images in a run (default: %(default)s)")
    parser.add_argument("--inner_ratio", type=float, default=0.5,
                        help="width inside a block over that of its input "
                        "(default: %(default)s)")
    common.add_network_flags(parser, image_size=224)


def _measure(flags, report):
    from benchmarks import frozen
    with tempfile.TemporaryDirectory() as folder:
        networks, absent = _networks(flags, folder)
        rows = []
        for batch in flags.batches:
            rows += _rows(networks, frozen.padded_images(
                batch, flags.image_size), flags.rounds)
    report.table(
        "Inference: {} pixels, inner ratio {:g}, {} threads; median of {} "
        "rounds [least..most]".format(
            flags.image_size, flags.inner_ratio, flags.threads, flags.rounds),
        COLUMNS, rows + absent)
    _compare(rows, report)
    wrong = [row for row in rows if not row["agrees"]]
    if wrong:
        report.note("Not the live graph's answers: " + ", ".join(
            sorted({row["contender"] for row in wrong})))
    return bool(wrong)


def _networks(flags, folder):
    """Name -> images to logits; and rows of what is not installed."""
    from benchmarks import frozen, ours
    ours.quiet()
    config = ours.train_config(
        flags, batch_size=1, inner_ratio=flags.inner_ratio)
    values = frozen.sane_values(config, flags.threads)
    live = frozen.Live(config, values, flags.threads)
    path = live.freeze(folder)
    networks = {LIVE: live, PB: frozen.File(path, flags.threads)}
    absent = []
    reason = common.missing(
        ["onnxruntime", "tf2onnx"], "requirements/onnx.txt")
    if reason:
        absent.append({"contender": ONNX, "missing": reason})
    else:
        networks[ONNX] = frozen.Onnx(path, flags.threads)
    reason = common.without_pytorch()
    if reason:
        absent.append({"contender": PYTORCH, "missing": reason})
    else:
        from benchmarks import pytorch
        pytorch.prepare(flags.threads)
        networks[PYTORCH] = pytorch.Classifier(values)
    return networks, absent


def _rows(networks, images, rounds):
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
        row["images_per_second"] = common.figure(rates)
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
    """How far logits [B, 10] are from others, and whether that is near."""
    difference = float(abs(logits - expected).max())
    differ = int((logits.argmax(1) != expected.argmax(1)).sum())
    return {
        "difference": difference, "classes_differ": differ,
        "agrees": differ == 0 and (
            difference <= TOLERANCE * max(1.0, float(abs(expected).max())))}


def _compare(rows, report):
    for row in rows:
        if (row["contender"] == PB and row["batch"] == _TARGET_BATCH
                and row["agrees"]):
            for key, other, required in (
                    ("ratio_to_pytorch", PYTORCH, OVER_PYTORCH),
                    ("ratio_to_onnx", ONNX, OVER_ONNX)):
                report.target(
                    "inference, batch {}: PB over {}".format(
                        _TARGET_BATCH, other),
                    row[key].median if key in row else None, required)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
