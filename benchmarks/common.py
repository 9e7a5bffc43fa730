"""What every benchmark shares: alternated runs, figures, tables, results."""

import datetime
import importlib.util
import json
import math
import os
import shlex
import statistics
import time
from typing import NamedTuple

from benchmarks import machine
from nonlocal_tf import command
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import VIDEO_NETWORKS
from nonlocal_tf.training.command import tune

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, "benchmarks", "results")


class Figure(NamedTuple):
    """A median over the rounds, and the extremes."""

    median: float
    least: float
    most: float


class Column(NamedTuple):
    """Of a table: its head, the key in a row, how often the unit goes in 1."""

    head: str
    key: str
    scale: float = 1


def figure(values):
    """The `Figure` of one number a round."""
    return Figure(statistics.median(values), min(values), max(values))


def rates(seconds, work):
    """work / second of each round."""
    return [work / each for each in seconds]


def ratio(ours, others):
    """The quotient of the medians; least and most are of single rounds.

    Args:
      ours, others: one number a round, of the same rounds.
    """
    rounds = [our / other for our, other in zip(ours, others)]
    return Figure(statistics.median(ours) / statistics.median(others),
                  min(rounds), max(rounds))


def rest(ratio):
    """What the ratio leaves of 1."""
    return Figure(1 - ratio.median, 1 - ratio.most, 1 - ratio.least)


def growth(small, large, small_size, large_size):
    """The exponent e of time or memory ~ size^e between two sizes.

    None where one of the two is 0: too small to be seen.
    """
    if not (small and large):
        return None
    return math.log(large / small) / math.log(large_size / small_size)


def alternate(contenders, rounds, clock=time.perf_counter):
    """Runs all contenders in turn, so that a slow minute hits all alike.

    Every other round goes backwards, so that none always follows the same.

    Args:
      contenders: name -> function without arguments, which may return the
        seconds that it took where they are not those of the whole call.
      rounds: turns that count; one before them warms up.
      clock: gives seconds.
    Returns:
      name -> seconds of each round.
    """
    seconds = {name: [] for name in contenders}
    for number in range(rounds + 1):
        turns = list(contenders.items())
        for name, act in turns[::-1] if number % 2 else turns:
            began = clock()
            taken = act()
            if taken is None:
                taken = clock() - began
            if number:
                seconds[name].append(taken)
    return seconds


def missing(packages, requirements):
    """Why a contender cannot run; None where all its packages are there."""
    if all(importlib.util.find_spec(package) for package in packages):
        return None
    return "not installed (pip install -r {})".format(requirements)


def without_pytorch():
    """`missing` for PyTorch."""
    return missing(["torch"], "requirements/reference.txt")


def number(value):
    """Three digits that count, without an exponent."""
    if not value or not math.isfinite(value):
        return "{:g}".format(value)
    digits = 2 - math.floor(math.log10(abs(value)))
    return "{:,.{}f}".format(value, max(0, digits))


def cell(value, scale=1):
    """A value of a table as a text."""
    if value is None:
        return ""
    if isinstance(value, Figure):
        return "{} [{}..{}]".format(*(number(scale * each) for each in value))
    if isinstance(value, int) and scale == 1:
        return "{:,}".format(value)
    return number(scale * value) if isinstance(value, (int, float)) else value


def table(columns, rows):
    """The lines of a table; a contender that is missing is a line in words.

    Args:
      columns: `Column`s; the first one's values are names. One that no row
        has is left out.
      rows: key -> value each; "missing" says why there are no values.
    """
    columns = [column for column in columns
               if any(column.key in row for row in rows)]
    cells = [[column.head for column in columns]] + [
        [cell(row.get(column.key), column.scale) for column in columns]
        for row in rows if "missing" not in row]
    widths = [max(map(len, texts)) for texts in zip(*cells)]
    lines = iter(["  ".join(text.ljust(width) for text, width in zip(
        texts, widths)).rstrip() for texts in cells])
    return [next(lines)] + [
        "{}: {}".format(row[columns[0].key], row["missing"])
        if "missing" in row else next(lines) for row in rows]


