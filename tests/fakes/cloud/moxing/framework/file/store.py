"""obs://bucket/key as $FAKE_OBS_ROOT/bucket/key.

A store has objects, no folders: a folder is there while an object is below
it. make_dirs on OBS leaves an object of its own, MARK, that no list shows.
"""

import os

from moxing.framework.file.errors import MoxFakeError, MoxFileRespException

MARK = ".fake-folder-object"
SCHEMES = ("obs://", "s3://")


def is_remote(url):
    if not isinstance(url, str):
        raise TypeError("a url is a str, not {!r}".format(url))
    if not url:
        raise MoxFakeError("the url is empty")
    if "://" in url and not url.startswith(SCHEMES):
        raise MoxFakeError("{!r}: only obs:// and s3:// [5.1]".format(url))
    if url.startswith(("obs:", "s3:")) and "://" not in url:
        raise MoxFakeError("{!r}: two slashes [5.1]".format(url))
    return "://" in url


def path(url):
    """The local path behind a url, without a trailing slash."""
    if not is_remote(url):
        return url.rstrip("/") or "/"
    root = os.environ.get("FAKE_OBS_ROOT")
    if not root:
        raise MoxFakeError("set FAKE_OBS_ROOT, the folder of buckets")
    parts = url.split("://", 1)[1].split("/")
    if parts[-1] == "":
        parts.pop()
    if not parts or any(part in ("", ".", "..") for part in parts):
        raise MoxFakeError(
            "{!r}: an empty, . or .. part is another object".format(url))
    if not os.path.isdir(os.path.join(root, parts[0])):
        raise MoxFileRespException(
            "no bucket {!r}".format(parts[0]), {"status": 404})
    return os.path.join(root, *parts)


def is_folder(url):
    place = path(url)
    if not is_remote(url) or is_bucket(url):
        return os.path.isdir(place)
    return any(files for _, _, files in os.walk(place))


def is_bucket(url):
    return is_remote(url) and "/" not in url.split("://", 1)[1].rstrip("/")


def is_file(url):
    """With a trailing slash, a url never names a file."""
    return not url.endswith("/") and os.path.isfile(path(url))


def files(url, with_marks=False):
    """Names of the files below a folder, relative to it, sorted."""
    top, found = path(url), []
    for folder, _, names in os.walk(top):
        found += [os.path.relpath(os.path.join(folder, name), top)
                  for name in names if with_marks or name != MARK]
    return sorted(found)


def parent_for(url):
    """Makes what a new object needs above it; not on a local disk."""
    place = path(url)
    if url.endswith("/"):
        raise MoxFakeError("{!r} names a folder, not a file".format(url))
    if os.path.isdir(place) and is_folder(url):
        raise MoxFakeError("{!r} is a folder [5.3]".format(url))
    if is_remote(url):
        if is_bucket(url):
            raise MoxFakeError("{!r} is a bucket".format(url))
        _replace_empty(place)
        os.makedirs(os.path.dirname(place), exist_ok=True)
    return place


def _replace_empty(place):
    """Folders without objects do not exist in a store."""
    if os.path.isdir(place):
        for folder, _, _ in os.walk(place, topdown=False):
            os.rmdir(folder)
