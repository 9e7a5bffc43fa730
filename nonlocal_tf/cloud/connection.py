"""Objects in OBS: single requests, each tried again where that may help.

With `objects` the only user of Huawei's SDK, which `sdk` makes.
"""

import base64
import contextlib
import email.utils
import os
import threading

from nonlocal_tf.cloud.errors import (
    MoxFileReadException,
    ObsError,
    StoppedError,
    TransientError,
    failed,
    refused,
)
from nonlocal_tf.cloud.retry import retried, unwatched
from nonlocal_tf.cloud.sdk import CHUNK, make_sdk
from nonlocal_tf.cloud.settings import NAMES, Settings
from nonlocal_tf.errors import UserError

_lock = threading.Lock()
_overrides = {}
_current = (None, None)                   # what it was made from, the client


def connect():
    """The client for the environment and `configure`, made once.

    Raises:
      UserError: the endpoint, the keys or the SDK are missing.
    """
    global _current
    with _lock:
        wanted = (tuple(map(os.environ.get, NAMES)), dict(_overrides))
        if _current[0] != wanted:
            _current = (wanted, Client(Settings(os.environ, _overrides)))
        return _current[1]


def configure(**overrides):
    """Sets what goes before the environment (`OVERRIDES`); None: as before."""
    with _lock:
        _overrides.update({name: value for name, value in overrides.items()
                           if value is not None})


def reset():
    """Forgets `configure` and the client."""
    global _current
    with _lock:
        _overrides.clear()
        _current = (None, None)


class Entry:
    """An object, or a folder where `size` is None.

    Attributes:
      key: its name; a folder's ends with "/".
      size: in bytes.
      etag: without quotes.
      mtime_nsec: of its last change, or None.
      md5: in hex, where the ETag is one: an object in one piece, not
        encrypted with keys of KMS or the client, nor appended to.
    """

    def __init__(self, key, size=None, etag="", mtime_nsec=None, plain=False):
        self.key, self.size, self.mtime_nsec = key, size, mtime_nsec
        self.etag = (etag or "").strip('"')
        self.md5 = self.etag if plain and len(self.etag) == 32 and set(
            self.etag) <= set("0123456789abcdef") else None