class Report:
    """Prints what a benchmark finds, and keeps it for the JSON file.

    Args:
      name: of the benchmark.
      flags: the parsed command line.
      arguments: the command line.
    """

    def __init__(self, name, flags, arguments):
        self._flags = flags
        self._found = {
            "benchmark": name,
            "command": " ".join(["python -m benchmarks." + name] + [
                shlex.quote(argument) for argument in arguments]),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(
                timespec="seconds"),
            "commit": machine.commit(ROOT),
            "machine": machine.facts(),
            "rows": [], "targets": [], "notes": []}

    def table(self, title, columns, rows, **facts):
        """Prints a table; the rows go to the file, each with `facts`."""
        say(title)
        for line in table(columns, rows):
            say("  " + line)
        say()
        self._found["rows"] += [dict(facts, **row) for row in rows]

    def note(self, text, **facts):
        """Prints a line; `facts` go to the file with it."""
        say(text)
        self._found["notes"].append(dict(facts, text=text))

    def target(self, what, value, required, at_most=False):
        """Prints a figure beside what it has to be.

        Args:
          what: of which figure, with its unit.
          value: the figure, or None where it was not measured.
          required: the least that it may be, or with `at_most` the most.
        """
        reached = None if value is None else bool(
            value <= required if at_most else value >= required)
        say("target: {} {} {}: {}".format(
            what, "at most" if at_most else "at least", number(required),
            "not measured" if value is None else "{}, {}".format(
                number(value), "reached" if reached else "not reached")))
        self._found["targets"].append({
            "what": what, "at_most" if at_most else "at_least": required,
            "value": value, "reached": reached})

    def write(self):
        """Writes the JSON file."""
        self._found["versions"] = machine.versions()
        self._found["settings"] = dict(vars(self._flags))
        path = self._found["settings"].pop("json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(_plain(self._found), file, indent=1, sort_keys=True)
            file.write("\n")
        say("written: " + os.path.relpath(path))


def _plain(value):
    """With `Figure`s as dictionaries."""
    if isinstance(value, Figure):
        return {"median": value.median, "min": value.least, "max": value.most}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def add_network_flags(parser, image_size=None):
    """Adds --base_width, and --image_size where it has a default."""
    if image_size:
        parser.add_argument("--image_size", type=int, default=image_size,
                            help="pixels (default: %(default)s)")
    parser.add_argument("--base_width", type=int, default=64,
                        help="fewer make a thin network for a trial "
                        "(default: %(default)s)")


def add_clip_flags(parser):
    """Adds --network, and --frames of those of clips."""
    parser.add_argument("--network", choices=("digits",) + VIDEO_NETWORKS,
                        default="digits", help="of images, or one of clips "
                        "with five blocks (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=8,
                        help="of a clip (default: %(default)s)")


def unit(flags):
    """What --network takes."""
    return "images" if getattr(flags, "network", "digits") == "digits" else (
        "clips")


def subject(flags):
    """What a table is about."""
    pixels = "{} pixels".format(flags.image_size)
    return pixels if unit(flags) == "images" else (
        "{}, {} frames of {}".format(flags.network, flags.frames, pixels))


def integers(text):
    """Positive numbers with commas between, as argparse's `type`."""
    values = [int(word) for word in text.split(",")]
    if min(values) < 1:
        raise ValueError(text)
    return values


integers.__name__ = "list of positive integers"


def main(name, description, arguments, add_flags, measure):
    """Runs a benchmark by its command line; returns the exit code.

    Args:
      name: of the module in `benchmarks`.
      description: its docstring.
      arguments: without the program's name.
      add_flags: adds the benchmark's own flags to a parser.
      measure: called with flags and a `Report`; True: something is wrong.
    """
    def act():
        parser = command.Parser.of_module("benchmarks." + name, description)
        add_flags(parser)
        _add_shared_flags(parser, name)
        flags = parser.parse(arguments)
        command.check_ranges(
            flags, ("rounds", 1, 10000), ("threads", 1, 4096))
        flags.json = flags.json or os.path.join(RESULTS, name + (
            "_" + flags.network if unit(flags) == "clips" else "") + ".json")
        _check_path(flags.json)
        # PyTorch and ONNX Runtime are here those for the CPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        # OpenMP's threads, which are PyTorch's, wait for each other in a loop
        # of 300,000 rounds, some 10 ms. Where anything else runs, so that one
        # of them has no core, that is 80 ms for a block of 1 ms.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        tune(os.environ)
        report = Report(name, flags, arguments)
        try:
            wrong = measure(flags, report)
        finally:
            report.write()
        return 1 if wrong else 0

    return command.run("benchmarks." + name, act)


def _add_shared_flags(parser, name):
    parser.add_argument(
        "--rounds", type=int, default=5, help="turns of all contenders, after "
        "one to warm up (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=machine.cores(),
        help="of each contender (default: the cores at hand, %(default)s)")
    parser.add_argument(
        "--json", metavar="PATH",
        help="file to write (default: benchmarks/results/{}.json; of clips "
        "{}_NETWORK.json)".format(name, name))


def _check_path(path):
    if not path.endswith(".json"):
        raise UserError(
            "--json must be a file that ends in .json; got {!r}.".format(path))
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
