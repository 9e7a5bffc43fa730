"""Files and folders by URL, on a disk and in OBS alike."""

import concurrent.futures
import contextlib
import errno
import os
import re
import shutil
import stat as status_bits

from absl import logging

from nonlocal_tf.cloud import connection, objects
from nonlocal_tf.cloud.errors import MoxFileNotExistsException
from nonlocal_tf.cloud.retry import unwatched
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import REMOTE, replacing

_CHUNK = 1 << 20


def place(url):
    """The `ObsPlace` or `LocalPlace` of a URL or path."""
    url = os.fsdecode(url)
    for scheme in REMOTE:
        if url.lower().startswith(scheme):
            return ObsPlace(scheme, url[len(scheme):])
    if not url:
        raise UserError("A path or obs:// URL must not be empty.")
    if re.match(r"(?i)(obs|s3):|[a-z][a-z0-9+.-]*://", url):
        raise UserError("{!r} must be a path, or begin with obs:// or s3:// "
                        "(a string: pathlib drops a slash).".format(url))
    return LocalPlace(url)


class Item:
    """What lies in a folder.

    Attributes:
      name: relative to the folder, parts separated by "/".
      is_directory: whether it is a folder.
      length: in bytes; 0 for a folder.
      is_marker: a folder for which there is an object, name + "/".
    """

    def __init__(self, name, is_directory, length=0, is_marker=False):
        self.name, self.is_directory = name, is_directory
        self.length, self.is_marker = length, is_marker


class Stat:
    """What `stat` answers: length in bytes, mtime_nsec, is_directory."""

    def __init__(self, length, mtime_nsec, is_directory):
        self.length, self.mtime_nsec = length, mtime_nsec
        self.is_directory = is_directory


class LocalPlace:
    """A path on this machine."""

    is_remote = False

    def __init__(self, path):
        self.url = path

    def child(self, name):
        return LocalPlace(os.path.join(self.url, *name.split("/")))

    def is_file(self):
        return os.path.exists(self.url) and not os.path.isdir(self.url)

    def is_directory(self):
        return os.path.isdir(self.url)

    def stat(self):
        try:
            status = os.stat(self.url)
        except (FileNotFoundError, NotADirectoryError):
            raise missing(self.url)
        is_directory = os.path.isdir(self.url)
        return Stat(0 if is_directory else status.st_size,
                    status.st_mtime_ns, is_directory)

    def items(self, strict=False):
        """The `Item`s directly in this folder, by name."""
        for name in sorted(os.listdir(self.url)):
            path = os.path.join(self.url, name)
            try:
                mode = os.stat(path)
            except FileNotFoundError:
                _leave_out(path, "it leads nowhere", strict)
                continue
            if status_bits.S_ISDIR(mode.st_mode):
                yield Item(name, True)
            elif status_bits.S_ISREG(mode.st_mode):
                yield Item(name, False, mode.st_size)
            else:
                _leave_out(path, "it is no file", strict)

    def tree(self, strict=False, above=()):
        """The `Item`s at any depth; links are followed, never in a circle.

        Raises:
          UserError: something is left out, and `strict`.
        """
        real = os.path.realpath(self.url)
        if real in above:
            _leave_out(self.url, "it leads back", strict)
            return
        for item in self.items(strict):
            yield item
            if item.is_directory:
                for below in self.child(item.name).tree(
                        strict, above + (real,)):
                    yield Item(item.name + "/" + below.name,
                               below.is_directory, below.length)

    def make_folder(self, parents):
        if parents:
            os.makedirs(self.url, exist_ok=True)
        elif not os.path.isdir(self.url):
            os.mkdir(self.url)

    def make_parent(self):
        os.makedirs(os.path.dirname(os.path.abspath(self.url)), exist_ok=True)

    def remove_file(self):
        os.remove(self.url)

    def check_removable(self):
        if os.path.islink(self.url.rstrip("/")):
            raise UserError("{!r} is a link; remove it by itself.".format(
                self.url))

    def remove_tree(self):
        self.check_removable()
        shutil.rmtree(self.url)

    def remove_items(self, items):
        """Removes these of `tree`, and folders that are empty thereby.

        What links lead to stays.
        """
        links = tuple(item.name + "/" for item in items if os.path.islink(
            self.child(item.name).url))
        for item in sorted(items, key=lambda item: item.name, reverse=True):
            path = self.child(item.name).url
            if item.name.startswith(links):
                continue
            if item.is_directory and not os.path.islink(path):
                _remove_empty(path)
            else:
                os.remove(path)
        _remove_empty(self.url)


