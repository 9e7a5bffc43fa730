"""The training run: epochs, test, checkpoints, resume."""

import contextlib
import importlib
import math
import os
import signal
import time
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from nonlocal_tf import health, storage, tasks
from nonlocal_tf.architecture import block_names
from nonlocal_tf.data import batches
from nonlocal_tf.errors import UserError
from nonlocal_tf.training import initial, messages, plan, start
from nonlocal_tf.training.checkpoint import CheckpointFolder, describe
from nonlocal_tf.training.evaluate import evaluate
from nonlocal_tf.training.graph import TrainGraph
from nonlocal_tf.training.interrupt import Interrupt
from nonlocal_tf.training.progress import Progress
from nonlocal_tf.training.report import Bystander, Reporter

tf1 = tf.compat.v1


class TrainResult(NamedTuple):
    """What `train` came to."""

    exit_code: int                      # 0, or 128 + the signal that ended it
    step: int                           # steps done in all
    test_accuracy: Optional[float]      # 0 to 1, after the last whole epoch
    checkpoint: str                     # prefix of the newest checkpoint
    rank: int                           # of this process: 0 alone has written


def train(config, stream=None, saved=None, output=None, locked=False,
          fetch=None):
    """Trains the network, tests it after each epoch, and keeps checkpoints.

    Of several processes, rank 0 alone writes.

    Args:
      config: a `TrainConfig` with local folders.
      stream: where the report goes; standard output by default.
      saved: called without arguments after each checkpoint.
      output: called with a text that may be about to be written; returns
        all that the process has written so far, C++'s messages too.
      locked: whether the caller keeps other runs out of the folder.
      fetch: called without arguments before --init is read, if it is.
    Returns:
      A `TrainResult`.
    Raises:
      UserError: something that the user can mend; earlier files are whole.
    """
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    config.check_local()
    platform = importlib.import_module(
        "nonlocal_tf.platforms." + config.platform).Platform(config)
    with contextlib.ExitStack() as stack:
        if platform.rank == 0:
            storage.make_folder(config.train_url, "--train_url")
            if not locked:
                stack.enter_context(storage.only_run_in(config.train_url))
        data = tasks.of(config).load(config)
        config = tasks.of(config).settled(config, data)
        report = Bystander() if platform.rank else Reporter(
            config.train_url, stream, platform.rates_steps)
        run = None
        try:
            stack.enter_context(tf.Graph().as_default())
            run = _Run(config, data, platform, report,
                       saved or (lambda: None), output or (lambda _: ""))
            return run.train(fetch or (lambda: None))
        except (OSError, MemoryError, tf.errors.OpError) as error:
            raise messages.refused(error, run.config if run else config)


