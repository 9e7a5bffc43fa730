"""The functions of `moxing.file` that we use, for machines without moxing.

    from nonlocal_tf import moxing_shim as mox
    mox.file.copy_parallel("obs://bucket/data", "/cache/data")

Each takes local paths and obs:// or s3:// URLs alike. Names and arguments are
those of moxing's documentation; where it is silent (marked "uncertain"), what
is least surprising. A folder in OBS is what other keys begin with.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
import types

from absl import logging

from nonlocal_tf.cloud import objects
from nonlocal_tf.cloud.client import (
    MoxFileNotExistsException,
    MoxFileRespException,
)
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import REMOTE, replacing

file = sys.modules[__name__]              # `mox.file.copy` is `mox.copy`


class _Place:
    """Where a URL leads: in OBS, or, where `bucket` is None, on this disk.

    Repeated slashes count as one, as scripts join URLs carelessly.
    `is_folder`: it ends with a slash, or is a bucket.
    """

    def __init__(self, url):
        self.url = url = os.fsdecode(url)
        self.bucket, self.is_folder = None, url.endswith("/")
        if url.lower().startswith(REMOTE):
            self.bucket, *parts = url[url.index("//") + 2:].split("/")
            if not self.bucket or "@" in self.bucket:
                raise UserError("obs:// must be followed by a bucket's name, "
                                "as in obs://bucket/folder.")
            self.key = "/".join(part for part in parts if part)
            self.is_folder = self.is_folder or not self.key
            self.prefix = self.key + "/" if self.key else ""
        elif not url or re.match(r"(?i)(obs|s3):|[a-z][a-z0-9+.-]*://", url):
            raise UserError("{!r} must be a path, or begin with obs:// or "
                            "s3://.".format(url))

    def child(self, name):
        return _Place("/".join((self.url.rstrip("/"), name)))

    def stat(self):
        """What `stat` answers; None where there is nothing."""
        if self.bucket is None:
            if not os.path.exists(self.url):
                return None
            found, is_folder = os.stat(self.url), os.path.isdir(self.url)
            length, time = found.st_size, found.st_mtime_ns
        else:
            found = not self.is_folder and objects.head(self.bucket, self.key)
            length, time = (found["ContentLength"], int(found[
                "LastModified"].timestamp()) * 10 ** 9) if found else (0, 0)
            is_folder = not found
            if is_folder and not self.is_directory():
                return None
        return types.SimpleNamespace(
            length=0 if is_folder else length, mtime_nsec=time,
            is_directory=is_folder)

    def is_directory(self):
        if self.bucket is None:
            return os.path.isdir(self.url)
        try:
            return any(objects.list_keys(
                self.bucket, self.prefix, limit=1)) or not self.key
        except MoxFileRespException as error:
            if self.key or error.resp.status != 404:
                raise
            return False                  # no such bucket

    def names(self, recursive):
        """Relative names in this folder, those of folders with "/"."""
        found = set()
        if self.bucket is not None:
            for key in objects.list_keys(
                    self.bucket, self.prefix, "" if recursive else "/"):
                name = key[len(self.prefix):]
                found.update(name[:match.end()]
                             for match in re.finditer("/", name))
                found.add(name)
            return sorted(found - {""})
        for path, folders, names in os.walk(self.url, followlinks=True):
            found.update(os.path.relpath(os.path.join(path, name), self.url)
                         for name in names)
            found.update(os.path.relpath(os.path.join(path, name), self.url)
                         + "/" for name in folders)
            if not recursive:
                break
        return sorted(found)


def _existing(url):
    where = _Place(url)
    found = where.stat()
    if found is None:
        raise _missing(where)
    return where, found


def _missing(where):
    return MoxFileNotExistsException(
        "{}: there is no such file or folder. Check the name.".format(
            where.url))


def exists(url):
    """Whether there is such a file or folder."""
    return _Place(url).stat() is not None


def is_directory(url):
    """Whether it is a folder."""
    return _Place(url).is_directory()


def stat(url):
    """.length in bytes (0 of a folder), .mtime_nsec and .is_directory."""
    return _existing(url)[1]


def list_directory(url, recursive=False):
    """The names in a folder, relative to it."""
    url = url.rstrip("/") + "/"           # an object may have the same name
    return [name.rstrip("/") for name in _existing(url)[0].names(recursive)]


def make_dirs(url):
    """Makes a folder and those above it, unless they are there."""
    where = _Place(url)
    if where.bucket is None:
        os.makedirs(where.url, exist_ok=True)
    elif not where.key:
        _existing(url)
    elif not where.is_directory():
        objects.put(os.devnull, where.bucket, where.prefix, threading.Event())


def remove(url, recursive=False):
    """Removes a file, or, where `recursive`, a folder with what is in it.

    A folder without `recursive`, and a file's name with "/" at its end, are
    left as they are, silently, as the documentation says. Nothing to remove is
    an error (uncertain).
    """
    where = _Place(url)
    found = where.stat()
    if where.is_folder and not (found and recursive):
        return
    if found is None:
        raise _missing(where)
    if found.is_directory and not recursive:
        return
    if where.bucket is None:
        (shutil.rmtree if found.is_directory else os.remove)(where.url)
    elif not where.key:
        raise UserError("{} is a whole bucket, which is not removed. Name a "
                        "folder in it.".format(where.url))
    else:
        objects.remove(where.bucket, list(objects.list_keys(
            where.bucket, where.prefix)) if found.is_directory
            else [where.key], threading.Event())


def copy(src_url, dst_url, client_id=None):
    """Copies one file, to a file of any name or into a folder.

    Uncertain: into a folder (one on this disk, or a URL that ends with "/")
    it keeps its name. It appears there whole.
    """
    source, target = _Place(src_url), _Place(dst_url)
    if source.is_folder or source.bucket is None and source.is_directory():
        raise UserError("copy needs a file; {} is a folder. Use "
                        "copy_parallel.".format(source.url))
    if target.is_folder or target.bucket is None and target.is_directory():
        target = target.child(os.path.basename(source.url))
    _copy_all([(source, target)], 1)


def copy_parallel(src_url, dst_url, file_list=None, threads=16,
                  is_processing=True, use_queue=True):
    """Copies the files of a folder directly under `dst_url`.

    `dst_url` is made if need be, what is there is replaced. A source that is
    missing or empty is a warning, "No files to copy"; one file is copied to
    the name `dst_url`. Every file appears whole. Threads are used whatever
    `is_processing` says; threads=0: one.

    Args:
      file_list: files relative to `src_url`; None: all, at any depth.
      threads: files at the same time.
    """
    source, target, names = _Place(src_url), _Place(dst_url), file_list
    if names is None:
        found = source.stat()
        if found and not found.is_directory:
            return copy(src_url, dst_url)
        names = [name for name in source.names(True) if name[-1] != "/"]
        if not names:
            logging.warning("No files to copy: %s has none", source.url)
    for name in names:
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            raise UserError(
                "{}/{}: this name cannot be a file's on a disk. Rename the "
                "object; nothing was copied.".format(
                    source.url.rstrip("/"), name))
    _copy_all([(source.child(name), target.child(name)) for name in names],
              threads)


def _copy_all(pairs, threads):
    """Copies from place to place side by side; the first failure ends all."""
    stop = threading.Event()
    objects.together([lambda pair=pair: _copy(*pair, stop) for pair in pairs],
                     threads, stop)


def _copy(source, target, stop):
    if source.bucket is None:
        _existing(source.url)
    if target.bucket is None:
        os.makedirs(os.path.dirname(os.path.abspath(target.url)),
                    exist_ok=True)
    if source.bucket and target.bucket:
        objects.copy(source.bucket, source.key, target.bucket, target.key,
                     stop)
    elif source.bucket:
        objects.get(source.bucket, source.key, target.url, stop)
    elif target.bucket:
        objects.put(source.url, target.bucket, target.key, stop)
    else:
        with open(source.url, "rb") as given, replacing(target.url) as made:
            shutil.copyfileobj(given, made)


def read(url, client_id=None, binary=False):
    """The content of a file: a str, or bytes where `binary`."""
    with File(url, "rb" if binary else "r") as source:
        return source.read()


def write(url, data, binary=False):
    """Makes a file of `data`, in place of one that is there."""
    with File(url, "wb" if binary else "w") as target:
        target.write(data)


class File:
    """A file, local or in OBS: "r" or "w", with or without "b".

    It is read from, and written to, a copy on the local disk, which is put in
    place on `close`, but not where the `with` block ends in an exception. Text
    is UTF-8. All else is as of Python's files.
    """

    def __init__(self, name, mode="r"):
        if mode not in ("r", "rb", "w", "wb"):
            raise UserError("File opens for r, rb, w or wb; got {!r}.".format(
                mode))
        self._place = _Place(name)
        if mode[0] == "w" and self._place.bucket and self._place.is_folder:
            raise UserError("{} names a folder; a file to write is wanted. "
                            "Leave the last slash out.".format(name))
        self._folder = tempfile.TemporaryDirectory(prefix="moxing.")
        path = os.path.join(self._folder.name, "file")
        if mode[0] == "r":
            copy(name, path)
        self._file = open(path, mode, encoding=None if "b" in mode
                          else "utf-8")

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __iter__(self):
        return iter(self._file)

    def __enter__(self):
        return self

    def close(self):
        self.__exit__(None)

    def __exit__(self, kind, *_):
        if self._file.closed:
            return
        is_stored = kind is None and self._file.writable()
        with self._folder, contextlib.closing(self._file):
            self._file.flush()                         # may find a full disk
            if is_stored:
                _copy_all([(_Place(self._file.name), self._place)], 1)


def set_auth(ak=None, sk=None, server=None, port=None, is_secure=None,
             ssl_verify=None, security_token=None, **ignored):
    """Sets the connection by the environment's variables; None: as it is."""
    if ignored:
        logging.warning("set_auth: ignored: %s", ", ".join(sorted(ignored)))
    for name, value in (
            ("OBS_ACCESS_KEY_ID", ak), ("OBS_SECRET_ACCESS_KEY", sk),
            ("OBS_SECURITY_TOKEN", security_token), ("S3_ENDPOINT", (
                "{}:{}".format(server, port) if port else server)),
            ("S3_USE_HTTPS", is_secure), ("S3_VERIFY_SSL", ssl_verify)):
        if value is not None:
            os.environ[name] = str(value)


def shift(*_):
    """Not here: moxing's patches Python's own functions for the process."""
    raise NotImplementedError(
        "shift changes open, os and shutil for the whole process, "
        "unreliably with threads. Copy the data with mox.file.copy_parallel, "
        "or call mox.file.File and its like where the files are used.")
