"""Files that appear whole or not at all, here and in OBS.

A file is written beside its final place and appears there by rename, so that a
crash, a full disk or `kill -9` leaves the earlier file. Logs alone grow in
place. What is remote (obs://, s3://) is reached by moxing.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import threading

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import masked

PARTIAL = ".part"               # ending of a file that is being written
REMOTE = ("obs://", "s3://")
_reading_umask = threading.Lock()


@contextlib.contextmanager
def replacing(path):
    """Yields a binary file to write and read; it then becomes `path`.

    Args:
      path: the final place; its folder must exist.
    Raises:
      OSError: the folder cannot be written or the disk is full; `path` is
        then as it was, and nothing is left beside it.
    """
    handle, partial = tempfile.mkstemp(
        prefix=_beginning(path), suffix=PARTIAL,
        dir=os.path.dirname(path) or ".")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o666 & ~_umask())           # mkstemp gives 0600
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _beginning(path):
    """Of a partial file's name, which may have 255 bytes in all."""
    name = os.path.basename(path)
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return name + "."


def _umask():
    with _reading_umask:                # two threads could leave it at 0
        umask = os.umask(0)
        os.umask(umask)
    return umask


@contextlib.contextmanager
def replacing_folder(path):
    """Yields a new folder to fill; it then takes the place of `path`.

    Raises:
      OSError: it cannot be made or filled; `path` is then as it was.
    """
    partial = tempfile.mkdtemp(
        prefix=_beginning(path), suffix=PARTIAL,
        dir=os.path.dirname(path) or ".")
    try:
        yield partial
        os.chmod(partial, 0o777 & ~_umask())           # mkdtemp gives 0700
        if os.path.isdir(path):
            shutil.rmtree(path)
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path, text):
    """Writes `text` as UTF-8 to `path`, by rename."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


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
                flag, path, error.strerror or error))


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
            "Remove it, or give another --train_url.".format(
                os.path.join(folder, ".lock"), error.strerror or error))
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "Another run is writing to {!r}. Wait for its end, or give "
                "another --train_url.".format(folder))
        except OSError:
            pass                          # a file system without locks
        yield


def is_remote(url):
    """Whether it names a place in OBS and not a local folder."""
    return url.startswith(REMOTE)


def join(url, *names):
    """A place below a remote folder; `url` with or without a last slash."""
    return "/".join((url.rstrip("/"),) + names)


def cloud():
    """`moxing.file`: the real one where it can be imported, else ours."""
    os.environ.setdefault("MOX_SILENT_MODE", "1")       # read at its import
    try:
        import moxing
    except ImportError:
        from nonlocal_tf import moxing_shim as moxing
    return moxing.file


@contextlib.contextmanager
def reaching(url):
    """Makes what moxing raises within one line of a `UserError`.

    moxing's own errors have no common class, and their texts may hold more
    than they should.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(
                "The disk for --cache_dir is full; {} needs more ({}). Name "
                "another folder, or free some space.".format(url, error))
        raise _unreachable(url, error)
    except Exception as error:
        raise _unreachable(url, error)


def _unreachable(url, error):
    text = masked(str(error) or type(error).__name__)
    if "://" not in text:
        text = "{} cannot be read or written: {}".format(masked(url), text)
    return UserError(text[:600])


def gist(error):
    """The line of an error of TensorFlow or the system that says most."""
    text = str(getattr(error, "message", None) or error)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    telling = [line for line in lines if "No space left" in line] or [
        line for line in lines if line != "Graph execution error:"]
    return (telling or [type(error).__name__])[0][:200]
