"""Files in pieces: how large, read by whom, counted, side by side."""

import concurrent.futures
import contextlib
import hashlib
import os
import threading

from nonlocal_tf.cloud.errors import ChangedError, StoppedError, TransientError
from nonlocal_tf.cloud.retry import unwatched
from nonlocal_tf.cloud.settings import whole_number

PART_BYTES = 10 << 20                     # MOX_FILE_LARGE_FILE_PART_SIZE
PART_THREADS = 4                          # MOX_FILE_LARGE_FILE_TASK_NUM
MOST_PARTS = 10000                        # of one object, in OBS and S3


class Source:
    """A local file that must stay as it was when this was made."""

    def __init__(self, path, progress):
        self.path, self.progress = path, progress
        self._state = self._now()
        self.size = self._state[0]

    def _now(self):
        status = os.stat(self.path)
        return status.st_size, status.st_mtime_ns, status.st_ino

    def check(self):
        if self._now() != self._state:
            raise ChangedError(
                "{!r} changes while it is uploaded. Upload it when it is "
                "written.".format(self.path))

    def send(self, start, length, put, progress):
        """Calls put(open_body, md5) for `length` bytes from `start`."""
        self.check()
        sent = Counted(progress)
        with contextlib.closing(_Slice(self.path, start, length)) as file:
            md5 = md5_of(file)
        try:
            return put(lambda: _Slice(self.path, start, length, sent), md5)
        except TransientError:
            sent.undo()
            self.check()
            raise


class _Slice:
    """Bytes `start` to `start + length` of a file, for one reader."""

    def __init__(self, path, start, length, progress=unwatched):
        self._file = open(path, "rb")
        self._file.seek(start)
        self._left, self._progress = length, progress

    def read(self, size):
        data = self._file.read(min(size, self._left))
        if not data and min(size, self._left):
            raise ChangedError(
                "{!r} becomes shorter while it is uploaded.".format(
                    self._file.name))
        self._left -= len(data)
        self._progress(len(data))
        return data

    def close(self):
        self._file.close()


class Counted:
    """Passes numbers of bytes on, and can take them back."""

    def __init__(self, progress):
        self._progress, self.total = progress, 0
        self._lock = threading.Lock()

    def __call__(self, count):
        with self._lock:
            self.total += count
        self._progress(count)

    def undo(self):
        with self._lock:
            count, self.total = self.total, 0
        self._progress(-count)


def together(actions, progress=unwatched):
    """The results of functions that run side by side; all end on a failure.

    Args:
      actions: each is called with a function that stands for `progress`, and
        raises where another action, or the wait for them, has failed.
      progress: called with numbers of bytes.
    """
    threads = whole_number("MOX_FILE_LARGE_FILE_TASK_NUM", PART_THREADS)
    failure = threading.Event()

    def watched(count):
        if failure.is_set():
            raise StoppedError("another part failed")
        progress(count)

    def run(action):
        try:
            watched(0)
            return action(watched)
        except BaseException:
            failure.set()
            raise

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(run, action) for action in actions]
        try:
            concurrent.futures.wait(
                futures, return_when=concurrent.futures.FIRST_EXCEPTION)
        except BaseException:                          # Ctrl-C
            failure.set()
            raise
        finally:
            for future in futures:
                future.cancel()
    errors = [future.exception() for future in futures
              if not future.cancelled() and future.exception()]
    for error in sorted(errors, key=lambda e: isinstance(e, StoppedError)):
        raise error
    return [future.result() for future in futures]


def part_bytes(size):
    wanted = whole_number("MOX_FILE_LARGE_FILE_PART_SIZE", PART_BYTES)
    return max(wanted, -(-size // MOST_PARTS))


def pieces(size):
    """(start, length) of each part."""
    part = part_bytes(size)
    return [(start, min(part, size - start)) for start in range(0, size, part)]


def md5_of(file):
    digest = hashlib.md5()
    if hasattr(file, "seek"):
        file.seek(0)
    for data in iter(lambda: file.read(1 << 20), b""):
        digest.update(data)
    return digest.digest()


def joined_etag(etags):
    """The ETag of an object in parts: MD5 of their MD5s, and their number.

    None where the parts' ETags are no MD5s.
    """
    try:
        digests = b"".join(bytes.fromhex(etag) for etag in etags)
    except ValueError:
        return None
    return "{}-{}".format(hashlib.md5(digests).hexdigest(), len(etags))
