"""The functions of `moxing.file`, for machines without moxing.

    from nonlocal_tf import moxing_shim as mox
    mox.file.copy_parallel("obs://bucket/data", "/cache/data")

Every function takes local paths and obs:// or s3:// URLs alike. Names and
arguments are those of moxing's documentation; where it is silent (marked
"uncertain"), what is least surprising. Settings: `nonlocal_tf.cloud.settings`.
"""

import fnmatch
import glob as _glob
import os
import re
import sys

from absl import logging

from nonlocal_tf.cloud import connection, copying
from nonlocal_tf.cloud.errors import (  # noqa: F401
    MoxFileNameDuplicateException,
    MoxFileNotExistsException,
    MoxFileReadException,
    MoxFileRespException,
)
from nonlocal_tf.cloud.file import File
from nonlocal_tf.cloud.moving import move, target_of
from nonlocal_tf.cloud.places import Item, missing, place, transfer
from nonlocal_tf.cloud.settings import OVERRIDES
from nonlocal_tf.errors import UserError

file = sys.modules[__name__]              # `mox.file.copy` is `mox.copy`


def read(url, client_id=None, binary=False):
    """The content of a file: a str, or bytes where `binary`."""
    with File(url, "rb" if binary else "r") as source:
        return source.read()


def write(url, data, binary=False):
    """Makes a file of `data`, in place of one that is there."""
    _make_local_parent(url)
    with File(url, "wb" if binary else "w") as target:
        target.write(data)


def append(url, data, binary=False):
    """Puts `data` at the end of a file, which is made if need be.

    In OBS this fetches and stores the whole object, and is no transaction.
    """
    _make_local_parent(url)
    with File(url, "ab" if binary else "a") as target:
        target.write(data)


def append_remote(src_url, dst_url):
    """Puts the content of `src_url` at the end of `dst_url`.

    Uncertain: the documentation can be read with the roles exchanged.
    """
    append(dst_url, read(src_url, binary=True), binary=True)


def copy(src_url, dst_url, client_id=None):
    """Copies one file, to a file of any name or into a folder.

    Uncertain: into a folder (one on this disk, or a URL that ends with "/")
    it keeps its name.

    Raises:
      MoxFileNotExistsException: there is no such file.
    """
    source = place(src_url)
    if not source.is_file():
        if source.is_directory():
            raise UserError("copy needs a file; {} is a folder. Use "
                            "copy_parallel.".format(source.url))
        raise missing(source.url)
    target = target_of(source, dst_url)
    target.make_parent()
    transfer(source, target)


def copy_parallel(src_url, dst_url, file_list=None,
                  threads=copying.THREADS, is_processing=True,
                  use_queue=True, **ignored):
    """Copies the contents of a folder directly under `dst_url`.

    `dst_url` is made if need be, what is there is replaced. A source that is
    missing or empty is a warning, "No files to copy"; one file is copied to
    the name `dst_url`. Every file appears whole. Threads are used whatever
    `is_processing` says; threads=0: one.

    Args:
      file_list: files relative to `src_url`; None: all, at any depth.
      threads: files at the same time.
    Raises:
      MoxFileNameDuplicateException: an object and a folder have one name;
        nothing has been written to the disk.
    """
    _name_ignored("copy_parallel", ignored)
    copying.copy_tree(src_url, dst_url, file_list, threads)


def exists(url):
    """Whether there is such a file or folder.

    Raises:
      MoxFileRespException: the bucket is missing, unless it alone is asked
        for, or the keys may not see it.
    """
    where = place(url)
    return where.is_file() or where.is_directory()


def is_directory(url):
    """Whether it is a folder."""
    return place(url).is_directory()


def stat(url):
    """.length in bytes, .mtime_nsec and .is_directory.

    Raises:
      MoxFileNotExistsException: there is no such file or folder.
    """
    return place(url).stat()


def get_size(url, recursive=False):
    """Bytes of a file; of a folder 0 unless `recursive`."""
    found = stat(url)
    if found.is_directory and recursive:
        return sum(item.length for item in place(url).tree())
    return found.length


def list_directory(url, recursive=False, remove_sep=True, skip_file=False,
                   skip_dir=False):
    """The names in a folder, relative to it.

    Uncertain: the last three. Here folders end with "/" where `remove_sep` is
    False, and files or folders can be left out.
    """
    items = _items(url, recursive)
    return [item.name + ("/" if item.is_directory and not remove_sep else "")
            for item in items
            if not (skip_dir if item.is_directory else skip_file)]


