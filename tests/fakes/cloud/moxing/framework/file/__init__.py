"""moxing.file: parameters as in ascend.md 5.2, of what this project calls.

A name that is not here raises.
"""

import logging
import os
import shutil

from moxing.framework.file import store
from moxing.framework.file.errors import (
    MoxFakeError,
    MoxFileNotExistsException,
    MoxFileReadException,
)


def read(url, client_id=None, binary=False):
    if not store.is_file(url):
        raise MoxFileReadException(url)
    with open(store.path(url), "rb" if binary else "r") as file:
        return file.read()


def write(url, data, binary=False):
    with open(store.parent_for(url), "wb" if binary else "w") as file:
        file.write(data)


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


def list_directory(url, recursive=False):
    """Relative names; folders too."""
    if not store.is_folder(url):
        raise MoxFileNotExistsException(url)
    found = {}
    for name in store.files(url, with_marks=True):
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            found["/".join(parts[:count])] = count
    return sorted(name for name, count in found.items()
                  if os.path.basename(name) != store.MARK
                  and (recursive or count == 1))


def make_dirs(url):
    os.makedirs(store.path(url), exist_ok=True)
    if store.is_remote(url) and not store.is_bucket(url):
        open(os.path.join(store.path(url), store.MARK), "w").close()


def remove(url, recursive=False):
    """A folder only with recursive; without, nothing happens."""
    _need(url.rstrip("/"))
    if store.is_file(url):
        os.remove(store.path(url))
    elif store.is_folder(url) and recursive:
        shutil.rmtree(store.path(url))


def copy(src_url, dst_url, client_id=None):
    """One file."""
    if store.is_folder(src_url):
        raise MoxFakeError("copy is for a single file, {!r} is a "
                           "folder [5.2]".format(src_url))
    _need(src_url)
    shutil.copyfile(store.path(src_url), store.parent_for(dst_url))


def copy_parallel(src_url, dst_url, file_list=None, threads=16,
                  is_processing=True, use_queue=True):
    """The contents of a folder, into a folder that it makes."""
    source, target = store.path(src_url), store.path(dst_url)
    if store.is_file(src_url):
        copy(src_url, dst_url)
        return
    names = store.files(src_url) if file_list is None else list(file_list)
    if not store.is_folder(src_url) or not names:
        logging.warning("No files to copy: %s", src_url)
        return
    if os.path.isfile(target):
        raise MoxFakeError("{!r} is a file".format(dst_url))
    for name in names:
        _need(os.path.join(src_url, name))
        place = os.path.join(target, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copyfile(os.path.join(source, name), place)


def _need(url):
    if not exists(url):
        raise MoxFileNotExistsException(url)
