"""One file from the first mirror that has it, checked, or not at all.

Proxies are those of the environment (`http_proxy`, `https_proxy`, `no_proxy`).
Not pooch 1.8.2 (its last for Python 3.7): one URL a file, no size, no speed.
"""

import hashlib
import http.client
import os
import time
import urllib.request

from absl import logging

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import masked
from nonlocal_tf.storage import gist, replacing

TIMEOUT_SECONDS = 30                                   # to connect, per read
# Pauses before the second and the third attempt at the same mirror.
RETRY_DELAYS = (1.0, 4.0)                              # seconds
# A mirror that drips more slowly than this, once TIMEOUT_SECONDS have gone
# by, is given up: no single read of it would ever time out.
SLOWEST_BYTES_PER_SECOND = 2000
_CHUNK = 1 << 16
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(Exception):
    """No mirror gave the file; the text says briefly why, mirror by mirror."""


class _PassingError(DownloadError):
    """A failure that another attempt at the same mirror may not meet."""


def fetch(file_name, sha256, size, mirrors, folder):
    """Downloads a file into `folder`, where it appears by rename.

    Each mirror gets up to three attempts where a failure may pass (a dropped
    connection, status 503), and one where it will not (404, other content).

    Args:
      file_name: its name on the mirrors and in `folder`.
      sha256, size: of its content, in hex and in bytes.
      mirrors: base URLs, in the order in which they are tried.
      folder: an existing local folder.
    Raises:
      DownloadError: no mirror gave it; nothing is left in `folder`.
      UserError: `folder` cannot be written.
    """
    path, reasons = os.path.join(folder, file_name), []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + file_name
        for delay in tuple(RETRY_DELAYS) + (None,):
            logging.info("Downloading %s (%.1f MB)", masked(url), size / 1e6)
            try:
                _fetch_once(url, sha256, size, path)
                return
            except DownloadError as error:
                reason = str(error)
                if delay is None or not isinstance(error, _PassingError):
                    break
                logging.warning(
                    "%s: %s; again in %g s", masked(url), reason, delay)
                time.sleep(delay)
        logging.warning("%s: %s; given up", masked(url), reason)
        reasons.append("{}: {}".format(mirror, reason))
    raise DownloadError(masked("; ".join(reasons)) or "no mirror is known")


def _fetch_once(url, sha256, size, path):
    digest, tenth = hashlib.sha256(), 0
    try:
        with replacing(path) as file:
            for chunk in _chunks(url, size):
                digest.update(chunk)
                file.write(chunk)
                if 10 * file.tell() // size > tenth:
                    tenth = 10 * file.tell() // size
                    logging.info("%s: %3d %% of %.1f MB", os.path.basename(
                        path), 10 * tenth, size / 1e6)
            if digest.hexdigest() != sha256:
                raise DownloadError(
                    "another file: SHA-256 {}... in place of {}...".format(
                        digest.hexdigest()[:12], sha256[:12]))
    except OSError as error:                           # not the network's
        raise UserError(
            "{!r} must be written, but: {}. Free some space, mend the "
            "permissions or name another folder with --data_url.".format(
                path, gist(error)))


def _chunks(url, size):
    """Yields the first `size` bytes as they arrive, or raises."""
    start, received = time.monotonic(), 0
    try:
        # An opener of its own: `urlopen` would keep the first call's proxies.
        with urllib.request.build_opener().open(
                url, timeout=TIMEOUT_SECONDS) as response:
            declared = response.headers.get("Content-Length", size)
            if int(declared) != size:
                raise DownloadError(
                    "another file, of {} bytes in place of {}".format(
                        declared, size))
            while received < size:
                # Not `read`: it would wait for all of them.
                chunk = response.read1(min(_CHUNK, size - received))
                received += len(chunk)
                if not chunk:
                    raise ConnectionError("the connection ended")
                seconds = time.monotonic() - start
                if (seconds > TIMEOUT_SECONDS
                        and received < seconds * SLOWEST_BYTES_PER_SECOND):
                    raise DownloadError("too slow: {} bytes in {:.0f} s".format(
                        received, seconds))
                yield chunk
    except (OSError, ValueError, http.client.HTTPException) as error:
        kind = (_PassingError if getattr(error, "code", 503) in _PASSING_STATUS
                else DownloadError)
        raise kind("{} ({} of {} bytes)".format(
            str(error) or repr(error), received, size))