def glob(url):
    """The files and folders that match a pattern, as whole URLs."""
    where = place(url)
    if not where.is_remote:
        return sorted(_glob.glob(url))
    fixed = re.split(r"[*?\[]", where.key)[0]
    if fixed == where.key:
        return [where.url] if exists(url) else []
    base = place(where.url[:len(where.url) - len(where.key)]
                 + fixed.rpartition("/")[0])
    wanted = where.key[len(base.prefix):].split("/")
    return sorted(
        base.child(item.name).url for item in base.tree()
        if item.name.count("/") == len(wanted) - 1 and all(
            fnmatch.fnmatchcase(part, pattern)
            for part, pattern in zip(item.name.split("/"), wanted)))


def walk(url, topdown=True, onerror=None, followlinks=False):
    """As os.walk: (folder, names of folders, names of files) of each.

    In OBS `url` alone counts.
    """
    if not place(url).is_remote:
        yield from os.walk(url, topdown, onerror, followlinks)
        return
    items = list(place(url).items())
    if not items and not is_directory(url):
        return
    folders = [item.name for item in items if item.is_directory]
    yield (url, folders,
           [item.name for item in items if not item.is_directory])
    for name in folders:
        yield from walk(place(url).child(name).url)


class _Found(Item):
    """What `scan_dir` yields, in the manner of os.scandir."""

    def __init__(self, folder, item):
        super().__init__(item.name, item.is_directory, item.length)
        self.path = folder.child(item.name).url

    def is_dir(self):
        return self.is_directory

    def is_file(self):
        return not self.is_directory

    def stat(self):
        return stat(self.path)


def scan_dir(url):
    """Yields .name, .path, .is_dir(), .is_file() and .stat() of each."""
    for item in _items(url, False):
        yield _Found(place(url), item)


def make_dirs(url):
    """Makes a folder and those above it, unless they are there."""
    place(url).make_folder(parents=True)


def mk_dir(url):
    """Makes a folder.

    Raises:
      OSError: the one above it is not there.
    """
    place(url).make_folder(parents=False)


def remove(url, recursive=False):
    """Removes a file, or, where `recursive`, a folder with what is in it.

    A folder without `recursive`, and a file's name with "/" at its end, are
    left as they are, silently, as the documentation says.

    Raises:
      MoxFileNotExistsException: there is nothing (uncertain).
    """
    where, found = place(url), False
    if not str(url).endswith("/") and where.is_file():
        where.remove_file()
        found = True
    if recursive and where.is_directory():
        where.remove_tree()
        found = True
    if not found and not str(url).endswith("/") and not where.is_directory():
        raise missing(where.url)


def rename(src_url, dst_url):
    """Moves a file or a folder, also between a disk and OBS.

    Only from disk to disk it is done in one step; else what is copied whole
    is removed then, and nothing else.

    Raises:
      MoxFileNotExistsException: there is nothing.
      UserError: it would move into itself, or in part; nothing has moved.
    """
    move(src_url, dst_url)


def set_auth(ak=None, sk=None, server=None, port=None, is_secure=None,
             ssl_verify=None, long_conn_mode=None, path_style=None,
             retry=None, retry_wait=None, client_timeout=None,
             list_max_keys=None, **more):
    """Sets the connection, before the environment; None: as it is.

    Args:
      ak, sk: access key and secret key, together; `security_token=` with
        temporary ones.
      server, port: of the endpoint.
      path_style: True for a private cloud: http://endpoint/bucket.
      retry, retry_wait: further attempts, and seconds before the first.
      client_timeout: seconds.
    """
    known = {name: more.pop(name) for name in list(more) if name in OVERRIDES}
    _name_ignored("set_auth", more)
    connection.configure(
        ak=ak, sk=sk, server=server, port=port, is_secure=is_secure,
        ssl_verify=ssl_verify, long_conn_mode=long_conn_mode,
        path_style=path_style, retry=retry, retry_wait=retry_wait,
        client_timeout=client_timeout, list_max_keys=list_max_keys, **known)


def shift(*_):
    """Not here: moxing's patches Python's own functions for the process."""
    raise NotImplementedError(
        "shift changes open, os and shutil for the whole process, "
        "unreliably with threads. Copy the data with mox.file.copy_parallel, "
        "or call mox.file.File and its like where the files are used.")


def _items(url, recursive):
    where = place(url)
    if not where.is_directory():
        raise missing(where.url)
    items = where.tree() if recursive else where.items()
    return sorted(items, key=lambda item: item.name)


def _make_local_parent(url):
    place(url).make_parent()


def _name_ignored(function, arguments):
    if arguments:
        logging.warning("%s: ignored: %s", function,
                        ", ".join(sorted(arguments)))
