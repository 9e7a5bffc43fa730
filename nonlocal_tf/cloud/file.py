"""An open file, local or in OBS."""

import contextlib
import io
import os
import tempfile

from absl import logging

from nonlocal_tf.cloud.errors import MoxFileNotExistsException
from nonlocal_tf.cloud.places import place, transfer
from nonlocal_tf.errors import UserError


class File:
    """A file, local or in OBS, in the modes of `open`.

    An object is read from, and written to, a copy on the local disk; it
    reaches OBS on `flush` and `close`, and not at all where neither is
    called or the `with` block ends in an exception. Text is UTF-8.
    """

    _copy, _is_changed = None, False            # a folder; since the last flush

    def __init__(self, name, mode="r"):
        self._place, self._mode = place(name), mode
        path = self._place.url
        if self._place.is_remote:
            path = self._fetched()
        encoding = None if "b" in mode else "utf-8"
        try:
            self._file = io.open(path, mode, encoding=encoding)
        except BaseException:
            self._forget()
            raise

    def _fetched(self):
        """The path of the copy, with the object's bytes if they are needed."""
        if self._place.only_folder:
            raise UserError("{} is a folder, not a file.".format(
                self._place.url))
        self._copy = tempfile.TemporaryDirectory(prefix="moxing.")
        path = os.path.join(self._copy.name, "file")
        self._is_changed = self._mode[0] == "w"
        try:
            if self._mode[0] != "w":
                transfer(self._place, place(path))
        except MoxFileNotExistsException:
            if self._mode[0] != "a":
                self._forget()
                raise
        except BaseException:
            self._forget()
            raise
        return path

    def _forget(self):
        self._is_changed = False
        if self._copy:
            with contextlib.suppress(OSError):
                self._copy.cleanup()

    def read(self, n=-1):
        return self._file.read(n)

    def readline(self):
        return self._file.readline()

    def readlines(self):
        return self._file.readlines()

    def write(self, data):
        count = self._file.write(data)
        self._is_changed = True
        return count

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def seek(self, offset, whence=0):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def size(self):
        """In bytes, with what is written so far."""
        if self.writable():
            self._file.flush()
        return os.fstat(self._file.fileno()).st_size

    def readable(self):
        return self._file.readable()

    def writable(self):
        return self._file.writable()

    def seekable(self):
        return self._file.seekable()

    def flush(self):
        """Brings what is written to the disk's cache or to OBS."""
        self._file.flush()
        if self._copy and self._is_changed:
            transfer(place(os.path.join(self._copy.name, "file")),
                     self._place)
            self._is_changed = False

    def close(self):
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._end()

    def _end(self):
        try:
            self._file.close()                         # may find a full disk
        finally:
            self._forget()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None or not self._copy:
            self.close()
            return
        if self._is_changed:
            logging.warning("%s stays as it was: %s while it was written",
                            self._place.url, kind.__name__)
        with contextlib.suppress(OSError):
            self._end()

    def __del__(self):
        if self._copy and self._is_changed:
            logging.warning("%s was not closed: what was written to it is "
                            "lost", self._place.url)
        with contextlib.suppress(AttributeError, OSError):
            self._end()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._file)
