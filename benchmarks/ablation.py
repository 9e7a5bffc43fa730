"""What non-local blocks bring: accuracy and attention, row by row.

    python -m benchmarks.ablation --seeds 0,1,2 -- --dataset digits \\
        --image_size 28 --base_width 32 --Epoch 5 --batchsize 32

trains the network of train_gpu.py once for each row and seed; what follows
"--" are its flags. `--task pairs` trains a shallow network to tell whether two
digits, too far apart for its receptive field, are of one class.

A run that is done is a line of --output; a run that was stopped goes on. Two
commands may share the file, with other seeds or rows.
"""

import json
import os
import re
import statistics
import sys

from benchmarks import common, machine
from nonlocal_tf import command
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError

# Row -> settings of `TrainConfig`, over those of the command line.
ROWS = {
    "0 blocks": {"non_local": "0"},
    "1 block": {"non_local": "1"},
    "5 blocks": {"non_local": "5"},
    "10 blocks": {"non_local": "10"},
    "gaussian": {"instantiation": "gaussian"},
    "dot_product": {"instantiation": "dot_product"},
    "concatenation": {"instantiation": "concatenation"},
    "paper": {"block": "paper"},
    "paper, scale": {"block": "paper", "scale": True},
    "pre_norm": {"block": "pre_norm"},
    "pre_norm, scale": {"block": "pre_norm", "scale": True},
    "cosine": {"block": "cosine"},
    "pre_norm_cosine": {"block": "pre_norm_cosine"},
}
_DEFAULT = "0 blocks;1 block;5 blocks;10 blocks;gaussian;dot_product;" + (
    "concatenation")


def main(arguments):
    """Trains what is missing and prints the table; returns the exit code.

    Args:
      arguments: without the program's name; those after "--" are the
        trainer's.
    """
    def act():
        own, trainer = arguments, []
        if "--" in arguments:
            place = arguments.index("--")
            own, trainer = arguments[:place], arguments[place + 1:]
        parser = command.Parser.of_module("benchmarks.ablation", __doc__)
        _add_flags(parser)
        flags = parser.parse(own)
        rows = _named(flags.rows)
        config = _config(trainer)
        settings = _settings(config)
        task = _task(flags.task)
        for seed in flags.seeds:
            for row in rows:
                code = _run(flags, task, config, settings, row, seed)
                if code:
                    return code
        _print(flags, settings, rows)
        return 0

    return command.run("benchmarks.ablation", act)


def _add_flags(parser):
    parser.add_argument(
        "--task", choices=("train", "pairs"), default="train",
        help="train: train_gpu.py's network; pairs: two distant digits "
        "(default: %(default)s)")
    parser.add_argument(
        "--rows", default=_DEFAULT, metavar="ROW;ROW..", help="of: {} "
        "(default: %(default)s)".format("; ".join(ROWS)))
    parser.add_argument(
        "--seeds", type=_seeds, default="0,1,2", metavar="N,N..",
        help="(default: %(default)s)")
    parser.add_argument(
        "--output", default=os.path.join(common.RESULTS, "ablation.jsonl"),
        help="a line for each run that is done (default: "
        "benchmarks/results/ablation.jsonl)")
    parser.add_argument(
        "--work", default="./output/ablation", metavar="FOLDER",
        help="of the runs' own folders (default: %(default)s)")


def _seeds(text):
    return [int(word) for word in text.split(",")]


def _named(text):
    rows = [word.strip() for word in text.split(";") if word.strip()]
    unknown = [row for row in rows if row not in ROWS]
    if unknown or not rows:
        raise UserError("--rows must be of {}; got {}.".format(
            "; ".join(ROWS), "; ".join(unknown) or "none"))
    return rows


def _config(arguments):
    """The `TrainConfig` of the flags after "--", and TensorFlow told."""
    from nonlocal_tf.training.command import tune
    from nonlocal_tf.training.flags import parse_flags
    config = parse_flags(arguments, "benchmarks.ablation", "")
    tune(os.environ)
    return config


