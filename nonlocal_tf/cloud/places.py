"""Files and folders by URL, on a disk and in OBS alike."""

import concurrent.futures
import contextlib
import os
import shutil
import stat as status_bits

from absl import logging

from nonlocal_tf.cloud import connection, objects
from nonlocal_tf.cloud.errors import MoxFileNotExistsException
from nonlocal_tf.cloud.retry import unwatched
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import replacing

REMOTE = ("obs://", "s3://")
_CHUNK = 1 << 20


def place(url):
    """The `ObsPlace` or `LocalPlace` of a URL or path."""
    url = os.fspath(url)
    for scheme in REMOTE:
        if url.lower().startswith(scheme):
            return ObsPlace(scheme, url[len(scheme):])
    if not url:
        raise UserError("A path or obs:// URL must not be empty.")
    return LocalPlace(url)


class Item:
    """What lies in a folder.

    Attributes:
      name: relative to the folder, parts separated by "/".
      is_directory: whether it is a folder.
      length: in bytes; 0 for a folder.
    """

    def __init__(self, name, is_directory, length=0):
        self.name, self.is_directory = name, is_directory
        self.length = length


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

    def items(self):
        """The `Item`s directly in this folder, by name."""
        for name in sorted(os.listdir(self.url)):
            path = os.path.join(self.url, name)
            try:
                mode = os.stat(path)
            except OSError as error:
                logging.warning("%s is left out: %s", path, error.strerror)
                continue
            if status_bits.S_ISDIR(mode.st_mode):
                yield Item(name, True)
            elif status_bits.S_ISREG(mode.st_mode):
                yield Item(name, False, mode.st_size)
            else:
                logging.warning("%s is left out: it is no file", path)

    def tree(self, above=()):
        """The `Item`s at any depth; links are followed, never in a circle."""
        real = os.path.realpath(self.url)
        if real in above:
            logging.warning("%s is left out: it leads back", self.url)
            return
        for item in self.items():
            yield item
            if item.is_directory:
                for below in self.child(item.name).tree(above + (real,)):
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

    def remove_tree(self):
        if os.path.islink(self.url):
            raise UserError("{!r} is a link; remove it by itself.".format(
                self.url))
        shutil.rmtree(self.url)


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

    def tree(self):
        """The `Item`s at any depth."""
        folders = set()
        for entry in connection.connect().list(self.bucket, self.prefix):
            name = entry.key[len(self.prefix):]
            parts = name.split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder and folder not in folders:
                    folders.add(folder)
                    yield Item(folder, True)
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
        connection.connect().call(
            "DELETE", self.bucket, self.key, "deleteObject", self.bucket,
            self.key)

    def remove_tree(self):
        if not self.key:
            raise UserError("{} is a whole bucket, which is not removed. "
                            "Name a folder in it.".format(self.url))
        client = connection.connect()
        keys = [entry.key for entry in client.list(self.bucket, self.prefix)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda key: client.call(
                    "DELETE", self.bucket, key, "deleteObject", self.bucket,
                    key), keys):
                pass


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
            source.bucket, source.key, target.bucket, target.key)
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
