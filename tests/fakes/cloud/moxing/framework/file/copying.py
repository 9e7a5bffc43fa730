"""copy, copy_parallel and rename."""

import logging
import os
import shutil

from moxing.framework.file import store
from moxing.framework.file.errors import (
    MoxFakeError,
    MoxFileNotExistsException,
)


def copy(src_url, dst_url, client_id=None):
    """One file."""
    if store.is_folder(src_url):
        raise MoxFakeError("copy is for a single file, {!r} is a "
                           "folder [5.2]".format(src_url))
    if not store.is_file(src_url):
        raise MoxFileNotExistsException(src_url)
    store.record("copy", src_url, dst_url)
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
    store.record("copy_parallel", src_url, dst_url)
    for name in names:
        if not os.path.isfile(os.path.join(source, name)):
            raise MoxFileNotExistsException(os.path.join(src_url, name))
        place = os.path.join(target, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copyfile(os.path.join(source, name), place)


def rename(src_url, dst_url):
    """Moves a file or a folder, also between a disk and OBS."""
    source = store.path(src_url)
    if store.is_file(src_url):
        copy(src_url, dst_url)
        os.remove(source)
    elif store.is_folder(src_url):
        if os.path.exists(store.path(dst_url)):
            raise MoxFakeError("{!r} is there already".format(dst_url))
        copy_parallel(src_url, dst_url)
        shutil.rmtree(source)
    else:
        raise MoxFileNotExistsException(src_url)
