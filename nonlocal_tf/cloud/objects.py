"""Objects in OBS: listed, and whole files there and back, checked.

What is large goes in parts, side by side; a part that fails is sent or fetched
again by itself. An object's ETag is its MD5; that of one in N parts is the MD5
of their MD5s, and "-N". Where it is encrypted by KMS or with keys of the
client, or was appended to, the ETag says nothing and sizes alone are compared.

`stop` is an Event that ends a transfer, also within a part.
"""

import base64
import concurrent.futures
import contextlib
import hashlib
import io
import mmap
import os
import re

from absl import logging

from nonlocal_tf.cloud.client import (
    FEW_RETRIES,
    MoxFileNotExistsException,
    MoxFileReadException,
    MoxFileRespException,
    StoppedError,
    connect,
)
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import replacing

PART_THREADS = 4                          # of one file
MOST_PARTS = 10000                        # of one object, in OBS and S3
_LONGEST_READ = 2 ** 31 - 4096            # bytes of one pread on Linux
# What other programs cut objects into, in MiB or MB.
_USUAL_PARTS = tuple(range(5, 17)) + (
    20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 80, 96, 100, 128, 200, 256, 500,
    512, 1000, 1024, 2048, 5000, 5120)


def part_bytes(size):
    """The length of each part but the last of a file of `size` bytes."""
    name = "MOX_FILE_LARGE_FILE_PART_SIZE"
    text = os.environ.get(name) or str(10 << 20)
    if not text.strip().isdecimal() or not 1 <= int(text) <= _LONGEST_READ:
        raise UserError("{} must be a whole number from 1 to {}; got {!r}. "
                        "Leave it out for 10 MiB.".format(
                            name, _LONGEST_READ, text))
    return max(int(text), -(-size // MOST_PARTS))


def list_keys(bucket, prefix="", delimiter="", limit=None):
    """Yields the keys that begin with `prefix`, at most `limit`.

    With the delimiter "/": direct children alone, and folders (key + "/").
    """
    marker = ""
    while True:
        answer = connect().call(
            "LIST", "list_objects", bucket, prefix, needs="Name",
            Prefix=prefix, Marker=marker, MaxKeys=limit or 1000,
            Delimiter=delimiter)
        keys = sorted([each["Key"] for each in answer.get("Contents", ())] + [
            each["Prefix"] for each in answer.get("CommonPrefixes", ())])
        yield from keys
        if limit or not keys or not answer.get("IsTruncated"):
            return
        marker = answer.get("NextMarker") or keys[-1]


def head(bucket, key):
    """botocore's answer to HEAD, or None where there is no such object."""
    try:
        return connect().call("HEAD", "head_object", bucket, key, Key=key)
    except MoxFileRespException as error:
        if error.resp.status == 404:
            return None
        # The answer to HEAD has no body, so no code; this one has.
        list(list_keys(bucket, key, limit=1))
        raise


def remove(bucket, keys, stop):
    """Removes objects."""
    together([lambda key=key: connect().call(
        "DELETE", "delete_object", bucket, key, stop=stop, Key=key)
        for key in keys], 8, stop)


def together(actions, threads, stop):
    """The results of functions that run side by side.

    The first failure, and Ctrl-C, sets `stop`, and the cause is raised.
    """
    def run(action):
        try:
            if stop.is_set():
                raise StoppedError
            return action()
        except BaseException:
            stop.set()
            raise

    with concurrent.futures.ThreadPoolExecutor(
            max(1, min(threads, len(actions)))) as pool:
        try:
            futures = [pool.submit(run, action) for action in actions]
            concurrent.futures.wait(futures)
        except BaseException:                          # Ctrl-C
            stop.set()
            raise
    errors = [each.exception() for each in futures if each.exception()]
    for error in sorted(errors, key=lambda e: isinstance(e, StoppedError)):
        raise error
    return [each.result() for each in futures]


def copy(bucket, key, to_bucket, to_key, stop):
    """Copies an object within the storage, up to 5 GiB."""
    try:
        connect().call(
            "Copy to", "copy_object", to_bucket, to_key, "CopyObjectResult",
            stop, Key=to_key, CopySource={"Bucket": bucket, "Key": key})
    except MoxFileRespException as error:
        if error.resp.errorCode == "NoSuchKey":
            raise _no_such_object(connect().what("COPY", bucket, key))
        raise


def _no_such_object(what):
    return MoxFileNotExistsException(
        "{}: there is no such object. Check the name.".format(what))


def put(path, bucket, key, stop):
    """Uploads a file; what fails leaves neither an object nor parts.

    Raises:
      ObsError: it cannot be stored, or changes meanwhile.
    """
    with open(path, "rb") as file:
        before = os.fstat(file.fileno())
        part = part_bytes(before.st_size)
        if before.st_size <= part:
            _send("PUT", "put_object", bucket, key, file.read(), stop)
            return
        with _uploading(bucket, key, stop) as upload:
            etags = together([
                lambda number=number: _send(
                    "PUT part {} of".format(number), "upload_part", bucket,
                    key, os.pread(file.fileno(), part, (number - 1) * part),
                    stop, UploadId=upload, PartNumber=number)
                for number in range(1, -(-before.st_size // part) + 1)],
                PART_THREADS, stop)
            now = os.stat(path)
            if (now.st_size, now.st_mtime_ns) != (
                    before.st_size, before.st_mtime_ns):
                raise MoxFileReadException(
                    "{!r} changes while it is uploaded. Upload it when it is "
                    "written.".format(path))
            _complete(bucket, key, upload, etags, stop)


@contextlib.contextmanager
def _uploading(bucket, key, stop):
    """Yields the identifier of an upload in parts; aborts it on error."""
    upload = connect().call(
        "Start the upload of", "create_multipart_upload", bucket, key,
        "UploadId", stop, Key=key)["UploadId"]
    try:
        yield upload
    except BaseException:
        with contextlib.suppress(OSError):             # the cause is raised
            connect().call(               # few: it must not outlast a Ctrl-C
                "Abort the upload of", "abort_multipart_upload", bucket, key,
                retries=2, Key=key, UploadId=upload)
        raise


def _send(verb, operation, bucket, key, data, stop, **parameters):
    """Stores an object or a part of one; returns its ETag."""
    client, digest = connect(), hashlib.md5(data)
    what = client.what(verb, bucket, key)

    def attempt():
        answer = getattr(client.s3, operation)(
            Bucket=bucket, Key=key, Body=_Body(data, stop),
            ContentMD5=base64.b64encode(digest.digest()).decode("ascii"),
            **parameters)
        etag = _etag(answer)
        if not etag or _is_md5(answer) and etag != digest.hexdigest():
            raise MoxFileReadException(
                "{}: its ETag {} is not the MD5 {}. Check the network."
                .format(what, etag, digest.hexdigest()))
        return etag

    return client.retried(what, attempt, stop)


def _complete(bucket, key, upload, etags, stop):
    """Joins the parts, also where an answer is lost on the way."""
    try:
        connect().call(
            "Complete the upload of", "complete_multipart_upload", bucket,
            key, "ETag", stop, Key=key, UploadId=upload, MultipartUpload={
                "Parts": [{"PartNumber": number, "ETag": '"{}"'.format(etag)}
                          for number, etag in enumerate(etags, 1)]})
    except MoxFileRespException as error:
        stored = error.resp.errorCode == "NoSuchUpload" and head(
            bucket, key)                  # by the attempt whose answer is lost
        if not stored or _etag(stored) != _joined(map(bytes.fromhex, etags)):
            raise


def get(bucket, key, path, stop):
    """Downloads an object to `path`, where it appears by rename.

    Raises:
      MoxFileNotExistsException: there is no such object.
      ObsError: it cannot be fetched, or arrives otherwise than stored.
      OSError: it cannot be written here, as on a full disk.
    """
    client, entry = connect(), head(bucket, key)
    what = client.what("GET", bucket, key)
    if entry is None:
        raise _no_such_object(what)
    part = part_bytes(entry["ContentLength"])
    with replacing(path) as file:
        for _ in range(1 + FEW_RETRIES):
            together([
                lambda start=start: client.retried(what, lambda: _fetch(
                    what, file, entry, start, part, stop, Bucket=bucket,
                    Key=key), stop)
                for start in range(0, max(entry["ContentLength"], 1), part)],
                PART_THREADS, stop)
            if _is_as_stored(file, entry):
                return
            logging.warning("%s: wrong bytes; again", what)
        raise MoxFileReadException(
            "{}: what arrived has not the MD5 of its ETag {}. Check the "
            "network and the object{}.".format(
                what, _etag(entry), "; where another program stored it in "
                "parts of an unusual length, set "
                "MOX_FILE_LARGE_FILE_PART_SIZE to that"
                if "-" in _etag(entry) else ""))


def _fetch(what, file, entry, start, part, stop, **parameters):
    """Writes bytes of an object to their place in a file."""
    end = min(start + part, entry["ContentLength"])
    if part < entry["ContentLength"]:
        parameters["Range"] = "bytes={}-{}".format(start, end - 1)
    answer = connect().s3.get_object(IfMatch=entry["ETag"], **parameters)
    with contextlib.closing(answer["Body"]) as body:
        if answer["ContentLength"] != end - start:
            raise MoxFileReadException(
                "{}: {} bytes in place of {}. Check the network.".format(
                    what, answer["ContentLength"], end - start))
        for data in iter(lambda: body.read(1 << 16), b""):
            if stop.is_set():
                raise StoppedError
            while data:
                written = os.pwrite(file.fileno(), data, start)
                start, data = start + written, data[written:]
    if start != end:
        raise ConnectionError("{} bytes are missing".format(end - start))


class _Body(io.BytesIO):
    """Bytes to send; a transfer that is stopped sends no more of them."""

    def __init__(self, data, stop):
        super().__init__(data)
        self._stop = stop

    def read(self, *size):
        if self._stop.is_set():
            raise StoppedError
        return super().read(*size)


def _etag(answer):
    return answer.get("ETag", "").strip('"')


def _is_md5(answer):
    """Whether this answer's ETag is made of MD5s."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return bool(
        re.match(r"[0-9a-f]{32}(-\d+)?$", _etag(answer))
        and answer.get("ServerSideEncryption") in (None, "AES256")
        and not answer.get("SSECustomerAlgorithm")
        and "Appendable" not in (headers.get("x-amz-object-type"),
                                 headers.get("x-obs-object-type")))


def _is_as_stored(file, entry):
    """Whether what arrived has the ETag's MD5.

    That of an object in parts does not say how long they are: ours and the
    usual lengths are tried.
    """
    etag, size = _etag(entry), max(entry["ContentLength"], 1)
    if not _is_md5(entry):
        return True
    if "-" not in etag:
        return _digests(file, size)[0].hex() == etag
    lengths = [part_bytes(size)] + [
        count * unit for unit in (1 << 20, 10 ** 6) for count in _USUAL_PARTS]
    return any(
        _joined(_digests(file, part)) == etag
        for part in dict.fromkeys(min(part, size) for part in lengths)
        if -(-size // part) == int(etag.partition("-")[2]))


def _digests(file, part):
    """The MD5 of each `part` bytes of a file; of b"" where it is empty."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return [hashlib.md5().digest()]
    with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        with memoryview(mapped) as whole:
            return [hashlib.md5(whole[start:start + part]).digest()
                    for start in range(0, size, part)]


def _joined(digests):
    """The ETag of an object whose parts have these MD5s."""
    digests = list(digests)
    return "{}-{}".format(
        hashlib.md5(b"".join(digests)).hexdigest(), len(digests))
