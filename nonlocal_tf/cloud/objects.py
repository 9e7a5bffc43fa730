"""Whole files to and from OBS: in pieces where they are large, and checked.

A piece that fails is sent or fetched again by itself. Sizes are always
compared, MD5 where the storage gives one.
"""

import hashlib
import os

from absl import logging

from nonlocal_tf.cloud import connection
from nonlocal_tf.cloud.errors import (
    ChangedError,
    MoxFileNotExistsException,
    ObsError,
    TransientError,
)
from nonlocal_tf.cloud.parts import (
    Counted,
    Source,
    joined_etag,
    md5_of,
    part_bytes,
    pieces,
    together,
)
from nonlocal_tf.cloud.retry import unwatched
from nonlocal_tf.storage import replacing

CHANGES = 3                               # attempts at a file that changes
ABORT_RETRIES = 2                         # it must not outlast a Ctrl-C
COPY_BYTES = 5 << 30                      # that OBS copies in one request


def put_file(path, bucket, key, progress=unwatched):
    """Uploads a file as it is at one moment.

    Args:
      path: of a local file.
      bucket: its name.
      key: of the object.
      progress: called with each number of bytes sent, negative ones where
        they have to be sent again; what it raises stops the upload.
    Raises:
      ObsError: it cannot be stored, or changes each time.
    """
    client = connection.connect()
    for remaining in reversed(range(CHANGES)):
        sent = Counted(progress)
        try:
            file = Source(path, sent)
            if file.size > 2 * part_bytes(file.size):
                _put_parts(client, file, bucket, key)
            else:
                _put_whole(client, file, bucket, key)
            return
        except ChangedError:
            sent.undo()
            if not remaining:
                raise
            logging.warning("%s changes while it is uploaded; again", path)


def _put_whole(client, file, bucket, key):
    what = "PUT {}".format(client.url(bucket, key))
    client.retried(what, lambda: file.send(
        0, file.size, lambda body, md5: client.put(
            what, bucket, key, body, file.size, md5), file.progress),
        file.progress)
    file.check()


def _put_parts(client, file, bucket, key):
    def send(number, start, length, upload, progress):
        what = "PUT part {} of {}".format(number, client.url(bucket, key))
        return client.retried(what, lambda: file.send(
            start, length, lambda body, md5: client.put(
                what, bucket, key, body, length, md5, (number, upload)),
            progress), progress)

    _multipart(client, bucket, key, file.size, send, file.check,
               file.progress)


def _multipart(client, bucket, key, size, send, check, progress=unwatched):
    """Stores an object in parts; aborts the upload where one fails.

    Args:
      send: (number from 1, start, length, upload's identifier, progress) ->
        ETag.
      check: called before the parts become the object.
      progress: as in `put_file`.
    """
    earlier = client.head(bucket, key)
    upload = client.call(
        "Start the upload of", bucket, key, "initiateMultipartUpload",
        bucket, key, needs_body=True, progress=progress).body.uploadId
    try:
        etags = together([
            lambda watched, number=number, piece=piece: send(
                number, piece[0], piece[1], upload, watched)
            for number, piece in enumerate(pieces(size), 1)], progress)
        check()
        _complete(client, bucket, key, size, upload, etags, earlier)
    except BaseException:
        try:
            client.call("Abort the upload of", bucket, key,
                        "abortMultipartUpload", bucket, key, upload,
                        most=ABORT_RETRIES)
        except Exception as error:
            logging.warning("Parts of an upload are left: %s", error)
        raise


def _complete(client, bucket, key, size, upload, etags, earlier):
    """Joins the parts, also where an answer is lost on the way."""
    from obs import CompleteMultipartUploadRequest, CompletePart
    request = CompleteMultipartUploadRequest([
        CompletePart(number, '"{}"'.format(etag))
        for number, etag in enumerate(etags, 1)])
    failures = []
    try:
        client.call(
            "Complete the upload of", bucket, key, "completeMultipartUpload",
            bucket, key, upload, request, needs_etag=True, failures=failures)
    except ObsError as error:
        # An answer that was lost: the second request finds no upload.
        resp = getattr(error, "resp", None)
        if not failures or resp is None or resp.errorCode != "NoSuchUpload":
            raise
        stored = client.head(bucket, key)
        if not _is_new(stored, earlier, etags):
            raise
    _check_stored(client, bucket, key, size)


