"""A command in several processes of this machine, and their parent.

The parent needs no TensorFlow. It tells each process its place by TF_CONFIG
and its GPU by CUDA_VISIBLE_DEVICES, forwards SIGTERM and Ctrl-C to all, and
ends as they ended.
"""

import collections
import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from multiprocessing import connection

from nonlocal_tf.command import (
    INTERRUPTED,
    TERMINATED,
    complain,
    handled_by,
    say,
)
from nonlocal_tf.errors import bad
from nonlocal_tf.platforms import cluster

GRACE = 120.0           # seconds for the others, after one of them failed
_TICK = 1.0


def run(count, program, target, arguments, *more):
    """Calls target(arguments, *more) in `count` processes.

    Args:
      count: as many GPUs there must be, if there is one.
      program: for what is said.
      target: a function of a module; returns an exit code.
      arguments: of the command line; of --num_gpus the last, 1, counts.
      more: that can be pickled.
    Returns:
      The exit code of the first process that failed; 128 + N where signal N
      ended it; 0 if all went well.
    Raises:
      UserError: there are not as many GPUs, or the environment is wrong.
    """
    gpus = cluster.gpus(os.environ)
    if gpus and len(gpus) < count:
        raise bad("num_gpus", "at most the number of GPUs here, {}".format(
            len(gpus)), count)
    if not gpus:
        say("No GPU is here: {} processes on the CPU.".format(count))
    places = cluster.several(cluster.settle(os.environ), count)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="nonlocal_tf-") as said:
        children = [context.Process(target=_child, args=(
            dict(place.environment(), CUDA_VISIBLE_DEVICES=(
                gpus[index] if gpus else "-1")),
            index, count, said, os.getpid(), target,
            (list(arguments) + ["--num_gpus=1"],) + more))
            for index, place in enumerate(places)]
        came = []

        def forward(number, _):
            came.append(number)
            _tell(children, number)

        with handled_by(forward, signal.SIGTERM, signal.SIGINT):
            for child in children:
                # Python's own start would print what a Ctrl-C interrupts.
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
                child.start()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
                for number in came:
                    _tell([child], number)
            return _wait(children, places, program)


def _tell(children, number):
    for child in children:
        if child.pid and child.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)


def _wait(children, places, program):
    """Until all have ended.

    After one has failed, those that wait for it are asked to leave, and what
    still runs long after is killed: later where it was a signal, after which
    all leave and the first may have results to push.
    """
    code, failed = 0, None
    due = [(0.25, signal.SIGTERM), (1.0, signal.SIGKILL)]
    while True:
        left = [child for child in children if child.exitcode is None]
        for child, place in zip(children, places):
            ended = _code(child.exitcode)
            if ended and not code:
                code, failed = ended, time.monotonic()
                if child.exitcode < 0 and -child.exitcode not in (
                        signal.SIGTERM, signal.SIGINT):
                    complain("{}: error: Rank {} was ended by {}. The same "
                             "command goes on.".format(
                                 program, place.rank, _name(-child.exitcode)))
        if not left:
            return code
        connection.wait([child.sentinel for child in left], _TICK)
        grace = 5 * GRACE if code in (INTERRUPTED, TERMINATED) else GRACE
        if failed and due and time.monotonic() > failed + due[0][0] * grace:
            number = due.pop(0)[1]
            if number == signal.SIGKILL:
                complain("{}: error: What still ran {:g} s after that is "
                         "killed.".format(program, grace))
                if grace > GRACE:       # what it pushed may not be whole
                    code = 128 + signal.SIGKILL
            _tell(left, number)


def _code(exitcode):
    """As a shell's; 0 of what still runs."""
    return 128 - exitcode if (exitcode or 0) < 0 else exitcode or 0


def _name(number):
    if number == signal.SIGKILL:
        return "SIGKILL (out of memory, or from outside)"
    return signal.Signals(number).name


def _child(environment, index, count, said, parent, target, arguments):
    """What a process does; in a session of its own, as a terminal's Ctrl-C
    comes from the parent. The first alone has the standard output."""
    os.setsid()
    os.environ.update(environment)
    if hasattr(os, "sched_getaffinity"):
        os.sched_setaffinity(0, _share(index, count))
    if index:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = _Once(sys.stderr, said)
    threading.Thread(target=_look_after, args=(parent,), daemon=True).start()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        sys.exit(target(*arguments))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _share(index, count):
    """The cores of a process; all, where there are fewer than processes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        return cores
    return cores[index * len(cores) // count:(index + 1) * len(cores) // count]


def _look_after(parent):
    """As SIGTERM, where the parent is gone: a checkpoint is saved."""
    while os.getppid() == parent:
        time.sleep(_TICK)
    complain("The process that started this one is gone.")
    os.kill(os.getpid(), signal.SIGTERM)


class _Once:
    """Standard error on which a line that all write stands once.

    What one process writes again stands again.

    Args:
      file: where it goes.
      folder: with a file for each line so far, shared by the processes.
    """

    def __init__(self, file, folder):
        self._file, self._folder = file, folder
        self._times = collections.Counter()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, text):
        if text.endswith("\n") and text.strip():
            self._times[text] += 1
            name = hashlib.sha1("{} {}".format(
                self._times[text], text).encode("utf-8", "replace")).hexdigest()
            try:
                os.close(os.open(os.path.join(self._folder, name),
                                 os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return len(text)
            except OSError:             # the parent, and the folder, are gone
                pass
        return self._file.write(text)