def _task(name):
    """A function of a `TrainConfig` that returns exit code and figures."""
    if name == "pairs":
        from benchmarks import pairs  # imports TensorFlow
        return pairs.train
    return _train


def _train(config):
    """Trains as train_gpu.py does; the figures of the last epoch."""
    from nonlocal_tf.training.loop import train
    result = train(config)
    if result.exit_code:
        return result.exit_code, None
    with open(os.path.join(config.train_url, "metrics.jsonl")) as file:
        last = [record for record in map(json.loads, file)
                if record["kind"] == "epoch"][-1]
    if "test_accuracy" not in last:
        raise UserError("Accuracies are of whole epochs: leave --max_steps "
                        "out.")
    return 0, {key: last[key] for key in (
        "test_accuracy", "test_images", "train_images", "train_loss",
        "attention")}


def _run(flags, task, config, settings, row, seed):
    """Makes one run, unless its line is there; returns an exit code."""
    import dataclasses
    key = _key(flags, settings, row, seed)
    if any(each["key"] == key for each in _records(flags.output)):
        return 0
    folder = re.sub(r"[^A-Za-z0-9.]+", "_", key)
    chosen = dataclasses.replace(
        config, seed=seed, train_url=os.path.join(flags.work, folder),
        **ROWS[row])
    say("-- {}".format(key))
    code, figures = task(chosen)
    if code == 0:
        os.makedirs(os.path.dirname(flags.output) or ".", exist_ok=True)
        with open(flags.output, "a", encoding="utf-8") as file:
            file.write(json.dumps(dict(
                figures, key=key, row=row, seed=seed, folder=folder,
                cpu=machine.facts()["cpu"], versions=machine.versions()),
                sort_keys=True) + "\n")
    return code


def _key(flags, settings, row, seed):
    """What tells a run from others."""
    return " ".join([flags.task, settings, row, "seed", str(seed)])


def _settings(config):
    """What decides on a result: settings where not the default; the data."""
    from nonlocal_tf.data import datasets
    from nonlocal_tf.training.config import TrainConfig
    default = TrainConfig().as_dict()
    data = datasets.load(
        config.dataset, config.data_folder(), config.mirrors())
    return " ".join([
        "--{} {}".format(name, value)
        for name, value in sorted(config.as_dict().items())
        if value != default[name] and name not in (
            "train_url", "data_url", "threads", "seed", "log_steps",
            "checkpoint_seconds")] + ["data", datasets.fingerprint(data)])


def _records(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def _print(flags, settings, rows):
    """Means over the seeds, and the extremes."""
    records = {record["key"]: record for record in _records(flags.output)}
    say("{}, {}: test accuracy, mean [least..most] of seeds {}".format(
        flags.task, settings,
        ",".join(map(str, flags.seeds))))
    for row in rows:
        found = [records[_key(flags, settings, row, seed)]
                 for seed in flags.seeds]
        rates = [100 * each["test_accuracy"] for each in found]
        say("{:20} {:6.2f} % [{:.2f}..{:.2f}]{}".format(
            row, statistics.mean(rates), min(rates), max(rates),
            _attention([each["attention"] for each in found])))


def _attention(runs):
    """Means over the seeds of each block; the largest of all scores."""
    text = ""
    for name, title in (("entropy", "entropy"), (
            "query_dependence", "query dependence")):
        columns = [[block[name] for block in blocks if block[name] is not None]
                   for blocks in zip(*runs)]
        if columns:
            text += "\n{:22}{}: {}".format("", title, " ".join(
                "{:.2f}".format(statistics.mean(column)) if column else "-"
                for column in columns))
    scores = [block["largest_score"] for blocks in runs for block in blocks]
    return text + ("\n{:22}largest score: {:.4g}".format("", max(scores))
                   if scores else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
