"""Collectives between real processes over the loopback.

$ASCEND_FAKE_HCCL is host:port, where rank 0 serves. A call is a connection:
(rank, key, job, arrays) there, (error, arrays) back as soon as every rank has
called the same key. Each rank also keeps one connection open, by which the
server sees that it has ended.
"""

import multiprocessing.connection as connection
import os
import threading
import time

import numpy as np

from ascend_fake import environment
from ascend_fake.errors import AscendFakeError, refuse

REDUCE = {"sum": np.add, "mean": np.add, "min": np.minimum}
SECONDS = 60                            # that a rank waits
_lock = threading.Lock()
_calls = {}                             # name -> how often it was called
_kept = []                              # server, and the open connection


def exchange(name, job, arrays):
    """The arrays after collective `job`, called `name` on every rank."""
    size = environment.rank_size()
    if size == 1:
        return [np.array(array) for array in arrays]
    rank = environment.rank_id()
    if "ASCEND_FAKE_HCCL" not in os.environ:
        refuse("set ASCEND_FAKE_HCCL=host:port for RANK_SIZE > 1",
               "the fake's own rule")
    host, port = os.environ["ASCEND_FAKE_HCCL"].rsplit(":", 1)
    address = (host, int(port))
    with _lock:
        if not _kept:
            if rank == 0:
                _kept.append(Server(address, size))
            _kept.append(_connect(address))
            _kept[-1].send((rank, None, None, None))
        count = _calls[name] = _calls.get(name, 0) + 1
    key = "{}#{}".format(name, count)
    try:
        call = _connect(address)
        call.send((rank, key, job, [np.asarray(array) for array in arrays]))
        if not call.poll(SECONDS):
            raise AscendFakeError("HCCL: {} waited {} s; not every rank "
                                  "called it".format(key, SECONDS))
        error, result = call.recv()
    except (EOFError, OSError) as lost:
        raise AscendFakeError("HCCL: rank 0 has ended: {}".format(lost))
    if error:
        raise AscendFakeError("HCCL: {}: {}".format(key, error))
    return result


def _connect(address):
    end = time.monotonic() + SECONDS
    while True:
        try:
            return connection.Client(address)
        except OSError as error:
            if time.monotonic() > end:
                raise AscendFakeError(
                    "HCCL: no server at {}: {}".format(address, error))
            time.sleep(0.1)


class Server:
    """Joins the calls of all ranks. Runs in threads of rank 0."""

    def __init__(self, address, size):
        self._size, self._lock = size, threading.Lock()
        self._waiting = {}              # key -> {rank: (link, job, arrays)}
        self._dead = set()
        self._listener = connection.Listener(address, backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._serve, daemon=True,
                             args=(self._listener.accept(),)).start()

    def _serve(self, link):
        rank, key, job, arrays = link.recv()
        if key is None:                 # the connection that stays open
            try:
                link.recv()
            except (EOFError, OSError):
                with self._lock:
                    self._dead.add(rank)
                    for key in list(self._waiting):
                        self._answer(key)
            return
        with self._lock:
            self._waiting.setdefault(key, {})[rank] = (link, job, arrays)
            self._answer(key)

    def _answer(self, key):
        """Rank 0 last: once it has its answer, its process may end."""
        calls = self._waiting[key]
        missing = set(range(self._size)) - set(calls)
        error, result = None, None
        if missing & self._dead:
            error = "rank {} has ended".format(sorted(missing & self._dead))
        elif missing:
            return
        else:
            forms = [(job, [(array.dtype.name, array.shape)
                            for array in arrays])
                     for _, (_, job, arrays) in sorted(calls.items())]
            if any(form != forms[0] for form in forms):
                error = "the ranks disagree: {}".format(forms)
            else:
                result = combine(forms[0][0], [
                    calls[rank][2] for rank in range(self._size)])
        for rank in sorted(self._waiting.pop(key), reverse=True):
            try:
                calls[rank][0].send((error, result))
            except OSError:
                self._dead.add(rank)


def combine(job, per_rank):
    """`job` is a reduction, or the broadcast's root, a number."""
    if isinstance(job, int):
        return per_rank[job]
    return [_reduced(job, arrays) for arrays in zip(*per_rank)]


def _reduced(job, arrays):
    dtype = arrays[0].dtype
    exact = np.float32 if dtype == np.float16 else dtype
    total = arrays[0].astype(exact)
    for array in arrays[1:]:
        total = REDUCE[job](total, array.astype(exact))
    if job == "mean":
        total = total / np.asarray(len(arrays), total.dtype)
    return np.asarray(total).astype(dtype)
