"""What a run says: console, metrics.jsonl, TensorBoard events.

The only place of the package that writes to standard output. The epoch line
is that of the known system, which existing scripts parse, misspelling
included; no other line may hold "Loss", "Accuarcy" or "global_step/sec".
"""

import json
import os
import shutil
import sys
import time

import tensorflow as tf

from nonlocal_tf import storage

tf1 = tf.compat.v1

_LIVE_SECONDS = 0.2             # between updates of the live line
_LOG_SECONDS = 10.0             # between progress lines without a terminal


class Reporter:
    """Reports one run in the folder `train_url`.

    Args:
      train_url: holds metrics.jsonl and the folder `events`.
      stream: where lines go; standard output by default.
    """

    def __init__(self, train_url, stream=None):
        self.metrics_path = os.path.join(train_url, "metrics.jsonl")
        self.events_path = os.path.join(train_url, "events")
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._live_shown = False
        self._last_progress = float("-inf")
        self._events = None
        self._records = None

    def open(self, step, epoch):
        """Starts to record after `step` steps, in `epoch`.

        Records that an earlier run wrote beyond that point, because it went
        on after its last checkpoint, are dropped: they are made again.
        """
        kept = [record for record in _read_records(self.metrics_path)
                if record["epoch"] < epoch
                or record["kind"] == "step" and record["step"] <= step]
        storage.write_text(self.metrics_path, "".join(
            json.dumps(record) + "\n" for record in kept))
        self._records = open(self.metrics_path, "a", encoding="utf-8")
        self._events = tf1.summary.FileWriter(self.events_path)
        self._events.add_session_log(       # TensorBoard drops what follows
            tf1.SessionLog(status=tf1.SessionLog.START), step + 1)

    def close(self):
        """Ends the live line and closes the files."""
        self._end_live_line()
        if self._records:
            self._records.close()
            self._events.close()

    def line(self, text=""):
        """Prints one line."""
        self._end_live_line()
        self._stream.write(text + "\n")
        self._stream.flush()

    def progress(self, text):
        """Shows where the run is: a live line, or a line now and then."""
        now = time.time()
        pause = _LIVE_SECONDS if self._live else _LOG_SECONDS
        if now - self._last_progress < pause:
            return
        self._last_progress = now
        if not self._live:
            self.line(text)
            return
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r\033[K" + text[:width])
        self._stream.flush()
        self._live_shown = True

    def step(self, record, scalars):
        """Records a step; `scalars` (tag -> value) go to TensorBoard."""
        self._record(dict(record, kind="step"), scalars)

    def epoch(self, record, scalars):
        """Prints the known line of an epoch and records it.

        Args:
          record: has epoch, step, train_loss, train_accuracy (0 to 1) and
            epoch_seconds, and more that goes to metrics.jsonl.
          scalars: tag -> value, for TensorBoard.
        """
        line = "Epoch: {}\tLoss:{:.9f}\tAccuarcy: {:.2%}\t sec:{:.2f}"
        self.line(line.format(
            record["epoch"], record["train_loss"], record["train_accuracy"],
            record["epoch_seconds"]))
        self._record(dict(record, kind="epoch"), scalars)
        self._events.flush()

    def _record(self, record, scalars):
        self._records.write(json.dumps(record, sort_keys=True) + "\n")
        self._records.flush()
        self._events.add_summary(tf1.Summary(value=[
            tf1.Summary.Value(tag=tag, simple_value=value)
            for tag, value in sorted(scalars.items())]), record["step"])

    def _end_live_line(self):
        if self._live_shown:
            self._stream.write("\r\033[K")
            self._live_shown = False


def _read_records(path):
    """The records of a metrics.jsonl; a last line cut short is left out."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    records = []
    for line in lines:
        try:
            record = json.loads(line)
            record["epoch"], record["kind"], record["step"]
        except (ValueError, KeyError, TypeError):
            continue
        records.append(record)
    return records


def duration(seconds):
    """Seconds as "45 s", "12 min" or "3 h 05 min"."""
    if seconds < 100:
        return "{:.0f} s".format(seconds)
    minutes = int(round(seconds / 60))
    if minutes < 100:
        return "{} min".format(minutes)
    return "{} h {:02d} min".format(minutes // 60, minutes % 60)
