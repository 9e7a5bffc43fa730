"""The reducing server of rank 0, and what crosses the wire.

A message: the length of a JSON header, the header, then the arrays' bytes.
A request waits until every rank has sent one with the same key; all then get
the same bytes, made in rank order.
"""

import json
import socket
import struct
import threading

import numpy as np

REDUCE = {"sum": np.add, "max": np.maximum, "min": np.minimum,
          "prod": np.multiply}


def send(connection, header, arrays=()):
    header = dict(header, arrays=[
        [array.dtype.name, list(array.shape)] for array in arrays])
    text = json.dumps(header).encode("utf-8")
    connection.sendall(struct.pack(">I", len(text)) + text + b"".join(
        np.ascontiguousarray(array).tobytes() for array in arrays))


def receive(stream):
    """Header and arrays; EOFError when the other end has gone."""
    length, = struct.unpack(">I", _exactly(stream, 4))
    header = json.loads(_exactly(stream, length).decode("utf-8"))
    arrays = []
    for name, shape in header.pop("arrays"):
        dtype = np.dtype(name)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        arrays.append(np.frombuffer(
            _exactly(stream, size), dtype).reshape(shape).copy())
    return header, arrays


def _exactly(stream, size):
    try:
        data = stream.read(size)
    except OSError as error:
        raise EOFError(str(error))
    if len(data) < size:
        raise EOFError("the connection is closed")
    return data


class Server:
    """Joins the requests of all ranks. Runs in threads of rank 0."""

    def __init__(self, address, size):
        self._size = size
        self._lock = threading.Lock()
        self._waiting = {}              # key -> {rank: (header, arrays)}
        self._connections, self._dead = {}, set()
        self._socket = socket.socket()
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)
        self._socket.listen(size)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(
                target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        stream, rank = connection.makefile("rb"), None
        try:
            hello, _ = receive(stream)
            rank = hello["rank"]
            if hello["size"] != self._size or rank in self._connections:
                send(connection, {"key": None, "error": (
                    "rank {} of {}: already here, or not of {}".format(
                        rank, hello["size"], self._size))})
                rank = None
                return
            self._connections[rank] = connection
            while True:
                header, arrays = receive(stream)
                with self._lock:
                    self._request(rank, header, arrays)
        except EOFError:
            pass
        finally:
            connection.close()
            if rank is not None:
                with self._lock:
                    self._leave(rank)

    def _request(self, rank, header, arrays):
        key = header["key"]
        waiting = self._waiting.setdefault(key, {})
        waiting[rank] = (header, arrays)
        missing = set(range(self._size)) - set(waiting)
        if missing & self._dead:
            self._fail(key, "rank {} has ended".format(
                sorted(missing & self._dead)))
        elif not missing:
            self._answer(key)

    def _leave(self, rank):
        self._dead.add(rank)
        for key in list(self._waiting):
            if rank not in self._waiting[key]:
                self._fail(key, "rank {} has ended".format(rank))

    def _fail(self, key, text):
        self._reply(key, {"key": key, "error": text}, ())

    def _answer(self, key):
        requests = [self._waiting[key][rank] for rank in range(self._size)]
        forms = [(header["job"], [(array.dtype.name, array.shape)
                                  for array in arrays])
                 for header, arrays in requests]
        for rank, form in enumerate(forms):
            if form != forms[0]:
                self._fail(key, "ranks 0 and {} disagree: {} and {}".format(
                    rank, forms[0], form))
                return
        result = combine(forms[0][0], [arrays for _, arrays in requests])
        self._reply(key, {"key": key, "error": None}, result)

    def _reply(self, key, header, arrays):
        """Rank 0 last: once it has its answer, its process may end."""
        for rank in sorted(self._waiting.pop(key), reverse=True):
            try:
                send(self._connections[rank], header, arrays)
            except OSError:
                self._dead.add(rank)


def combine(job, per_rank):
    """`job` is a reduction, `mean` or the broadcast's root, a number."""
    if isinstance(job, int):
        return per_rank[job]
    return [_reduced(job, arrays) for arrays in zip(*per_rank)]


def _reduced(job, arrays):
    dtype = arrays[0].dtype
    exact = np.float32 if dtype == np.float16 else dtype
    total = arrays[0].astype(exact)
    for array in arrays[1:]:
        total = REDUCE["sum" if job == "mean" else job](
            total, array.astype(exact)).astype(exact)
    if job == "mean":
        total = total / np.asarray(len(arrays), total.dtype)
    return np.asarray(total).astype(dtype)
