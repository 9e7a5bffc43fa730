"""Files and folders that move, also between a disk and OBS.

Nothing is removed that was not copied: neither what arrives meanwhile nor what
a copy leaves out.
"""

import os
import shutil

from nonlocal_tf.cloud.copying import copy_tree
from nonlocal_tf.cloud.places import missing, place, transfer
from nonlocal_tf.errors import UserError


def move(src_url, dst_url):
    """Moves a file or a folder; only from disk to disk in one step.

    Raises:
      MoxFileNotExistsException: there is nothing.
      UserError: it would move into itself, or in part.
    """
    source, target = place(src_url), place(dst_url)
    if not source.is_remote and not target.is_remote:
        shutil.move(source.url, target.url)
    elif source.is_file():
        target = target_of(source, dst_url)
        if source.is_remote and target.is_remote and (
                source.bucket, source.key) == (target.bucket, target.key):
            raise _into_itself(source, target)
        target.make_parent()
        transfer(source, target)
        source.remove_file()
    elif source.is_directory():
        _move_folder(source, target)
    else:
        raise missing(source.url)


def target_of(source, dst_url):
    """Where a file goes: to `dst_url`, or into it where it is a folder.

    A folder is one on this disk, or what ends with a slash.
    """
    target = place(dst_url)
    if (target.is_directory() if not target.is_remote
            else target.only_folder) or target.url.endswith("/"):
        target = target.child(os.path.basename(source.url))
    return target


def _move_folder(source, target):
    source.check_removable()
    if source.is_remote and target.is_remote and (
            source.bucket == target.bucket
            and target.prefix.startswith(source.prefix)):
        raise _into_itself(source, target)
    items = copy_tree(source.url.rstrip("/") + "/", target.url, strict=True)
    if not items:
        target.make_folder(parents=True)
    source.remove_items(items)


def _into_itself(source, target):
    return UserError("{} cannot be moved to {}, which is the same or within "
                     "it.".format(source.url, target.url))