class _Run:
    """One training run in the default graph."""

    def __init__(self, config, data, platform, report, saved, output):
        self.config = config
        self.task, self.data = tasks.of(config), data
        self.platform = platform
        self.report = report
        self.saved, self.output = saved, output
        self.epoch_steps = batches.steps_per_epoch(
            len(data.train_labels), config.batch_size, platform.size)
        self.total_steps = config.epoch * self.epoch_steps
        self.last_step = min(
            self.total_steps, config.max_steps or self.total_steps)
        self.fixed = dict(config.fixed_settings(), ranks=platform.size,
                          data=self.task.fingerprint(data))
        self.folder = CheckpointFolder(
            os.path.join(config.train_url, "Model"), platform.rank == 0)
        self.step, self.progress, self.run = 0, Progress(), ""
        self.saved_at = time.monotonic()
        self.first_step = True                  # of this process
        self.attention = []                     # after the newest test
        self.agreed_to_stop = self.agreed_to_save = False   # by all processes

    def train(self, fetch):
        """Runs to the end, or to a signal; returns a `TrainResult`."""
        begins = start.find(self.config, self.folder, self.fixed,
                            self.platform, self.report, fetch)
        self.step, self.progress = begins.step, begins.progress
        self.run = begins.run()
        if self.platform.size == 1 and self._is_done():
            return self._nothing_to_do()
        self.config, memory = plan.fit(
            begins.settled(self.config), self.platform, begins.note)
        self.graph = TrainGraph(self.config, self.total_steps, self.platform)
        with contextlib.ExitStack() as until_the_end:
            with self.platform.session(self.saved) as session:
                self.session = session
                self.step, self.progress = start.begin(
                    begins, session, self.graph, self.platform, self.folder,
                    self.fixed["data"], lambda: initial.load(
                        session, self.graph.network, self.config,
                        self.data.class_names, self.report))
                if self._is_done():
                    return self._nothing_to_do()
                self._introduce(begins.note, memory)
                with self.report.recording(self.step, self.progress.epoch):
                    # A signal may reach the others of several earlier, and
                    # this process when it is about to leave.
                    self.interrupt = until_the_end.enter_context(Interrupt())
                    self._run_epochs()
            return self._finish()

    def _is_done(self):
        return self.step >= self.last_step and (
            self.progress.steps < self.epoch_steps)     # else its test is due

    def _nothing_to_do(self):
        self.report.line(messages.nothing_to_do(
            self.folder.prefix(self.step), self.step, self.last_step,
            self.progress.test_accuracy))
        return self._result(0)

    def _introduce(self, found, memory):
        config = self.config
        self.report.settings(config.as_dict())
        self.report.lines(messages.introduction(
            config, self.graph.network.parameters(), self.platform, self.data,
            self.epoch_steps))
        if found:
            self.report.line(messages.going_on(
                self.folder.prefix(self.step), self.progress.epoch,
                config.as_dict(), found["config"]))
        self.report.lines(plan.foretell(
            config, self.platform, memory, self.last_step - self.step,
            self.epoch_steps, bool(found)))

    def _stops(self):
        """Whether a signal came; of several processes all stop together."""
        return (self.agreed_to_stop if self.platform.size > 1
                else self.interrupt.signal is not None)

    def _run_epochs(self):
        while not self._is_done():
            self._train_epoch()
            if self.progress.steps == self.epoch_steps:
                self._test()
            elif self.step >= self.last_step:           # by --max_steps
                self._report_epoch(complete=False)
            self._save()
            if self._stops():
                return

    def _test(self):
        """Tests, and ends the epoch; a test that cannot be loses nothing."""
        try:
            tested = evaluate(
                self.session, self.graph, self.config, self.data,
                self.platform, self._go_on_testing)
        except UserError:
            if self.platform.size == 1:         # a save is of all together
                self._save()
            raise
        if tested:
            self._end_epoch(tested)
        self.agreed_to_stop = not tested

    def _train_epoch(self):
        """Steps to the end of the epoch, to the last step or to a signal."""
        began = time.monotonic()
        with contextlib.closing(self.task.train_batches(
                self.config, self.data, self.progress.epoch,
                self.progress.steps, self.platform.rank,
                self.platform.size)) as made:
            for images, labels in made:
                if self.step >= self.last_step or self._stops():
                    return
                self._train_step(images, labels, time.monotonic() - began)
                # After the last a save follows that knows of its report.
                if self.agreed_to_save and self.step < self.last_step:
                    self._save()
                began = time.monotonic()

    def _train_step(self, images, labels, waited):
        began = time.monotonic()
        graph, progress = self.graph, self.progress
        *earlier, last = graph.feeds(images, labels)
        for feed in earlier:
            self.session.run(graph.accumulate, feed)
        last[graph.wishes] = [      # to save goes by the clock of rank 0
            self.interrupt.signal is not None, self.platform.rank == 0 and
            time.monotonic() > self.saved_at + self.config.checkpoint_seconds]
        _, totals = self.session.run([graph.train_op, graph.totals], last)
        loss, correct, stopping, saving = map(float, totals)
        if not math.isfinite(loss):
            raise messages.bad_loss(
                loss, self.step + 1, progress.epoch, self.config,
                self.folder.path)
        self.agreed_to_stop, self.agreed_to_save = stopping > 0, saving > 0
        seconds = time.monotonic() - began
        self.step += 1
        progress.add(loss, int(correct), len(labels) * self.platform.size,
                     seconds, timed=not self.first_step, waited=waited)
        if self.first_step:
            self.first_step = False
            self.report.lines([messages.first_step(
                seconds, self.platform.peak_memory())]
                + self.platform.verdict(self.output))
        self._report_step(loss)

    def _report_step(self, loss):
        self.report.progress(messages.step(
            self.progress, self.config, self.epoch_steps,
            self.last_step - self.step, self.platform.size, loss))
        if self.step % self.config.log_steps == 0:
            self.report.step({
                "epoch": self.progress.epoch, "step": self.step,
                "train_loss": loss,
                "images_per_second": self.progress.images_per_second()})

    def _go_on_testing(self, done):
        self.report.progress("epoch {}/{}  tested {} of {} {}".format(
            self.progress.epoch, self.config.epoch, done,
            len(self.data.test_labels), self.task.UNIT))
        return self.interrupt.signal is None

    def _end_epoch(self, tested):
        """Reports an epoch with its test and moves on to the next."""
        accuracy = tested.accuracy()
        if self.platform.rank == 0:
            self.attention = health.summary(
                block_names(self.config.placement()), tested.attention)
        self._report_epoch(
            complete=True, attention=self.attention, test_loss=tested.loss,
            test_images=tested.images, test_accuracy=accuracy,
            test_seconds=tested.seconds)
        self.report.lines(messages.tested(
            tested, self.progress, self.config, self.attention))
        self.progress = Progress(
            epoch=self.progress.epoch + 1, test_accuracy=accuracy)

    def _report_epoch(self, **more):
        """Of the whole epoch or a part; only rank 0 knows its sums."""
        if self.platform.rank == 0:
            self.report.epoch(dict(
                self.progress.record(), step=self.step, **more))

    def _save(self):
        """Writes a checkpoint of this very step; all processes come here.

        Rank 0 alone writes, with statistics over all.
        """
        self.session.run(self.graph.average_statistics)
        if self.platform.rank:
            return
        if not np.isfinite(self.session.run(self.graph.weights_norm)):
            raise messages.bad_weights(
                self.step, self.config, self.folder.path)
        self.folder.save(self.session, self.graph.saver, self.step, describe(
            self.config, self.step, self.fixed, self.progress,
            run=self.run, device=self.platform.describe(),
            class_names=self.data.class_names or None))
        self.saved_at = time.monotonic()
        self.saved()

    def _finish(self):
        number = self.interrupt.signal
        if self.agreed_to_stop and number is None:      # another process's
            number = signal.SIGTERM
        self.report.lines(messages.ending(
            self.step, self.total_steps, self.progress, self.config,
            not self._is_done(), self.attention, self.data))
        self.report.places(self.folder.prefix(self.step))
        return self._result(0 if number is None else 128 + number)

    def _result(self, exit_code):
        return TrainResult(exit_code, self.step, self.progress.test_accuracy,
                           self.folder.prefix(self.step), self.platform.rank)
