"""One file from the first mirror that has it, checked, or not at all.

Proxies are those of the environment (`http_proxy`, `https_proxy`, `no_proxy`).
"""

import contextlib
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request

from absl import logging

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import masked
from nonlocal_tf.storage import replacing

TIMEOUT_SECONDS = 30                                   # to connect, per read
# Pauses before the second and the third attempt at the same mirror.
RETRY_DELAYS = (1.0, 4.0)                              # seconds
# A mirror that drips more slowly than this, once TIMEOUT_SECONDS have gone
# by, is given up: no single read of it would ever time out.
SLOWEST_BYTES_PER_SECOND = 2000
_CHUNK = 1 << 16
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(Exception):
    """No mirror gave the file; the text says briefly why, mirror by mirror."""


class _MirrorError(Exception):
    """One attempt failed; `transient` says whether another may succeed."""

    def __init__(self, reason, transient):
        super().__init__(" ".join(str(reason).split())[:120])
        self.transient = transient


def fetch(file_name, sha256, size, mirrors, folder):
    """Downloads a file into `folder`, where it appears by rename.

    Each mirror gets up to three attempts where a failure may pass (a dropped
    connection, status 503), and one where it will not (404, other content).

    Args:
      file_name: its name on the mirrors and in `folder`.
      sha256: of its content, in hex.
      size: in bytes.
      mirrors: base URLs, in the order in which they are tried.
      folder: an existing local folder.
    Returns:
      The path of the file.
    Raises:
      DownloadError: no mirror gave it; nothing is left in `folder`.
      UserError: `folder` cannot be written.
    """
    path = os.path.join(folder, file_name)
    reasons = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + file_name
        for delay in tuple(RETRY_DELAYS) + (None,):
            logging.info("Downloading %s (%.1f MB)", masked(url),
                         size / 1e6)
            try:
                _fetch_once(url, sha256, size, path)
                return path
            except _MirrorError as failure:
                reason = str(failure)
                if not failure.transient or delay is None:
                    break
                logging.warning("%s: %s; again in %g s", masked(url), reason,
                                delay)
                time.sleep(delay)
        logging.warning("%s: %s; given up", masked(url), reason)
        reasons.append("{}: {}".format(mirror, reason))
    raise DownloadError(masked("; ".join(reasons)) or "no mirror is known")


def _fetch_once(url, sha256, size, path):
    with contextlib.closing(_open(url)) as response:
        declared = response.headers.get("Content-Length")
        if declared is not None and declared.strip() != str(size):
            raise _MirrorError(
                "another file, of {} bytes in place of {}".format(
                    declared, size), transient=False)
        try:
            with replacing(path) as file:
                _copy(response, file, sha256, size)
        except OSError as error:                       # not the network's
            raise UserError(
                "{!r} must be written, but: {}. Free some space, mend the "
                "permissions or name another folder with --data_url.".format(
                    path, error.strerror or error))


def _open(url):
    try:
        # An opener of its own: `urlopen` would keep the first call's proxies.
        return urllib.request.build_opener().open(url, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            raise _MirrorError("HTTP status {} {}".format(
                error.code, error.reason), error.code in _TRANSIENT_STATUS)
    except (ValueError, http.client.InvalidURL) as error:
        raise _MirrorError(error, transient=False)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or repr(error)
        # urllib's own refusals, e.g. an unknown scheme, come as text.
        known = isinstance(error, urllib.error.URLError)
        raise _MirrorError(
            reason, transient=not (known and isinstance(reason, str)))


def _copy(response, file, sha256, size):
    """Copies exactly `size` bytes with the given SHA-256, or raises."""
    digest, received = hashlib.sha256(), 0
    progress = _Progress(os.path.basename(response.geturl()), size)
    for chunk in _chunks(response, size):
        digest.update(chunk)
        received += len(chunk)
        if received > size:
            raise _MirrorError(
                "another file, of more than {} bytes".format(size),
                transient=False)
        file.write(chunk)
        progress.update(received)
    if received < size:
        raise _MirrorError("the connection ended after {} of {} bytes".format(
            received, size), transient=True)
    if digest.hexdigest() != sha256:
        raise _MirrorError(
            "another file: SHA-256 {}... in place of {}...".format(
                digest.hexdigest()[:12], sha256[:12]), transient=False)


def _chunks(response, size):
    """Yields what arrives, as it arrives, up to one byte more than `size`."""
    # A server that declared the length may keep the connection open after it.
    end = size + (response.headers.get("Content-Length") is None)
    start, received = time.monotonic(), 0
    while received < end:
        try:
            chunk = response.read1(min(_CHUNK, end - received))
        except (OSError, http.client.HTTPException) as error:
            raise _MirrorError(
                "{!r} after {} of {} bytes".format(error, received, size),
                transient=True)
        if not chunk:
            return
        received += len(chunk)
        seconds = time.monotonic() - start
        if (seconds > TIMEOUT_SECONDS
                and received < seconds * SLOWEST_BYTES_PER_SECOND):
            raise _MirrorError("too slow: {} bytes in {:.0f} s".format(
                received, seconds), transient=False)
        yield chunk


class _Progress:
    """A line that moves in a terminal; a log line every tenth elsewhere."""

    def __init__(self, name, size):
        self._name, self._size, self._percent = name, size, 0

    def update(self, received):
        step = 1 if sys.stderr.isatty() else 10
        percent = 100 * received // self._size // step * step
        if percent == self._percent:
            return
        self._percent = percent
        text = "{}: {:3d} % of {:.1f} MB".format(
            self._name, percent, self._size / 1e6)
        if step == 1:
            sys.stderr.write("\r" + text + ("\n" if percent == 100 else ""))
            sys.stderr.flush()
        else:
            logging.info("%s", text)
