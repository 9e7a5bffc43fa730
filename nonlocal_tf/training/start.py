"""Where a run begins: at step 0 or a checkpoint, each process at the same."""

import dataclasses
import os
import uuid
from typing import NamedTuple, Optional

from nonlocal_tf.errors import UserError
from nonlocal_tf.training import initial, messages
from nonlocal_tf.training.progress import Progress


class Start(NamedTuple):
    """A position, the note of its checkpoint, or why there is none."""

    step: int
    progress: Progress
    note: Optional[dict] = None
    failure: Optional[UserError] = None

    def run(self):
        """The run's name, which outlives its processes; a new one's is new."""
        return (self.note or {}).get("run") or uuid.uuid4().hex

    def settled(self, config):
        """The config; what goes on has the --init of its own first step."""
        return dataclasses.replace(config, init=self.note["config"].get(
            "init", "")) if self.note else config


def _ending(path):
    """What tells a folder from another, in whatever cache it lies."""
    return os.path.normpath(path).split(os.sep)[-2:]


def find(config, folder, fixed, platform, report, fetch):
    """The `Start` at the newest checkpoint.

    Args:
      config: a `TrainConfig`.
      folder: a `CheckpointFolder`.
      fixed: see `CheckpointFolder.newest`.
      platform: a `Platform`; rank 0 alone looks.
      report: a `Reporter`.
      fetch: brings what --init names, if it is read.
    Raises:
      UserError: as `CheckpointFolder.newest`, or of --init; of several
        processes it is returned, since the others wait for this one.
    """
    note = None
    if platform.rank == 0:
        try:
            report.check_settings_file()
            note = folder.newest(config.resume, fixed)
            if config.init and not note:        # before the graph is built
                fetch()
                initial.find(config.init)
        except UserError as error:
            if platform.size == 1:
                raise
            return Start(0, Progress(), failure=error)
    if not note:
        return Start(0, Progress())
    if config.init and _ending(config.init) != _ending(
            note["config"].get("init", "")):
        report.line(messages.init_is_not_read(config))
    return Start(note["step"], Progress(**note["progress"]), note)


def begin(start, session, graph, platform, folder, data, first):
    """Gives every variable its value; returns step and `Progress`.

    Of several processes each takes both from rank 0, where alone `first` is
    called: it gives some variables other first values.

    Args:
      data: fingerprint of the training data, 8 hex digits.
    Raises:
      UserError: the checkpoint cannot be read, rank 0 cannot start, or it has
        other data.
    """
    if graph.parts > 1:
        session.run(graph.prepare)
    failure = start.failure
    try:
        if start.note:
            folder.restore(session, graph.saver, start.step)
        else:
            session.run(graph.initialize)
            if platform.rank == 0:
                first()
    except Exception as error:          # the others wait for this process
        if platform.size == 1:
            raise
        failure = failure or error
    if platform.size == 1:
        return start.step, start.progress
    mine = int(data, 16) >> 1           # an int32
    place = session.run(graph.agreed_start, {graph.start: [
        -1 if failure else start.step, start.progress.epoch,
        start.progress.steps, mine]})
    if place[0] < 0:
        raise failure or UserError(
            "Rank 0 cannot start; see its log, and start all again.")
    if place[3] != mine:
        raise UserError(
            "Rank {} must have the training data of rank 0; they differ, or "
            "their order does. Copy the same files, or the same list, to all "
            "hosts.".format(platform.rank))
    session.run([graph.take_over, graph.set_step], {graph.start: place})
    if platform.rank == 0:
        return start.step, start.progress
    step, epoch, steps, _ = map(int, place)
    return step, Progress(epoch=epoch, steps=steps)
