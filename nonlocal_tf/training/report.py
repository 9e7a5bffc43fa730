"""What a run says: console, metrics.jsonl, TensorBoard events.

The only place of training that writes to standard output. The epoch line
is that of the known system, which existing scripts parse, misspelling
included; no other line may hold "Loss", "Accuarcy" or "global_step/sec".
"""

import contextlib
import itertools
import json
import os
import shutil
import sys
import time

import tensorflow as tf
from absl import logging

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.progress import read_records

tf1 = tf.compat.v1

_LIVE_SECONDS = 0.2             # between updates of the live line
_LOG_SECONDS = 10.0             # between progress lines without a terminal


class Reporter:
    """Reports one run in the folder `train_url`.

    Args:
      train_url: holds metrics.jsonl and the folder `events`.
      stream: where lines go; standard output by default.
      rates_steps: whether the known line ends in steps a second, as on an
        NPU, and not in seconds.
    """

    def __init__(self, train_url, stream=None, rates_steps=False):
        self.metrics_path = os.path.join(train_url, "metrics.jsonl")
        self.config_path = os.path.join(train_url, "config.json")
        self.events_path = os.path.join(train_url, "events")
        self._rates_steps = rates_steps
        self._stream = stream or sys.stdout
        self._live = bool(self._stream) and self._stream.isatty()
        self._live_shown = False
        self._last_progress = float("-inf")
        self._events = None
        self._records = None

    @contextlib.contextmanager
    def recording(self, step, epoch):
        """Records within the context, after `step` steps, in `epoch`.

        Records that an earlier run wrote beyond that point, because it went
        on after its last checkpoint, are dropped: they are made again. Those
        of a run whose checkpoints are gone are put aside.
        """
        records = []
        if os.path.exists(self.metrics_path):
            records, _ = read_records(self.metrics_path)
        if step == 0 and any(r["kind"] == "epoch" for r in records):
            os.replace(self.metrics_path, _free_name(self.metrics_path))
        kept = [record for record in records if record["epoch"] < epoch
                or record["kind"] == "step" and record["step"] <= step]
        storage.write_text(self.metrics_path, "".join(
            json.dumps(record) + "\n" for record in kept))
        storage.make_folder(self.events_path, "--train_url")
        self._events = _Events(self.events_path, step)
        try:
            with open(self.metrics_path, "a", encoding="utf-8") as file:
                self._records = file
                yield
        finally:
            self._end_live_line()
            self._events.close()

    def check_settings_file(self):
        """Refuses to replace a config.json that is not of such a run."""
        try:
            with open(self.config_path, encoding="utf-8") as file:
                ours = "train_url" in json.load(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise UserError(
                "--train_url must be a folder for results; {!r} is there and "
                "not of this program. Name another folder.".format(
                    self.config_path))

    def settings(self, settings):
        """Writes config.json: setting -> value."""
        storage.write_text(self.config_path, json.dumps(
            settings, indent=1, sort_keys=True) + "\n")

    def line(self, text=""):
        """Prints one line."""
        self._end_live_line()
        self._write(text + "\n")

    def lines(self, texts):
        """Prints some lines."""
        for text in texts:
            self.line(text)

    def progress(self, text):
        """Shows where the run is: a live line, or a line now and then."""
        now = time.monotonic()
        pause = _LIVE_SECONDS if self._live else _LOG_SECONDS
        if now - self._last_progress < pause:
            return
        self._last_progress = now
        if not self._live:
            self.line(text)
            return
        width = shutil.get_terminal_size().columns - 1
        self._write("\r\033[K" + text[:width])
        self._live_shown = True

    def places(self, checkpoint):
        """Says where everything is."""
        for name, place in [
                ("checkpoint", checkpoint),
                ("metrics", self.metrics_path),
                ("settings", self.config_path),
                ("TensorBoard", self.events_path)]:
            self.line("  {:12} {}".format(name, place))

    def step(self, record):
        """Records a step: epoch, step and measures."""
        self._record("step", record, ["train_loss", "images_per_second"])

    def epoch(self, record):
        """Prints the known line of an epoch and records it.

        Args:
          record: has epoch, step, train_loss, train_accuracy (0 to 1),
            epoch_seconds and steps_per_second, and more that goes to
            metrics.jsonl.
        """
        line = "Epoch: {}\tLoss:{:.9f}\tAccuarcy: " + (
            "{:.4f}\tglobal_step/sec:{:.4f}" if self._rates_steps
            else "{:.2%}\t sec:{:.2f}")
        self.line(line.format(
            record["epoch"], record["train_loss"], record["train_accuracy"],
            record["steps_per_second" if self._rates_steps
                   else "epoch_seconds"]))
        self._record("epoch", record, [
            "train_loss", "train_accuracy", "test_loss", "test_accuracy",
            "images_per_second"])
        for row in record.get("attention", ()):
            self._events.add(record["step"], {
                "attention/{}/{}".format(row["block"], name): value
                for name, value in row.items()
                if name != "block" and value is not None})

    def _record(self, kind, record, scalars):
        """Writes a line of metrics.jsonl, and `scalars` to TensorBoard."""
        self._records.write(json.dumps(
            dict(record, kind=kind), sort_keys=True) + "\n")
        self._records.flush()
        self._events.add(record["step"], {
            "{}/{}".format(kind, name): record[name]
            for name in scalars if record.get(name) is not None})

    def _end_live_line(self):
        if self._live_shown:
            self._live_shown = False
            self._write("\r\033[K")

    def _write(self, text):
        """Writes to the stream; a reader that is gone does not end the run."""
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream, self._live = None, False


class Bystander:
    """The report of a process that is not rank 0: nothing, nowhere."""

    def __getattr__(self, name):
        return lambda *_: None

    def recording(self, *_):
        """As `Reporter.recording`."""
        return contextlib.nullcontext()


class _Events:
    """TensorBoard events; a failure is a warning, and ends them alone."""

    def __init__(self, path, step):
        self._writer = None
        self._path = path
        self._do(lambda: self._open(step))

    def _open(self, step):
        self._writer = tf1.summary.FileWriter(self._path)
        self._writer.add_session_log(       # TensorBoard drops what follows
            tf1.SessionLog(status=tf1.SessionLog.START), step + 1)

    def add(self, step, scalars):
        """Writes values (tag -> value) of a step."""
        summary = tf1.Summary(value=[
            tf1.Summary.Value(tag=tag, simple_value=value)
            for tag, value in sorted(scalars.items())])
        self._do(lambda: self._writer.add_summary(summary, step))

    def close(self):
        """Writes what is left."""
        self._do(lambda: self._writer.close())

    def _do(self, action):
        if self._path is None:
            return
        try:
            action()
        except (OSError, RuntimeError, tf.errors.OpError) as error:
            logging.warning("No more TensorBoard events in %r: %s",
                            self._path, storage.gist(error))
            self._path = None


def _free_name(path):
    """`path` with a number before its ending, such as no file has."""
    stem, ending = os.path.splitext(path)
    numbers = itertools.count(1)
    names = ("{}.{}{}".format(stem, number, ending) for number in numbers)
    return next(name for name in names if not os.path.exists(name))
