"""Local files that appear whole or not at all.

A file is written beside its final place and appears there by rename, so that a
crash, a full disk or `kill -9` leaves the earlier file. Logs alone grow in
place. What is remote (obs://, s3://) is reached by `nonlocal_tf.remote`.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid

from nonlocal_tf.errors import UserError

PARTIAL = ".part"               # ending of a file that is being written
REMOTE = ("obs://", "s3://")


@contextlib.contextmanager
def replacing(path):
    """Yields a binary file to write and read; it then becomes `path`.

    Args:
      path: the final place; its folder must exist.
    Raises:
      OSError: the folder cannot be written or the disk is full; `path` is
        then as it was, and nothing is left beside it.
    """
    partial = _beside(path)
    file = open(partial, "x+b")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _beside(path):
    """A name that no other has, of 255 bytes at most as all names."""
    folder, name = os.path.split(path)
    return os.path.join(folder, "{}.{}{}".format(
        name[:50], uuid.uuid4().hex, PARTIAL))


@contextlib.contextmanager
def writing(path):
    """As `replacing`, with a UserError for an OSError."""
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise UserError(
            "{!r} must be written, but: {}. Free some space, mend the "
            "permissions or name another folder.".format(path, gist(error)))


@contextlib.contextmanager
def replacing_folder(path):
    """Yields a new folder to fill; it then takes the place of `path`.

    Raises:
      OSError: it cannot be made or filled; `path` is then as it was.
    """
    partial = _beside(path)
    os.mkdir(partial)
    try:
        yield partial
        if os.path.isdir(path):
            shutil.rmtree(path)
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path, text):
    """Writes `text` as UTF-8 to `path`, by rename.

    Names of files that are no UTF-8 are written as they are.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def begun(path, settings):
    """Whether work with these settings was begun; else they are kept there.

    Args:
      path: of a JSON file, which may have more than them.
      settings: name -> value.
    Raises:
      UserError: it was begun with others, or the file is something else.
    """
    if not os.path.exists(path):
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return False
    try:
        with open(path, encoding="utf-8") as file:
            before = dict(json.load(file))
    except (ValueError, TypeError):
        raise UserError("--output must be a folder of its own; {!r} is there "
                        "and not of this program. Name another.".format(path))
    others = [name for name, value in json.loads(json.dumps(settings)).items()
              if before.get(name) != value]
    if others:
        raise UserError(
            "{!r} has results of another {}. Remove that folder, or name "
            "another with --output.".format(
                os.path.dirname(path), " and ".join(others)))
    return True


def whole_records(path):
    """The records of a file of JSON lines, whose last may be cut short."""
    with open(path, "ab+") as file:
        file.seek(0)
        data = file.read()
        end = data.rfind(b"\n") + 1
        file.truncate(end)
    return list(map(json.loads, data[:end].decode("utf-8").splitlines()))


def check_space(folder, wanted, otherwise=""):
    """Refuses to write more bytes than a folder's disk has free.

    Args:
      otherwise: what else to do than to name another folder.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(
            "The files take {:,} bytes; {!r} has {:,} free. Name another "
            "--output{}.".format(wanted, folder, free, otherwise))


def sha256(path):
    """SHA-256 of a file, as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def sync(path):
    """Makes sure that the file's bytes are on the disk, not in a cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path, flag):
    """Creates the folder `path` if need be, and checks that it is writable.

    Args:
      path: a local folder.
      flag: the flag that named it, for the error.
    Raises:
      UserError: it is a file, or cannot be created or written.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            "{} must name a folder that can be written; {!r}: {}. Name "
            "another folder, or mend its permissions.".format(
                flag, path, gist(error)))


@contextlib.contextmanager
def locked(path):
    """One process at a time; the others wait.

    Args:
      path: of the lock's file, or of a folder that is there.
    """
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path)
                     else os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def only_run_in(folder):
    """Keeps a second run out of `folder`; the lock ends with the process.

    Raises:
      UserError: another process holds it.
    """
    try:
        file = open(os.path.join(folder, ".lock"), "a+")
    except OSError as error:
        raise UserError(
            "The lock of a run must be a file that can be written; {!r}: {}. "
            "Remove it, or name another folder.".format(
                os.path.join(folder, ".lock"), gist(error)))
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "Another run is writing to {!r}. Wait for its end, or give "
                "another folder.".format(folder))
        except OSError:
            pass                          # a file system without locks
        yield


def is_remote(url):
    """Whether it names a place in OBS and not a local folder."""
    return url.startswith(REMOTE)


def gist(error):
    """The cause that an error of the system or of TensorFlow names.

    TensorFlow 2 says first at which node, and where in the program that was
    made; several errors at once are counted first.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.split(r"(?m)^Node: .*$", str(
        getattr(error, "message", None) or error))[-1]
    lines = [line.strip() for line in text.split("\n") if not re.match(
        r"\s*$|Graph execution error:|\d+ root error", line)]
    return (lines or [type(error).__name__])[0][:200]


def is_full(error):
    """Whether a disk, a quota or a file's largest size was too small."""
    return any(getattr(error, "errno", None) == number
               or os.strerror(number) in str(error)
               for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