class ObsPlace:
    """obs://bucket/key; a folder where other keys begin with key + "/".

    Repeated slashes count as one, as scripts join URLs carelessly.
    """

    is_remote = True

    def __init__(self, scheme, rest):
        bucket, *parts = rest.split("/")
        if not bucket or "@" in bucket:
            raise UserError("{} must be followed by a bucket's name, as in "
                            "obs://bucket/folder.".format(scheme))
        self.bucket = bucket
        self.key = "/".join(part for part in parts if part)
        try:
            self.key.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError("{!a} is no UTF-8, as names in OBS must be. Rename "
                            "it.".format(self.key))
        self.only_folder = not self.key or not parts[-1]
        self.url = scheme + bucket + "/" + self.key

    @property
    def prefix(self):
        """How the keys in this folder begin."""
        return self.key + "/" if self.key else ""

    def child(self, name):
        return ObsPlace(self.url[:self.url.index("//") + 2],
                        "{}/{}{}".format(self.bucket, self.prefix, name))

    def _entry(self):
        if self.only_folder:
            return None
        return connection.connect().head(self.bucket, self.key)

    def is_file(self):
        return self._entry() is not None

    def is_directory(self):
        client = connection.connect()
        if not self.key:
            return client.bucket_exists(self.bucket)
        return any(client.list(self.bucket, self.prefix, limit=1))

    def stat(self):
        entry = self._entry()
        if entry is not None:
            return Stat(entry.size, entry.mtime_nsec or 0, False)
        if not self.is_directory():
            raise missing(self.url)
        marker = self.key and connection.connect().head(
            self.bucket, self.prefix)
        return Stat(0, marker.mtime_nsec or 0 if marker else 0, True)

    def items(self):
        """The `Item`s directly in this folder, by name."""
        for entry in connection.connect().list(
                self.bucket, self.prefix, delimiter="/"):
            name = entry.key[len(self.prefix):].rstrip("/")
            if name:
                yield Item(name, entry.size is None, entry.size or 0)

    def tree(self, strict=False):
        """The `Item`s at any depth.

        Raises:
          UserError: something is left out, and `strict`.
        """
        folders = set()
        for entry in connection.connect().list(self.bucket, self.prefix):
            name = entry.key[len(self.prefix):]
            parts = name.split("/")
            if entry.size and not parts[-1]:
                _leave_out("obs://{}/{}".format(self.bucket, entry.key),
                           "it is a folder's name, but has content", strict)
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder and folder not in folders:
                    folders.add(folder)
                    # A marker is the first of all keys that begin so.
                    yield Item(folder, True, is_marker=name == folder + "/")
            if parts[-1]:
                yield Item(name, False, entry.size)

    def make_folder(self, parents):
        client = connection.connect()
        if not self.key:
            if not client.bucket_exists(self.bucket):
                raise missing(self.url)
            return
        above = self.key.rpartition("/")[0]
        if not parents and above and not ObsPlace(
                "obs://", self.bucket + "/" + above).is_directory():
            raise missing("obs://{}/{}".format(self.bucket, above))
        if not self.is_directory():
            objects.put_file(os.devnull, self.bucket, self.prefix)

    def make_parent(self):
        """Nothing: a key needs no folder."""

    def remove_file(self):
        self._delete([self.key])

    def check_removable(self):
        if not self.key:
            raise UserError("{} is a whole bucket, which is not removed. "
                            "Name a folder in it.".format(self.url))

    def remove_tree(self):
        self.check_removable()
        self._delete([entry.key for entry in connection.connect().list(
            self.bucket, self.prefix)])

    def remove_items(self, items):
        """Removes these of `tree`, and this folder's own marker."""
        keys = [self.prefix + item.name + "/" * item.is_directory
                for item in items if item.is_marker or not item.is_directory]
        own = connection.connect().head(self.bucket, self.prefix)
        if own is not None and not own.size:
            keys.append(self.prefix)
        self._delete(keys)

    def _delete(self, keys):
        client = connection.connect()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda key: client.call(
                    "DELETE", self.bucket, key, "deleteObject", self.bucket,
                    key), keys):
                pass


def _leave_out(path, reason, strict):
    if strict:
        raise UserError("{!r} cannot be moved: {}. Remove it first; nothing "
                        "was moved.".format(path, reason))
    logging.warning("%s is left out: %s", path, reason)


def _remove_empty(path):
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        logging.warning("%s stays: something has been added to it", path)


def missing(url):
    """The exception for what is not there."""
    return MoxFileNotExistsException(
        "{}: there is no such file or folder. Check the name.".format(url))


def transfer(source, target, progress=unwatched):
    """Copies one file from place to place; it appears there whole.

    Args:
      source: the place of a file.
      target: a place whose folder exists.
      progress: as in `objects.put_file`.
    """
    if source.is_remote and target.is_remote:
        objects.copy_object(
            source.bucket, source.key, target.bucket, target.key, progress)
    elif source.is_remote:
        objects.get_file(
            source.bucket, source.key, target.url, progress)
    elif target.is_remote:
        objects.put_file(
            source.url, target.bucket, target.key, progress)
    else:
        with contextlib.closing(open(source.url, "rb")) as file:
            with replacing(target.url) as copy:
                for data in iter(lambda: file.read(_CHUNK), b""):
                    copy.write(data)
                    progress(len(data))
