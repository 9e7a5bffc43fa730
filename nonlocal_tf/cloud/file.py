"""An open file, local or in OBS."""

import io
import os
import shutil
import tempfile

from nonlocal_tf.cloud.errors import MoxFileNotExistsException
from nonlocal_tf.cloud.places import place, transfer
from nonlocal_tf.errors import UserError


class File:
    """A file, local or in OBS, in the modes of `open`.

    An object is read from, and written to, a copy on the local disk; it
    reaches OBS on `flush` and `close`. Text is UTF-8.
    """

    def __init__(self, name, mode="r"):
        self._place, self._mode = place(name), mode
        self._copy, self._is_changed = None, False
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
        self._copy = tempfile.mkdtemp(prefix="moxing.")
        path = os.path.join(self._copy, "file")
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
        if self._copy:
            shutil.rmtree(self._copy, ignore_errors=True)

    def read(self, n=-1):
        return self._file.read(n)

    def readline(self):
        return self._file.readline()

    def readlines(self):
        return self._file.readlines()

    def write(self, data):
        self._is_changed = True
        return self._file.write(data)

    def writelines(self, lines):
        self._is_changed = True
        self._file.writelines(lines)

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
            transfer(place(os.path.join(self._copy, "file")), self._place)
            self._is_changed = False

    def close(self):
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()
            self._forget()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return iter(self._file)
