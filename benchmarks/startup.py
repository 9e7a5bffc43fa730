"""How long a command takes to start: --help, and the first step of a run.

Whole processes, in turn with one that only imports TensorFlow. The run trains
on scikit-learn's digits into an empty folder; its time ends with the line
that reports the first step, so that TensorFlow's import, the data, the graph
and its optimization are in it. The digits' files are there already.

    python -m benchmarks.startup --rounds 3
"""

import functools
import os
import subprocess
import sys
import tempfile
import time

from benchmarks import common
from benchmarks.common import Column
from nonlocal_tf.errors import UserError

HELP = 0.5                              # target: seconds, at most
IMPORT = "import tensorflow"
TRAIN_HELP, FREEZE_HELP = "train_gpu.py --help", "freeze_pb.py --help"
FIRST_STEP = "train_gpu.py, first step"
_REPORTED = "First step:"               # begins the line

COLUMNS = [
    Column("process", "contender"), Column("seconds", "seconds"),
    Column("over the import", "ratio_to_import")]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("startup", __doc__, arguments, _add_flags, _measure)


def _add_flags(parser):
    parser.add_argument("--batch_size", "--batchsize", type=int, default=32,
                        help="of the run (default: %(default)s)")
    common.add_network_flags(parser, image_size=28)
    for name, default in (("resnet_size", 50), ("non_local", "10")):
        parser.add_argument("--" + name, type=type(default), default=default,
                            help="of the run (default: %(default)s)")


def _measure(flags, report):
    with tempfile.TemporaryDirectory() as folder:
        processes = {
            IMPORT: lambda: _whole(["-c", IMPORT]),
            TRAIN_HELP: lambda: _whole(["train_gpu.py", "--help"]),
            FREEZE_HELP: lambda: _whole(["freeze_pb.py", "--help"]),
            FIRST_STEP: functools.partial(_first_step, flags, folder)}
        reason = common.missing(["sklearn"], "requirements.txt")
        if reason:
            del processes[FIRST_STEP]
        seconds = common.alternate(processes, flags.rounds)
    rows = [{"contender": name, "seconds": common.figure(each),
             "ratio_to_import": common.ratio(each, seconds[IMPORT])}
            for name, each in seconds.items()]
    if reason:
        rows.append({"contender": FIRST_STEP, "missing": reason})
    report.table(
        "Start: {} pixels, batch {}; median of {} rounds [least..most]".format(
            flags.image_size, flags.batch_size, flags.rounds), COLUMNS, rows)
    for row in rows:
        if row["contender"] in (TRAIN_HELP, FREEZE_HELP):
            report.target(row["contender"] + ", seconds",
                          row["seconds"].median, HELP, at_most=True)


def _whole(words):
    """Runs Python with these arguments to its end."""
    done = subprocess.run(
        [sys.executable] + words, cwd=common.ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, universal_newlines=True)
    _check(words, done.returncode, done.stderr)


def _first_step(flags, folder):
    """Seconds until a run reports its first step, which is its last one."""
    output = tempfile.mkdtemp(dir=folder)
    words = ["train_gpu.py", "--dataset", "digits", "--max_steps", "1",
             "--data_url", os.path.join(folder, "digits"),
             "--train_url", output] + [
                 "--{}={}".format(name, getattr(flags, name))
                 for name in ("image_size", "batch_size", "base_width",
                              "resnet_size", "non_local")]
    began = time.perf_counter()
    taken = None
    with open(os.path.join(output, "errors"), "w+") as errors:
        with subprocess.Popen(
                [sys.executable] + words, cwd=common.ROOT, stderr=errors,
                stdout=subprocess.PIPE, universal_newlines=True) as process:
            for line in process.stdout:
                if line.startswith(_REPORTED):
                    taken = time.perf_counter() - began
        errors.seek(0)
        _check(words, process.returncode, errors.read())
    if taken is None:
        raise UserError("{} must print a line that begins with {!r}; it did "
                        "not.".format(" ".join(words), _REPORTED))
    return taken


def _check(words, code, errors):
    if code:
        raise UserError("{} must end with 0; it ended with {}: {}".format(
            " ".join(words), code, (errors.strip().split("\n") or [""])[-1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
