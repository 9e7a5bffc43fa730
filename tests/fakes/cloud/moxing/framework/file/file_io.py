"""The rest of moxing.file: parameters exactly as in ascend.md 5.2."""

import glob as _glob
import io
import os
import shutil

from moxing.framework.file import store
from moxing.framework.file.errors import (
    MoxFakeError,
    MoxFileNotExistsException,
    MoxFileReadException,
)

_METHODS = ("flush", "read", "readline", "readlines", "seek", "tell",
            "write", "writelines", "readable", "writable", "seekable")


class File:
    """A file; what was written reaches OBS on flush and close."""

    def __init__(self, name, mode):
        if mode.replace("b", "") not in ("r", "w", "a", "r+", "w+", "a+"):
            raise ValueError("no mode {!r} [5.2]".format(mode))
        self._name, self._writes = name, mode.replace("b", "") != "r"
        self._remote, text = store.is_remote(name), "b" not in mode
        if not self._remote:
            self._file = open(name, mode)
            return
        if mode.startswith("r") and not store.is_file(name):
            raise MoxFileReadException(name)
        self._buffer = io.BytesIO()
        if not mode.startswith("w") and store.is_file(name):
            with open(store.path(name), "rb") as file:
                self._buffer.write(file.read())
        self._buffer.seek(0, os.SEEK_END if "a" in mode else os.SEEK_SET)
        self._file = io.TextIOWrapper(
            self._buffer, "utf-8") if text else self._buffer

    def __getattr__(self, name):
        if name not in _METHODS:
            raise AttributeError("File has no {!r} [5.2]".format(name))
        return getattr(self._file, name)

    def flush(self):
        self._file.flush()
        if self._remote and self._writes:
            with open(store.parent_for(self._name), "wb") as file:
                file.write(self._buffer.getvalue())
            store.record("write", self._name)

    def close(self):
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def read(url, client_id=None, binary=False):
    if not store.is_file(url):
        raise MoxFileReadException(url)
    with File(url, "rb" if binary else "r") as file:
        return file.read()


def write(url, data, binary=False):
    with File(url, "wb" if binary else "w") as file:
        file.write(data)


def append(url, data, binary=False):
    with File(url, "ab" if binary else "a") as file:
        file.write(data)


def append_remote(src_url, dst_url):
    raise MoxFakeError("append_remote: its roles are not certain [5.2]")


def exists(url):
    return store.is_file(url) or store.is_folder(url)


def is_directory(url):
    return store.is_folder(url)


class _Stat:
    def __init__(self, length, mtime_nsec, folder):
        self.length, self.mtime_nsec = length, mtime_nsec
        self.is_directory = folder


def stat(url):
    _need(url)
    found = os.stat(store.path(url))
    folder = store.is_folder(url)
    return _Stat(0 if folder else found.st_size, found.st_mtime_ns, folder)


def get_size(url, recursive=False):
    _need(url)
    if store.is_file(url):
        return os.path.getsize(store.path(url))
    if not recursive:
        return 0
    return sum(os.path.getsize(os.path.join(store.path(url), name))
               for name in store.files(url))


def list_directory(url, recursive=False):
    """Relative names; folders too."""
    if not store.is_folder(url):
        raise MoxFileNotExistsException(url)
    names = []
    for folder, folders, files in walk(url, True, None, False):
        inner = os.path.relpath(store.path(folder), store.path(url))
        names += [os.path.normpath(os.path.join(inner, name))
                  for name in folders + files]
        if not recursive:
            break
    return sorted(names)


def glob(url):
    """Whole urls."""
    base, pattern = os.path.split(url)
    if not store.is_remote(url):
        return sorted(_glob.glob(url))
    found = _glob.glob(os.path.join(store.path(base), pattern))
    urls = [base + "/" + os.path.basename(path) for path in sorted(found)]
    return [each for each in urls if exists(each)]


def walk(url, topdown=True, onerror=None, followlinks=False):
    """Like os.walk; on OBS the last three have no effect."""
    if not store.is_remote(url):
        for each in os.walk(url, topdown, onerror, followlinks):
            yield each
        return
    top = store.path(url)
    for folder, folders, files in os.walk(top):
        inner = os.path.relpath(folder, top)
        here = url.rstrip("/") + ("" if inner == "." else "/" + inner)
        folders[:] = sorted(
            name for name in folders if store.is_folder(here + "/" + name))
        yield here, folders, sorted(set(files) - {store.MARK})


def scan_dir(url):
    raise MoxFakeError("scan_dir: what it gives is not described [5.2]")


def make_dirs(url):
    if store.is_remote(url):
        place = store.path(url)
        if not store.is_bucket(url):
            os.makedirs(place, exist_ok=True)
            with open(os.path.join(place, store.MARK), "w"):
                pass
    else:
        os.makedirs(url, exist_ok=True)


def mk_dir(url):
    parent = url.rstrip("/").rpartition("/")[0] or "."
    if not store.is_folder(parent):
        raise OSError("{!r} is not there".format(parent))
    make_dirs(url)


def remove(url, recursive=False):
    """A folder only with recursive; without, nothing happens."""
    _need(url.rstrip("/"))
    if store.is_file(url):
        os.remove(store.path(url))
    elif store.is_folder(url) and recursive:
        shutil.rmtree(store.path(url))


def shift(first, second):
    raise MoxFakeError("shift: warned against [5.2]")


def set_auth(ak=None, sk=None, server=None, port=None, is_secure=None,
             ssl_verify=None, long_conn_mode=None, path_style=None,
             retry=None, retry_wait=None, client_timeout=None,
             list_max_keys=None, obs_client_log=None, negotiation=None):
    store.record("set_auth")


def _need(url):
    if not exists(url):
        raise MoxFileNotExistsException(url)
