"""The training run: epochs, test, checkpoints, resume."""

import dataclasses
import importlib
import json
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
from nonlocal_tf.training.graph import TrainGraph
from nonlocal_tf.training.interrupt import Interrupt
from nonlocal_tf.training.report import Reporter, duration

tf1 = tf.compat.v1


class TrainResult(NamedTuple):
    """What `train` came to."""

    exit_code: int                      # 0, or 128 + the signal that ended it
    step: int                           # steps done in all
    test_accuracy: Optional[float]      # 0 to 1, after the last whole epoch
    checkpoint: str                     # prefix of the newest checkpoint


@dataclasses.dataclass
class Progress:
    """Where a run stands within its epoch; a checkpoint's JSON holds it."""

    epoch: int = 1                      # counted from 1
    steps: int = 0                      # done in this epoch
    loss_sum: float = 0.0               # of the steps' mean losses
    correct: int = 0                    # of the images of those steps
    seconds: float = 0.0                # in steps
    timed_images: int = 0               # without each process's first step
    timed_seconds: float = 0.0
    test_accuracy: Optional[float] = None       # of the epoch before


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
            config.dataset, config.data_folder(),
            [url for url in config.mirror.split(",") if url])
        platform = importlib.import_module("nonlocal_tf.platforms." + platform)
        try:
            with tf.Graph().as_default():
                run = _Run(config, data, platform, Reporter(
                    config.train_url, stream))
                return run.train()
        except OSError as error:
            raise UserError(
                "Cannot write to --train_url {!r}: {}. Free some space or "
                "name another folder; the files there are whole.".format(
                    config.train_url, error))


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
        self.folder = CheckpointFolder(
            os.path.join(config.train_url, "Model"))
        self.step = 0
        self.progress = Progress()
        self.saved_at = time.time()
        self.timed = False                      # after the first step

    def train(self):
        """Runs to the end, or to a signal; returns a `TrainResult`."""
        start = self._find_start()
        if start is not None and self._is_done():
            return self._nothing_to_do()
        self.graph = TrainGraph(self.config, self.total_steps, self.platform)
        with tf1.Session(config=self.platform.session_config()) as session:
            self.session = session
            if start is None:
                session.run(self.graph.initialize)
            else:
                self.folder.restore(session, self.graph.saver, start)
            self._introduce(start)
            try:
                self.report.open(self.step, self.progress.epoch)
                with Interrupt() as self.interrupt:
                    self._run_epochs()
            finally:
                self.report.close()
        return self._finish()

    def _find_start(self):
        """Step of the checkpoint to go on from; reads its progress."""
        steps = self.folder.steps()
        if not steps:
            return None
        prefix = self.folder.prefix(steps[-1])
        if not self.config.resume:
            raise UserError(
                "--resume=false needs a --train_url without checkpoints; {!r} "
                "is there. Name another folder, or move that one away.".format(
                    prefix))
        note = self.folder.note(steps[-1])
        check_settings(prefix, note["fixed"], self.fixed)
        self.step = note["step"]
        self.progress = Progress(**note["progress"])
        return steps[-1]

    def _is_done(self):
        return self.step >= self.last_step and not (
            self.progress.steps == self.epoch_steps)    # then its test is due

    def _nothing_to_do(self):
        self.report.line(
            "{} has done {} of {} steps: nothing is left to do. Raise --epoch "
            "or --max_steps to go on, or give another --train_url.".format(
                self.folder.prefix(self.step), self.step, self.last_step))
        return self._result(0)

    def _introduce(self, start):
        config, line = self.config, self.report.line
        storage.write_text(
            os.path.join(config.train_url, "config.json"),
            json.dumps(dataclasses.asdict(config), indent=1, sort_keys=True)
            + "\n")
        devices = [device.name for device in self.session.list_devices()
                   if device.device_type == "GPU"]
        line("ResNet-{} with non-local blocks after {}: {:,} parameters; {} "
             "pixels; TensorFlow {} on {}".format(
                 config.resnet_size, format_placement(config.placement()),
                 sum(int(np.prod(variable.shape.as_list())) for variable
                     in self.graph.network.trainable_variables),
                 config.image_size, tf.__version__,
                 "GPU" if devices else "CPU"))
        line("{}: {:,} training and {:,} test images in {}; epochs: {}, each {} "
             "steps of {} images".format(
                 config.dataset, len(self.data.train_labels),
                 len(self.data.test_labels), config.data_folder(),
                 config.epoch, self.epoch_steps, config.batch_size))
        if start is not None:
            line("Going on from {} (step {}, epoch {})".format(
                self.folder.prefix(start), self.step, self.progress.epoch))

    def _run_epochs(self):
        while self.step < self.last_step or (
                self.progress.steps == self.epoch_steps):
            self._train_epoch()
            if self.interrupt.signal is None and (
                    self.progress.steps == self.epoch_steps):
                tested = self._test()
                if tested is not None:
                    self._end_epoch(tested)
            elif self.interrupt.signal is None:
                self._report_epoch({"complete": False}, {})  # by --max_steps
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
            if time.time() - self.saved_at >= config.checkpoint_seconds:
                self._save()

    def _train_step(self, images, labels):
        began = time.time()
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
        seconds = time.time() - began
        self.step += 1
        progress.steps += 1
        progress.loss_sum += float(loss)
        progress.correct += int(correct)
        progress.seconds += seconds
        if self.timed:
            progress.timed_images += len(labels)
            progress.timed_seconds += seconds
        else:
            self.report.line("First step: {:.1f} s, TensorFlow's start "
                             "included".format(seconds))
            self.timed = True
        self._report_step(float(loss))

    def _report_step(self, loss):
        progress, rate = self.progress, self._images_per_second()
        left = (self.last_step - self.step) * self.config.batch_size
        self.report.progress("epoch {}/{}  step {}/{}  loss {:.4f}{}".format(
            progress.epoch, self.config.epoch, progress.steps,
            self.epoch_steps, loss, rate and (
                "  {:.1f} images/s  {} of training left".format(
                    rate, duration(left / rate))) or ""))
        if self.step % self.config.log_steps == 0:
            record = {"epoch": progress.epoch, "step": self.step,
                      "train_loss": loss}
            scalars = {"step/train_loss": loss}
            if rate:
                record["images_per_second"] = rate
                scalars["step/images_per_second"] = rate
            self.report.step(record, scalars)

    def _images_per_second(self):
        """Of this epoch's steps, each process's first left out; or None."""
        progress = self.progress
        if not progress.timed_seconds:
            return None
        return progress.timed_images / progress.timed_seconds

    def _test(self):
        """Every test image once, in inference mode; None after a signal.

        Returns:
          Mean loss, number right, seconds.
        """
        began = time.time()
        loss_sum, correct, done = 0.0, 0, 0
        graph, size = self.graph, len(self.data.test_labels)
        for images, labels, valid in batches.test_batches(
                self.data.test_images, self.data.test_labels,
                self.config.batch_size):
            if self.interrupt.signal is not None:
                return None
            losses, predictions = self.session.run(
                [graph.test_losses, graph.test_predictions],
                {graph.images: images, graph.labels: labels})
            loss_sum += float(np.sum(losses[:valid], dtype=np.float64))
            correct += int(np.sum(predictions[:valid] == labels[:valid]))
            done += valid
            self.report.progress("epoch {}/{}  test image {}/{}".format(
                self.progress.epoch, self.config.epoch, done, size))
        return loss_sum / size, correct, time.time() - began

    def _end_epoch(self, tested):
        """Reports an epoch with its test and moves on to the next."""
        test_loss, correct, seconds = tested
        size = len(self.data.test_labels)
        accuracy = correct / size
        self._report_epoch(
            {"complete": True, "test_loss": test_loss, "test_images": size,
             "test_accuracy": accuracy, "test_seconds": seconds},
            {"epoch/test_loss": test_loss, "epoch/test_accuracy": accuracy})
        rate = self._images_per_second()
        self.report.line(
            "  test accuracy {:.2%} ({} of {} unseen images){}".format(
                accuracy, correct, size, rate and (
                    "; trained at {:.1f} images/second".format(rate)) or ""))
        self.progress = Progress(
            epoch=self.progress.epoch + 1, test_accuracy=accuracy)

    def _report_epoch(self, record, scalars):
        progress = self.progress
        images = progress.steps * self.config.batch_size
        record = dict(
            record, epoch=progress.epoch, step=self.step, train_images=images,
            train_loss=progress.loss_sum / progress.steps,
            train_accuracy=progress.correct / images,
            epoch_seconds=progress.seconds,
            images_per_second=self._images_per_second())
        scalars = dict(scalars)
        for name in ("train_loss", "train_accuracy", "images_per_second"):
            if record[name] is not None:
                scalars["epoch/" + name] = record[name]
        self.report.epoch(record, scalars)

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
                    self.step, self.folder.path, _first_line(error)))
        self.saved_at = time.time()

    def _finish(self):
        number, line = self.interrupt.signal, self.report.line
        url = self.config.train_url
        if number is None and self.step == self.total_steps:
            line("Finished epoch {}, step {}; test accuracy {:.2%}".format(
                self.config.epoch, self.step, self.progress.test_accuracy))
        else:
            line("Stopped {} after step {} of {}; the same command{} goes "
                 "on. Tests follow whole epochs only.".format(
                     "by --max_steps" if number is None else "by a signal",
                     self.step, self.total_steps,
                     " with more --max_steps" if number is None else ""))
        line("  checkpoint   {}".format(self.folder.prefix(self.step)))
        line("  metrics      {}".format(self.report.metrics_path))
        line("  settings     {}".format(os.path.join(url, "config.json")))
        line("  TensorBoard  tensorboard --logdir {}".format(
            self.report.events_path))
        return self._result(0 if number is None else 128 + number)

    def _result(self, exit_code):
        return TrainResult(exit_code, self.step, self.progress.test_accuracy,
                           self.folder.prefix(self.step))


def _first_line(error):
    """The gist of an error of TensorFlow or of the system."""
    text = str(getattr(error, "message", None) or error)
    return text.strip().split("\n")[0][:200]
