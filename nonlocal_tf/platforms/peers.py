"""Processes that work together, on TensorFlow's own servers and collectives.

Each has a server (gRPC), and a session of its own on it; sums are
`CollectiveReduce`, over gRPC or, between GPUs, NCCL. One that ends or hangs
leaves the others in such a sum: TensorFlow 1.15 waits for ever, later ones
do where no connection is closed. So each asks each other's server, over a
session beside the training's, who it is (`Watch`).
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid

import numpy as np
import tensorflow as tf

from nonlocal_tf.command import (
    USER_ERROR,
    complain,
    end_at_once,
    running,
    say,
)
from nonlocal_tf.errors import UserError
from nonlocal_tf.layers import variable
from nonlocal_tf.platforms import cluster
from nonlocal_tf.storage import gist

tf1 = tf.compat.v1

START_SECONDS = 1800            # for all to be there: some copy data first
SILENT_SECONDS = 30             # without an answer
CLOSED_SECONDS = 3              # of them, before its port is looked at
_LEAVING_SECONDS = 10           # for what waits in TensorFlow to come out
_LAST_ANSWER_SECONDS = 0.5      # for a sum's last message to be on its way
_COMING_SECONDS = 30            # for others to come, where this one must go
_TELLING_SECONDS = 5            # for them to ask it, and so to see it go
_SAYING_SECONDS = 10            # before a line tells for whom is waited
_BUCKET_BYTES = 25 * 2 ** 20    # of gradients in a sum
_GROUP = 1                      # all processes, each with one device
# Of sums that may run at once TensorFlow begins that of the larger key, over
# NCCL: keys fall, so that a sum never waits for one that waits for it.
_FIRST_KEY = 2 ** 30
_WHAT_NEXT = ("See what it said; the same command, for all of them, goes on "
              "from what was kept.")
# What a sum ends in where another process is gone; the last, where one was
# started anew in its place.
_GONE = (tf.errors.UnavailableError, tf.errors.CancelledError,
         tf.errors.AbortedError, tf.errors.InternalError,
         tf.errors.UnknownError, tf.errors.DeadlineExceededError,
         tf.errors.FailedPreconditionError)


class Peers:
    """This process among those of its cluster.

    Args:
      found: a `cluster.Cluster` of several processes.
      settings: a dict, which all must have alike.
      session_config: a `ConfigProto` of this process.
      device: "CPU" or "GPU".
    Raises:
      UserError: its port is taken.
    """

    def __init__(self, found, settings, session_config, device):
        self._found, self._device = found, device
        self.rank, self.size = found.rank, found.size
        self._sums = 0                  # built so far, in any graph
        self._config = session_config
        experimental = self._config.experimental
        experimental.collective_group_leader = _task(0)
        experimental.collective_nccl = device == "GPU"
        del self._config.device_filters[:]
        self._config.device_filters.append(_task(found.rank))
        try:
            self._server = tf1.train.Server(
                {"worker": list(found.addresses)}, "worker", found.rank,
                protocol="grpc", config=self._config)
        except tf.errors.OpError as error:
            raise UserError(
                "Rank {} must have the port of {} for itself; it cannot ({}). "
                "Is the same command, or another, running there already? End "
                "it, or give other ports in TF_CONFIG.".format(
                    found.rank, found.addresses[found.rank], error.message))
        self._watch = Watch(found, dict(
            settings, tensorflow=tf.__version__, device=device,
            cluster=list(found.addresses)))
        # Without the filter of `_config`, TensorFlow waits here for all.
        with tf.Graph().as_default(), tf1.Session(
                self._server.target, config=self._config) as session:
            session.run(self._watch.own(found.rank).initializer)

    @contextlib.contextmanager
    def session(self, keep=lambda: None):
        """A session of the default graph, whose sums name who is missing.

        All leave together; where one cannot, the others get to know.

        Args:
          keep: called before the process is ended from within, as it must
            be where a sum never comes back.
        """
        leave = self.sum(tf.zeros([1])).op
        self._watch.meet()
        with self._session(keep) as session:
            yield session
            session.run(leave)
            self.stop()

    def _session(self, keep):
        return _Session(self._server.target, self._config, self._watch, keep)

    def mean(self, tensors, dtype):
        """Means over all processes, in few large sums.

        Args:
          tensors: float32, in the order of the forward pass. The last come
            first, as their gradients do: sums run beside the backward pass.
          dtype: in which they travel and are added.
        """
        return self._in_buckets(tensors, lambda flat: tf.cast(
            self.sum(tf.cast(flat, dtype)), flat.dtype) / self.size)

    def broadcast(self, variables):
        """An operation that gives variables their values in rank 0."""
        result = []
        for dtype in dict.fromkeys(
                each.dtype.base_dtype.name for each in variables):
            some = [each for each in variables
                    if each.dtype.base_dtype.name == dtype]
            own = [each.read_value() for each in some]
            if self.rank:
                own = list(map(tf.zeros_like, own))
            result += map(tf1.assign, some, self._in_buckets(own, self.sum))
        return tf.group(*result)

    def _in_buckets(self, tensors, reduce):
        """What `reduce` makes of tensors of one type, joined in few."""
        made = {}
        for bucket in _buckets(tensors):
            shapes = [tensors[place].shape for place in bucket]
            flat = reduce(tf.concat([
                tf.reshape(tensors[place], [-1]) for place in bucket], 0))
            made.update(zip(bucket, map(tf.reshape, tf.split(flat, [
                shape.num_elements() for shape in shapes]), shapes)))
        return [made[place] for place in range(len(tensors))]

    def sum(self, tensor):
        """The tensor's sum over all processes; of one static shape in all.

        All build the same sums in the same order.
        """
        self._sums += 1
        with tf.device("/device:{}:0".format(self._device)):
            return tf.raw_ops.CollectiveReduce(
                input=tensor, group_size=self.size, group_key=_GROUP,
                instance_key=_FIRST_KEY - self._sums, merge_op="Add",
                final_op="Id", subdiv_offsets=[0])

    def gather(self, text):
        """The texts of all processes, by rank."""
        own = text.encode("utf-8")
        own = np.frombuffer(own + b" " * (-len(own) % 4), np.int32)
        sizes = np.zeros(self.size, np.int32)
        sizes[self.rank] = len(own)
        ends = np.cumsum(self._sum_of(sizes))
        whole = np.zeros(ends[-1] + 1, np.int32)        # never empty
        whole[ends[self.rank] - len(own):ends[self.rank]] = own
        return [part.tobytes().decode("utf-8") for part in np.split(
            self._sum_of(whole)[:-1], ends[:-1])]

    def _sum_of(self, array):
        """An array's sum over all processes, int32."""
        self._watch.meet()
        with tf.Graph().as_default():
            own = tf1.placeholder(tf.int32, array.shape)
            total = self.sum(own)
            with self._session(lambda: None) as session:
                return session.run(total, {own: array})

    def check(self):
        """Raises UserError where another process is gone."""
        self._watch.check()

    def stop(self):
        """From here on others may go, as all know."""
        self._watch.stop()
        time.sleep(_LAST_ANSWER_SECONDS)


