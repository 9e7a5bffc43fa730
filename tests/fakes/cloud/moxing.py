"""A strict fake of moxing: see tests/fakes/README.md.

Parameters as in ascend.md 5.2; a name or a keyword that is not here raises.
"""

import os
import re
import types

from nonlocal_tf import moxing_shim


def _place(url):
    """obs://bucket/key is $FAKE_OBS_ROOT/bucket/key, whose bucket exists."""
    if "://" not in url:
        return url
    match = re.match(r"(?:obs|s3)://([\w-]+)(/.*)?$", url)
    if not match or {"", ".", ".."} & set(
            (match.group(2) or "/x").strip("/").split("/")):
        raise ValueError("{!r} is no place in OBS [5.1]".format(url))
    bucket = os.path.join(os.environ["FAKE_OBS_ROOT"], match.group(1))
    if not os.path.isdir(bucket):
        raise RuntimeError("no bucket {!r}: status 404".format(bucket))
    return bucket + (match.group(2) or "")


def _read(url, client_id=None, binary=False):
    return moxing_shim.read(_place(url), binary=binary)


def _write(url, data, binary=False):
    moxing_shim.write(_place(url), data, binary)


def _list_directory(url, recursive=False):
    return moxing_shim.list_directory(_place(url), recursive)


def _remove(url, recursive=False):
    moxing_shim.remove(_place(url), recursive)


def _copy(src_url, dst_url, client_id=None):
    moxing_shim.copy(_place(src_url), _place(dst_url))


def _copy_parallel(src_url, dst_url, file_list=None, threads=16,
                   is_processing=True, use_queue=True):
    if is_processing:
        raise RuntimeError("a process that runs TensorFlow must not fork")
    moxing_shim.copy_parallel(
        _place(src_url), _place(dst_url), file_list, threads)


file = types.SimpleNamespace(
    read=_read, write=_write, list_directory=_list_directory, remove=_remove,
    copy=_copy, copy_parallel=_copy_parallel,
    exists=lambda url: moxing_shim.exists(_place(url)),
    is_directory=lambda url: moxing_shim.is_directory(_place(url)),
    stat=lambda url: moxing_shim.stat(_place(url)),
    make_dirs=lambda url: moxing_shim.make_dirs(_place(url)))
if os.environ.get("MOX_SILENT_MODE") != "1":
    raise RuntimeError("moxing prints two lines when it is imported")