def _is_new(stored, earlier, etags):
    """Whether these parts are what is stored, or at least another object."""
    if stored is None:
        return False
    if stored.etag == joined_etag(etags):
        return True
    return earlier is None or (stored.etag, stored.mtime_nsec) != (
        earlier.etag, earlier.mtime_nsec)


def _check_stored(client, bucket, key, size):
    stored = client.head(bucket, key)
    if stored is None or stored.size != size:
        raise ObsError("{} has {} bytes in place of {} after its upload; it "
                       "must be uploaded again.".format(
                           client.url(bucket, key),
                           stored and stored.size, size))


def get_file(bucket, key, path, progress=unwatched):
    """Downloads an object to `path`, where it appears by rename.

    Args:
      bucket: its name.
      key: of the object.
      path: of a local file; its folder must exist.
      progress: as in `put_file`.
    Raises:
      MoxFileNotExistsException: there is no such object.
      ObsError: it cannot be fetched, or arrives otherwise than stored.
      OSError: it cannot be written here, as on a full disk.
    """
    client = connection.connect()
    entry = client.head(bucket, key)
    if entry is None:
        raise MoxFileNotExistsException("{}: there is no such object. Check "
                                        "the name.".format(
                                            client.url(bucket, key)))
    what = "GET {}".format(client.url(bucket, key))
    with replacing(path) as file:
        if entry.size > 2 * part_bytes(entry.size):
            together([
                lambda watched, piece=piece: client.retried(
                    what, lambda: _get_piece(
                        client, what, bucket, entry, file, piece, watched),
                    watched)
                for piece in pieces(entry.size)], progress)
            if entry.md5 and entry.md5 != md5_of(file).hex():
                raise client.unlike(what, "its MD5 is not the ETag").final
        else:
            client.retried(what, lambda: _get_whole(
                client, what, bucket, entry, file, progress), progress)


def _get_whole(client, what, bucket, entry, file, progress):
    file.seek(0)
    digest, received = hashlib.md5(), Counted(progress)

    def write(piece):
        file.write(piece)
        digest.update(piece)
        received(len(piece))

    try:
        client.get(what, bucket, entry, write)
        if entry.md5 and entry.md5 != digest.hexdigest():
            raise client.unlike(what, "the MD5 {} is not the ETag {}".format(
                digest.hexdigest(), entry.md5))
    except TransientError:
        received.undo()
        raise


def _get_piece(client, what, bucket, entry, file, piece, progress):
    start, length = piece
    received = Counted(progress)

    def write(data):
        while data:
            written = os.pwrite(file.fileno(), data, start + received.total)
            received(written)
            data = data[written:]

    try:
        client.get(what, bucket, entry, write, start, start + length - 1)
    except TransientError:
        received.undo()
        raise


def copy_object(bucket, key, to_bucket, to_key, progress=unwatched):
    """Copies within the storage, without this machine's network.

    Args:
      bucket, key: what is copied.
      to_bucket, to_key: where to.
      progress: called with 0 and, at the end, with the bytes; what it raises
        stops the copy.
    Raises:
      MoxFileNotExistsException: there is no such object.
      ObsError: the storage cannot copy it, or stores another size.
    """
    client = connection.connect()
    entry = client.head(bucket, key)
    if entry is None:
        raise MoxFileNotExistsException("{}: there is no such object.".format(
            client.url(bucket, key)))
    if entry.size <= COPY_BYTES:
        client.call("Copy to", to_bucket, to_key, "copyObject", bucket, key,
                    to_bucket, to_key, needs_etag=True, progress=progress)
        _check_stored(client, to_bucket, to_key, entry.size)
    else:
        _copy_parts(client, bucket, entry, to_bucket, to_key, progress)
    progress(entry.size)


def _copy_parts(client, bucket, entry, to_bucket, to_key, progress):
    def send(number, start, length, upload, watched):
        return client.call(
            "Copy to", to_bucket, to_key, "copyPart", to_bucket, to_key,
            number, upload, "{}/{}".format(bucket, entry.key), "{}-{}".format(
                start, start + length - 1), needs_etag=True,
            progress=watched).body.etag.strip('"')

    _multipart(client, to_bucket, to_key, entry.size, send, lambda: None,
               progress)
