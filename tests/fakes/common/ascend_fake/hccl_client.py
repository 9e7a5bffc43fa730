"""A rank's end of the collectives: real processes, loopback TCP.

$ASCEND_FAKE_HCCL is host:port; rank 0 hosts the server there. A rank that
waits longer than $ASCEND_FAKE_HCCL_TIMEOUT seconds (60) raises.
"""

import os
import socket
import threading
import time

import numpy as np

from ascend_fake import environment, hccl_server
from ascend_fake.errors import AscendFakeError, refuse

_lock = threading.Lock()
_clients = {}


def exchange(name, job, arrays):
    """The arrays after collective `job`, called `name` on every rank."""
    if environment.rank_size() == 1:
        return [np.array(array) for array in arrays]
    with _lock:
        if os.getpid() not in _clients:
            _clients[os.getpid()] = Client()
        client = _clients[os.getpid()]
    return client.call(name, job, arrays)


def _seconds():
    return float(os.environ.get("ASCEND_FAKE_HCCL_TIMEOUT", "60"))


class Client:
    """One connection; any number of calls may wait at the same time."""

    def __init__(self):
        rank, size = environment.rank_id(), environment.rank_size()
        place = os.environ.get("ASCEND_FAKE_HCCL")
        if not place:
            refuse("set ASCEND_FAKE_HCCL=host:port for RANK_SIZE > 1",
                   "the fake's own rule")
        host, port = place.rsplit(":", 1)
        if rank == 0:
            hccl_server.Server((host, int(port)), size)
        # Two locks: who sends must never keep the listener from reading.
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._calls, self._pending, self._lost = {}, {}, None
        self._connection = _connect((host, int(port)))
        hccl_server.send(self._connection, {"rank": rank, "size": size})
        threading.Thread(target=self._listen, daemon=True).start()

    def call(self, name, job, arrays):
        with self._lock:
            if self._lost:
                raise AscendFakeError("HCCL: " + self._lost)
            count = self._calls[name] = self._calls.get(name, 0) + 1
            key = "{}#{}".format(name, count)
            slot = self._pending[key] = {"event": threading.Event()}
        try:
            with self._sending:
                hccl_server.send(
                    self._connection, {"key": key, "job": job},
                    [np.asarray(array) for array in arrays])
        except OSError as error:
            raise AscendFakeError("HCCL: {}".format(error))
        if not slot["event"].wait(_seconds()):
            raise AscendFakeError(
                "HCCL: {} waited {} s; not every rank called it".format(
                    key, _seconds()))
        if slot["error"]:
            raise AscendFakeError("HCCL: {}: {}".format(key, slot["error"]))
        return slot["arrays"]

    def _listen(self):
        stream = self._connection.makefile("rb")
        try:
            while True:
                header, arrays = hccl_server.receive(stream)
                if header["key"] is None:
                    raise EOFError(header["error"])
                with self._lock:
                    slot = self._pending.pop(header["key"])
                slot.update(error=header["error"], arrays=arrays)
                slot["event"].set()
        except EOFError as error:
            self._lose("rank 0 has ended, or: {}".format(error))

    def _lose(self, text):
        with self._lock:
            self._lost = text
            for slot in self._pending.values():
                slot["error"] = text
                slot["event"].set()


def _connect(address):
    end = time.monotonic() + _seconds()
    while True:
        try:
            connection = socket.create_connection(address, 5)
            if connection.getsockname() == connection.getpeername():
                connection.close()      # a port can reach itself
                raise OSError("no listener yet")
            connection.settimeout(None)
            connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            if time.monotonic() > end:
                raise AscendFakeError(
                    "HCCL: no server at {}: {}".format(address, error))
            time.sleep(0.1)