def of_environment(settings):
    """`Peers`, or `cluster.ALONE`, as TF_CONFIG has it; on a CPU's gRPC."""
    found = cluster.settle(os.environ)
    if found.size == 1:
        return cluster.ALONE
    config = tf1.ConfigProto()
    config.gpu_options.allow_growth = True
    return Peers(found, settings, config, "CPU")


def _buckets(tensors):
    """Places of tensors, the last first, in lists of up to 25 MB."""
    buckets, room = [], 0
    for place in reversed(range(len(tensors))):
        size = tensors[place].shape.num_elements() * tensors[place].dtype.size
        if size > room:
            buckets.append([])
            room = _BUCKET_BYTES
        buckets[-1].append(place)
        room -= size
    return buckets


class _Session(tf1.Session):
    """A session that does not wait for a process that is gone."""

    def __init__(self, target, config, watch, keep):
        super().__init__(target, config=config)
        self._watch, self._keep = watch, keep

    def run(self, fetches, *args, **settings):
        if isinstance(fetches, str):    # a saver's: it waits for its disk alone
            return super().run(fetches, *args, **settings)
        with self._watch.waiting(self._keep):
            return super().run(fetches, *args, **settings)


class Watch:
    """Asks every other process, each second, who it is.

    Counts by its own seconds: what was stopped itself has not waited.

    Args:
      found: a `cluster.Cluster`.
      settings: what this process says of itself, and wants of the others.
    """

    def __init__(self, found, settings):
        self._found = found
        self._settings = json.loads(json.dumps(dict(
            settings, born=uuid.uuid4().hex)))
        self._born = {}                 # rank -> what it said first
        self._lost, self._stopped = threading.Event(), threading.Event()
        self._why = ""
        self._keep = None               # while a sum is waited for
        others = [rank for rank in range(found.size) if rank != found.rank]
        self._silent = dict.fromkeys(others, 0)     # rank -> seconds
        self._unmet = set(others)
        self._all_met = False           # as the main thread knows
        self._longest = 0               # silence that ended, in seconds
        end_at_once(self._be_seen)      # threads ask for ever
        for rank in others:
            threading.Thread(
                target=self._ask, args=(rank,), daemon=True).start()
        threading.Thread(target=self._judge, daemon=True).start()

    def stop(self):
        """From here on others may go."""
        self._stopped.set()

    def meet(self):
        """Waits until all others have answered.

        Raises:
          UserError: one does not, or is of another run.
        """
        while self._unmet:
            self._lost.wait(0.05)
            self.check()
        self.check()                    # it may have been met last
        self._all_met = True

    def _be_seen(self, code):
        """Where this process fails before all have met: others would wait."""
        if code != USER_ERROR or self._all_met:
            return
        end = time.monotonic() + _COMING_SECONDS
        while self._unmet and not self._lost.is_set() and (
                time.monotonic() < end):
            time.sleep(0.05)
        time.sleep(_TELLING_SECONDS)

    def check(self):
        """Raises UserError where one of the others is gone."""
        if self._lost.is_set():
            raise UserError(self._why)

    @contextlib.contextmanager
    def waiting(self, keep):
        """Around what waits for others; see `Peers.session`.

        Raises:
          UserError: one of them is gone.
        """
        self.check()
        self._keep = keep
        try:
            yield
        except _GONE as error:
            self._keep = None
            self._lost.wait(self._patience() + 2)
            self.check()
            raise UserError("A step of several processes ended with {} ({}); "
                            "no other is known to be gone. {}".format(
                                type(error).__name__, gist(error), _WHAT_NEXT))
        finally:
            self._keep = None

    def own(self, rank):
        """The variable with which the process of a rank says who it is."""
        with tf.device(_task(rank)):
            return variable(tf.constant(json.dumps(dict(
                self._settings, rank=rank), sort_keys=True)), "nonlocal_tf",
                trainable=False)

    def _ask(self, rank):
        """Asks for ever; a call that never returns is the silence itself."""
        config = tf1.ConfigProto()
        config.device_filters.append(_task(rank))
        with tf.Graph().as_default():
            text = self.own(rank).read_value()
            while not self._stopped.is_set():
                try:
                    with tf1.Session("grpc://" + self._found.addresses[rank],
                                     config=config) as session:
                        # Not `list_devices`, which keeps Python's lock.
                        while not self._stopped.is_set():
                            self._hear(rank, session.run(text))
                            self._stopped.wait(1.0)
                except (tf.errors.OpError, RuntimeError):
                    pass                # not begun, or somebody else
                self._stopped.wait(1.0)

    def _hear(self, rank, text):
        theirs = json.loads(text.decode("utf-8"))
        ours = dict(self._settings, rank=rank)
        born = ours["born"] = theirs.get("born")
        if self._born.setdefault(rank, born) != born:
            self._lose("{} was started anew, beside a run that goes on. {}"
                       .format(self._name(rank), _WHAT_NEXT))
        if rank not in self._unmet:     # else it was awaited
            self._longest = max(self._longest, self._silent[rank])
        self._silent[rank] = 0
        differing = [
            "{} {} (here {})".format(name, theirs.get(name), ours.get(name))
            for name in sorted(set(ours).union(theirs))
            if ours.get(name) != theirs.get(name)]
        if differing:
            self._lose("{} was started with {}. Start all processes of a run "
                       "alike.".format(self._name(rank), ", ".join(differing)))
        self._unmet.discard(rank)

    def _judge(self):
        seconds = 0
        while not self._stopped.wait(1.0) and not self._lost.is_set():
            seconds += 1
            if seconds == _SAYING_SECONDS and self._unmet:
                with contextlib.suppress(OSError):      # a full disk
                    say("Waiting for {}".format(", ".join(
                        map(self._name, sorted(self._unmet)))))
            for rank in self._silent:
                self._silent[rank] += 1
                self._judge_one(rank)
        if not self._stopped.wait(_LEAVING_SECONDS) and self._keep:
            _leave(self._why, self._keep)

    def _judge_one(self, rank):
        silent = self._silent[rank]
        if rank in self._unmet:
            if silent > START_SECONDS:
                self._lose("{} must answer within {} s of the start; it does "
                           "not. Start one process for each address, and see "
                           "that hosts reach each other's ports.".format(
                               self._name(rank), START_SECONDS))
        elif silent > self._patience():
            self._lose("{} has not answered for more than {} s: it hangs, or "
                       "the network does. {}".format(
                           self._name(rank), SILENT_SECONDS, _WHAT_NEXT))
        elif silent == CLOSED_SECONDS + 1:
            threading.Thread(
                target=self._look, args=(rank,), daemon=True).start()

    def _patience(self):
        """Seconds: an answer may wait for a kernel, and what was may be again.
        """
        return SILENT_SECONDS + 2 * self._longest

    def _look(self, rank):
        """At the port of one that is silent; beside the counting of seconds."""
        while self._silent[rank] > CLOSED_SECONDS:
            if _is_closed(self._found.addresses[rank]):
                self._lose("{} has ended. {}".format(
                    self._name(rank), _WHAT_NEXT))
            if self._stopped.wait(1.0):
                return

    def _lose(self, why):
        self._why = self._why or why
        self._lost.set()

    def _name(self, rank):
        return "Rank {} at {}".format(rank, self._found.addresses[rank])


def _is_closed(address):
    """Whether a host says that nothing listens there; silence is no answer."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def _leave(why, keep):
    """Ends the process while its main thread is in TensorFlow for ever."""
    complain("{}: error: {}".format(running(), why))
    try:
        keep()
    finally:
        os._exit(USER_ERROR)


def _task(rank):
    return "/job:worker/replica:0/task:{}".format(rank)
