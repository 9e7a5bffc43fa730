"""The training run: epochs, test, checkpoints, resume."""

import dataclasses
import importlib
import math
import os
import time
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.architecture import format_placement
from nonlocal_tf.data import batches, datasets
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.checkpoint import CheckpointFolder, check_settings
from nonlocal_tf.training.evaluate import evaluate
from nonlocal_tf.training.graph import TrainGraph
from nonlocal_tf.training.interrupt import Interrupt
from nonlocal_tf.training.progress import Progress
from nonlocal_tf.training.report import Reporter, duration

tf1 = tf.compat.v1


class TrainResult(NamedTuple):
    """What `train` came to."""

    exit_code: int                      # 0, or 128 + the signal that ended it
    step: int                           # steps done in all
    test_accuracy: Optional[float]      # 0 to 1, after the last whole epoch
    checkpoint: str                     # prefix of the newest checkpoint


def train(config, platform="gpu", stream=None):
    """Trains the network, tests it after each epoch, and keeps checkpoints.

    Args:
      config: a `TrainConfig`.
      platform: name of a module in `nonlocal_tf.platforms`.
      stream: where the report goes; standard output by default.
    Returns:
      A `TrainResult`.
    Raises:
      UserError: something that the user can mend; earlier files are whole.
    """
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    storage.make_folder(config.train_url, "--train_url")
    with storage.only_run_in(config.train_url):
        data = datasets.load(
            config.dataset, config.data_folder(), config.mirrors())
        platform = importlib.import_module("nonlocal_tf.platforms." + platform)
        report = Reporter(config.train_url, stream)
        try:
            with tf.Graph().as_default():
                return _Run(config, data, platform, report).train()
        except (OSError, MemoryError, tf.errors.OpError) as error:
            raise _as_user_error(error, config)


def _as_user_error(error, config):
    """One line for what the system or TensorFlow refused."""
    if isinstance(error, OSError):
        return UserError(
            "Cannot write to --train_url {!r}: {}. Free some space or name "
            "another folder; the files there are whole.".format(
                config.train_url, error))
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return UserError(
            "A step must fit into memory; {} images of {} pixels do not. "
            "Lower --batchsize or --image_size.".format(
                config.batch_size, config.image_size))
    return UserError(
        "TensorFlow stopped with {}: {} Give the same command again to go on "
        "from the newest checkpoint.".format(
            type(error).__name__, storage.gist(error)))