class Client:
    """Requests to one endpoint with one pair of keys; safe for threads.

    Every method raises `ObsError` in one line without credentials, and passes
    OSErrors of this machine (a full disk) on untouched.
    """

    def __init__(self, settings):
        self._settings = settings
        self._sdk = make_sdk(settings)

    def __repr__(self):
        return "Client({!r})".format(self._settings.url)

    def url(self, bucket, key=""):
        """obs://bucket/key at https://endpoint, for messages."""
        return self._settings.mask("obs://{}/{} at {}".format(
            bucket, key, self._settings.url))

    def retried(self, what, attempt, progress=unwatched, most=None):
        """As `retry.retried`, with this client's settings."""
        return retried(what, attempt, self._settings, progress, most)

    @contextlib.contextmanager
    def translated(self, what):
        """Turns what the SDK and the network raise into one line."""
        try:
            yield
        except (ObsError, UserError, TransientError, StoppedError):
            raise
        except Exception as error:
            failure = failed(error, what, self._settings.mask)
            if failure is error:
                raise
            raise failure from None                     # may hold secrets

    def call(self, verb, bucket, key, method, *arguments, **named):
        """Calls `method` of the SDK until it answers below 300.

        Args:
          verb: such as "GET", for messages.
          bucket: named in messages.
          key: named in messages.
          method: the name of the SDK's function, then its arguments.
          needs_body, needs_etag: as in `once`.
          progress, most: as in `retry.retried`.
          failures: a list that gets each failure of a request that went out.
        Returns:
          The SDK's result.
        """
        needs = {name: named.pop(name, False)
                 for name in ("needs_body", "needs_etag")}
        progress, most = named.pop("progress", unwatched), named.pop(
            "most", None)
        failures = named.pop("failures", [])
        what = "{} {}".format(verb, self.url(bucket, key))

        def attempt():
            try:
                return self.once(what, lambda: getattr(self._sdk, method)(
                    *arguments, **named), **needs)
            except TransientError as failure:
                if not failure.unreached:
                    failures.append(failure)
                raise

        return self.retried(what, attempt, progress, most)

    def once(self, what, send, needs_body=False, needs_etag=False):
        """One request.

        Args:
          what: for messages.
          send: sends it.
          needs_body: an answer without one was cut off.
          needs_etag: one without ETag tells of an error, whatever its status,
            as copies and joined parts of S3 do.
        """
        with self.translated(what):
            result = send()
            if result.status >= 300:
                raise refused(result, what, self._settings.mask)
            if (needs_body or needs_etag) and result.body is None:
                raise self.unlike(what, "the answer is cut off")
            if needs_etag and not result.body.etag:
                raise TransientError("an error in the answer", ObsError(
                    "{}: the storage could not do it, also when tried again. "
                    "Try again later.".format(what)))
            return result

    def unlike(self, what, reason):
        """The `TransientError` for what arrived and is not what was stored."""
        return TransientError(reason, MoxFileReadException(
            "{}: {}, also when tried again. Check the network and the "
            "object.".format(what, reason)))

    def head(self, bucket, key):
        """The `Entry` of an object, or None where there is none."""
        try:
            result = self.call("HEAD", bucket, key, "getObjectMetadata",
                               bucket, key)
        except ObsError as error:
            resp = getattr(error, "resp", None)
            if resp is not None and resp.status == 404:
                return None
            if resp is not None and not resp.errorCode:
                # The answer to HEAD has no body, so no code; this one has.
                self.call("GET", bucket, key, "listObjects", bucket,
                          prefix=key, max_keys=1)
            raise
        body = result.body
        encryption = (body.sseKms, body.sseC)
        return Entry(
            key, body.contentLength or 0, body.etag,
            _nanoseconds(body.lastModified),
            plain=not any(kind and kind != "AES256" for kind in encryption)
            and not body.isAppendable and not body.sseC)

    def bucket_exists(self, bucket):
        """Whether there is such a bucket."""
        try:
            self.call("GET", bucket, "", "listObjects", bucket, max_keys=1)
        except ObsError as error:
            resp = getattr(error, "resp", None)
            if resp is not None and resp.status == 404:
                return False
            raise
        return True

    def list(self, bucket, prefix="", delimiter=None, limit=None):
        """Yields the entries whose keys begin with `prefix`, in pages.

        Args:
          bucket: its name.
          prefix: beginning of the keys.
          delimiter: "/" for direct children alone, with folders.
          limit: at most so many.
        """
        marker, page = None, min(limit or 1000, self._settings.page)
        while True:
            body = self.call(
                "LIST", bucket, prefix, "listObjects", bucket, prefix=prefix,
                marker=marker, max_keys=page, delimiter=delimiter,
                needs_body=True).body
            entries = [Entry(item.key, item.size, item.etag)
                       for item in body.contents or ()]
            entries += [Entry(item.prefix)
                        for item in body.commonPrefixs or ()]
            for entry in sorted(entries, key=lambda entry: entry.key)[:limit]:
                yield entry
            if not body.is_truncated or not entries or limit:
                return
            marker = body.next_marker or max(entry.key for entry in entries)

    def put(self, what, bucket, key, open_body, size, md5, upload=None):
        """Sends an object or a part of one, once.

        Args:
          what: for messages.
          bucket: its name.
          key: of the object.
          open_body: makes a file-like object of `size` bytes.
          size: in bytes.
          md5: of these bytes, as a digest.
          upload: (number, identifier) of a part; None: a whole object.
        Returns:
          The ETag.
        Raises:
          TransientError: another attempt may succeed.
        """
        encoded = base64.b64encode(md5).decode("ascii")
        with contextlib.closing(open_body()) as body:
            if upload is None:
                from obs import PutObjectHeader
                header = PutObjectHeader(md5=encoded, contentLength=size)
                result = self.once(what, lambda: self._sdk.putContent(
                    bucket, key, body, headers=header), needs_body=True)
            else:
                result = self.once(what, lambda: self._sdk.uploadPart(
                    bucket, key, upload[0], upload[1], content=body,
                    partSize=size, md5=encoded), needs_body=True)
        answer = result.body
        entry = Entry(key, size, answer.etag, plain=not answer.sseKms
                      and not answer.sseC)
        if entry.md5 and entry.md5 != md5.hex():
            raise self.unlike(what, "the ETag {} is not the MD5 {}".format(
                entry.md5, md5.hex()))
        return entry.etag

    def get(self, what, bucket, entry, write, first=0, last=None):
        """Receives bytes `first` to `last` of an object, once.

        Args:
          what: for messages.
          bucket: its name.
          entry: the object's, from `head`: another one by now is an error.
          write: called with each piece; what it raises passes untouched.
          first, last: inclusive; last None: all of it.
        Raises:
          TransientError: another attempt may succeed.
        """
        from obs import GetObjectHeader
        header = GetObjectHeader(if_match=entry.etag or None)
        if last is not None:
            header.range = "{}-{}".format(first, last)
        result = self.once(what, lambda: self._sdk.getObject(
            bucket, entry.key, headers=header), needs_body=True)
        expected = entry.size if last is None else last - first + 1
        response, received = result.body.response, 0
        with contextlib.closing(response):
            while True:
                with self.translated(what):
                    piece = response.read(CHUNK)
                received += len(piece)
                if not piece or received > expected:
                    break
                write(piece)
        if received != expected:
            raise self.unlike(what, "{} bytes in place of {}".format(
                received, expected))


def _nanoseconds(date):
    """Nanoseconds since 1970 of an HTTP date, or None."""
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError):
        return None
    return int(moment.timestamp()) * 10 ** 9
