"""Folders in OBS, by moxing or by what stands for it."""

import contextlib
import os

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import masked
from nonlocal_tf.storage import gist, is_full


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
    except Exception as error:
        if is_full(error):
            raise UserError(
                "The disk for --cache_dir is full; {} needs more ({}). Name "
                "another folder, or free some space.".format(
                    url, gist(error)))
        text = masked(str(error) or type(error).__name__)
        if "://" not in text:
            text = "{} cannot be read or written: {}".format(
                masked(url), text)
        raise UserError(text[:600])