class _Run:
    """One training run in the default graph."""

    def __init__(self, config, data, platform, report):
        self.config = config
        self.data = data
        self.platform = platform
        self.report = report
        self.epoch_steps = batches.steps_per_epoch(
            len(data.train_labels), config.batch_size)
        self.total_steps = config.epoch * self.epoch_steps
        self.last_step = min(
            self.total_steps, config.max_steps or self.total_steps)
        self.fixed = dict(
            config.fixed_settings(), data=datasets.fingerprint(data))
        report.check_settings_file()
        self.folder = CheckpointFolder(
            os.path.join(config.train_url, "Model"))
        self.step = 0
        self.progress = Progress()
        self.saved_at = time.monotonic()
        self.first_step = True                  # of this process

    def train(self):
        """Runs to the end, or to a signal; returns a `TrainResult`."""
        found = self._find_checkpoint()
        if found and self._is_done():
            return self._nothing_to_do()
        self.graph = TrainGraph(self.config, self.total_steps, self.platform)
        with tf1.Session(config=self.platform.session_config()) as session:
            self.session = session
            if found:
                self.folder.restore(session, self.graph.saver, self.step)
            else:
                session.run(self.graph.initialize)
            self._introduce()
            if found:
                self._say_what_goes_on(found)
            with self.report.recording(self.step, self.progress.epoch):
                with Interrupt() as self.interrupt:
                    self._run_epochs()
        return self._finish()

    def _find_checkpoint(self):
        """Takes step and progress from the newest one; returns its note."""
        steps = self.folder.steps()
        if not steps:
            return None
        prefix = self.folder.prefix(steps[-1])
        if not self.config.resume:
            raise UserError(
                "--resume=false needs a --train_url without checkpoints; {!r} "
                "is there. Name another folder, or move {!r} away.".format(
                    prefix, self.config.train_url))
        note = self.folder.note(steps[-1])
        check_settings(prefix, note["fixed"], self.fixed)
        self.step = note["step"]
        self.progress = Progress(**note["progress"])
        return note

    def _is_done(self):
        return self.step >= self.last_step and (
            self.progress.steps < self.epoch_steps)     # else its test is due

    def _nothing_to_do(self):
        accuracy = self.progress.test_accuracy
        self.report.line(
            "{} has done {} steps, {} were asked for{}: nothing is left to "
            "do. Raise --epoch or --max_steps, or give another --train_url."
            .format(self.folder.prefix(self.step), self.step, self.last_step,
                    "" if accuracy is None else
                    ", test accuracy {:.2%}".format(accuracy)))
        return self._result(0)

    def _introduce(self):
        config, line = self.config, self.report.line
        self.report.settings(dataclasses.asdict(config))
        on_gpu = any(device.device_type == "GPU"
                     for device in self.session.list_devices())
        line("ResNet-{} with non-local blocks after {}: {:,} parameters; {} "
             "pixels; TensorFlow {} on {}".format(
                 config.resnet_size, format_placement(config.placement()),
                 self.graph.network.parameters(), config.image_size,
                 tf.__version__, "GPU" if on_gpu else "CPU" + (
                     ", although an NVIDIA device is there: pip install "
                     "'tensorflow[and-cuda]'"
                     if os.path.exists("/dev/nvidia0") else "")))
        line("{}: {:,} training and {:,} test images in {}; epochs: {}, each "
             "{} steps of {} images".format(
                 config.dataset, len(self.data.train_labels),
                 len(self.data.test_labels), config.data_folder(),
                 config.epoch, self.epoch_steps, config.batch_size))

    def _say_what_goes_on(self, note):
        changed = ["{} {} (was {})".format(name, value, note["config"][name])
                   for name, value in sorted(
                       dataclasses.asdict(self.config).items())
                   if name in ("epoch", "learning_rate", "lr_schedule")
                   and note["config"].get(name, value) != value]
        self.report.line("Going on from {}, epoch {}{}".format(
            self.folder.prefix(self.step), self.progress.epoch,
            "; changed: " + ", ".join(changed) if changed else ""))

    def _run_epochs(self):
        while not self._is_done():
            self._train_epoch()
            if self.progress.steps == self.epoch_steps:
                tested = evaluate(
                    self.session, self.graph, self.data,
                    self.config.batch_size, self._go_on_testing)
                if tested:
                    self._end_epoch(tested)
            elif self.step >= self.last_step:           # by --max_steps
                self.report.epoch(dict(
                    self.progress.record(), step=self.step, complete=False))
            self._save()
            if self.interrupt.signal is not None:
                return

    def _train_epoch(self):
        """Steps to the end of the epoch, to the last step or to a signal."""
        config, progress = self.config, self.progress
        for images, labels in batches.train_batches(
                self.data.train_images, self.data.train_labels,
                config.batch_size, config.seed, progress.epoch,
                progress.steps):
            if self.step >= self.last_step or self.interrupt.signal:
                return
            self._train_step(images, labels)
            # After the last step one follows that knows of its report.
            unsaved = time.monotonic() - self.saved_at
            if self.step < self.last_step and (
                    unsaved >= config.checkpoint_seconds):
                self._save()

    def _train_step(self, images, labels):
        began = time.monotonic()
        graph, progress = self.graph, self.progress
        _, loss, correct = self.session.run(
            [graph.train_op, graph.loss, graph.correct],
            {graph.images: images, graph.labels: labels})
        if not math.isfinite(loss):
            raise UserError(
                "The loss must be finite; it is {} at step {} of epoch {}. "
                "Lower --learning_rate (now {}) and give another --train_url, "
                "or go on from a checkpoint in {}.".format(
                    loss, self.step + 1, progress.epoch,
                    self.config.learning_rate, self.folder.path))
        seconds = time.monotonic() - began
        self.step += 1
        progress.add(float(loss), int(correct), len(labels), seconds,
                     timed=not self.first_step)
        if self.first_step:
            self.report.line("First step: {:.1f} s, TensorFlow's start "
                             "included".format(seconds))
            self.first_step = False
        self._report_step(float(loss))

    def _report_step(self, loss):
        progress, rate = self.progress, self.progress.images_per_second()
        left = (self.last_step - self.step) * self.config.batch_size
        self.report.progress("epoch {}/{}  step {}/{}  loss {:.4f}{}".format(
            progress.epoch, self.config.epoch, progress.steps,
            self.epoch_steps, loss, rate and (
                "  {} left  {:.1f} images/s".format(
                    duration(left / rate), rate)) or ""))
        if self.step % self.config.log_steps == 0:
            self.report.step({
                "epoch": progress.epoch, "step": self.step,
                "train_loss": loss, "images_per_second": rate})

    def _go_on_testing(self, done):
        self.report.progress("epoch {}/{}  test image {}/{}".format(
            self.progress.epoch, self.config.epoch, done,
            len(self.data.test_labels)))
        return self.interrupt.signal is None

    def _end_epoch(self, tested):
        """Reports an epoch with its test and moves on to the next."""
        accuracy = tested.accuracy()
        self.report.epoch(dict(
            self.progress.record(), step=self.step, complete=True,
            test_loss=tested.loss, test_images=tested.images,
            test_accuracy=accuracy, test_seconds=tested.seconds))
        rate = self.progress.images_per_second()
        self.report.line(
            "  test accuracy {:.2%} ({} of {} unseen images){}".format(
                accuracy, tested.correct, tested.images, rate and (
                    "; trained at {:.1f} images/second".format(rate)) or ""))
        self.progress = Progress(
            epoch=self.progress.epoch + 1, test_accuracy=accuracy)

    def _save(self):
        """Writes a checkpoint of this very step."""
        note = {"step": self.step, "fixed": self.fixed,
                "progress": dataclasses.asdict(self.progress),
                "config": dataclasses.asdict(self.config),
                "tensorflow": tf.__version__}
        if not np.isfinite(self.session.run(self.graph.weights_norm)):
            raise UserError(
                "The weights must be finite; they are not after step {}. Lower "
                "--learning_rate (now {}) and give another --train_url; the "
                "checkpoints in {} are of before.".format(
                    self.step, self.config.learning_rate, self.folder.path))
        try:
            self.folder.save(self.session, self.graph.saver, self.step, note)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                "The checkpoint of step {} could not be written to {!r} ({}). "
                "Free some space and give the same command again; the earlier "
                "checkpoints are whole.".format(
                    self.step, self.folder.path, storage.gist(error)))
        self.saved_at = time.monotonic()

    def _finish(self):
        number, line = self.interrupt.signal, self.report.line
        if self._is_done() and self.step == self.total_steps:
            line("Finished epoch {}, step {}; test accuracy {:.2%}".format(
                self.config.epoch, self.step, self.progress.test_accuracy))
        else:
            line("Stopped {} after step {} of {}; the same command{} goes "
                 "on.{}".format(
                     "by --max_steps" if self._is_done() else "by a signal",
                     self.step, self.total_steps,
                     " with more --max_steps" if self._is_done() else "",
                     " Tests follow whole epochs only."
                     if self.progress.steps else ""))
        self.report.places(self.folder.prefix(self.step))
        return self._result(0 if number is None else 128 + number)

    def _result(self, exit_code):
        return TrainResult(exit_code, self.step, self.progress.test_accuracy,
                           self.folder.prefix(self.step))
