"""Objects in parts and copies: what is stored is what was sent."""

import signal
import threading
import time

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("obs", reason="needs esdk-obs-python")

from obs_support import CONTENT, local, one_line  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import objects as obs_objects  # noqa: E402
from nonlocal_tf.cloud import parts as obs_parts  # noqa: E402
from nonlocal_tf.cloud import retry as obs_retry  # noqa: E402
from nonlocal_tf.cloud.errors import ObsError, StoppedError  # noqa: E402

pytest_plugins = ["obs_fixtures"]
OTHER = CONTENT[::-1]


@pytest.fixture
def copied_in_parts(small_parts, monkeypatch):
    monkeypatch.setattr(obs_objects, "COPY_BYTES", 1000)


# Copies within the storage.

def test_copy_that_fails_with_status_200_is_tried_again(bucket):
    bucket.put("a", CONTENT)
    fault = bucket.fault("PUT", status=200, code="InternalError")
    mox.file.rename(bucket.url + "/a", bucket.url + "/b")
    assert bucket.get("b") == CONTENT and fault.met == 1


def test_copy_that_always_fails_with_status_200_is_an_error(bucket):
    bucket.put("a", CONTENT)
    bucket.fault("PUT", times=99, status=200, code="InternalError")
    with pytest.raises(ObsError, match="could not do it") as caught:
        mox.file.rename(bucket.url + "/a", bucket.url + "/b")
    assert one_line(caught) and bucket.keys() == ["a"]


def test_size_of_a_copy_is_compared(bucket):
    bucket.put("a", CONTENT)
    bucket.fault("HEAD", pattern="/b$",
                 action=lambda: bucket.put("b", b"short"))
    with pytest.raises(ObsError, match="5 bytes in place of 256000"):
        mox.file.rename(bucket.url + "/a", bucket.url + "/b")
    assert bucket.get("a") == CONTENT


@pytest.mark.parametrize("key", ["a", "a b/\u6570+%20?#"])
def test_large_object_is_copied_in_parts(bucket, copied_in_parts, key):
    bucket.put(key, CONTENT)
    mox.file.copy(bucket.url + "/" + key, bucket.url + "/new")
    assert bucket.get("new") == CONTENT
    assert len([path for path in bucket.requests("PUT")
                if "partNumber" in path]) == 3


def test_part_of_a_copy_that_fails_with_status_200_is_tried_again(
        bucket, copied_in_parts):
    bucket.put("a", CONTENT)
    bucket.fault("PUT", pattern="partNumber=2", status=200, code="Strange")
    mox.file.copy(bucket.url + "/a", bucket.url + "/b")
    assert bucket.get("b") == CONTENT


# The end of an upload in parts.

def test_joining_that_fails_with_status_200_is_tried_again(
        bucket, tmp_path, small_parts):
    fault = bucket.fault("POST", pattern="uploadId", times=2, status=200,
                         code="InternalError")
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT and fault.met == 2


def test_upload_that_is_unknown_at_once_is_an_error(
        bucket, tmp_path, small_parts):
    bucket.put("a", OTHER)
    bucket.fault("POST", pattern="uploadId", status=404, code="NoSuchUpload")
    with pytest.raises(mox.MoxFileRespException, match="NoSuchUpload"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == OTHER


def test_joined_object_whose_answer_is_lost_is_accepted(
        bucket, tmp_path, small_parts):
    bucket.put("a", OTHER)
    bucket.fault("POST", pattern="uploadId", drop_response_after=0)
    bucket.fault("POST", pattern="uploadId", status=404, code="NoSuchUpload")
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT


def test_same_content_again_is_accepted_where_the_answer_is_lost(
        bucket, tmp_path, small_parts):
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    bucket.fault("POST", pattern="uploadId", drop_response_after=0)
    bucket.fault("POST", pattern="uploadId", status=404, code="NoSuchUpload")
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT


def test_earlier_object_is_not_taken_for_the_new_one(
        bucket, tmp_path, small_parts):
    bucket.put("a", OTHER)                             # of the same size
    bucket.fault("POST", pattern="uploadId", status=503)
    bucket.fault("POST", pattern="uploadId", status=404, code="NoSuchUpload")
    with pytest.raises(mox.MoxFileRespException, match="NoSuchUpload"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")


def test_size_after_an_upload_in_parts_is_compared(
        bucket, tmp_path, small_parts):
    def shorten():
        bucket.fault("HEAD", action=lambda: bucket.put("a", b"short"))

    bucket.fault("POST", pattern="uploadId", action=shorten)
    with pytest.raises(ObsError, match="5 bytes in place of 256000"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")


def test_file_that_changes_during_its_last_part_is_uploaded_anew(
        bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_TASK_NUM", "1")
    path = local(tmp_path)
    bucket.fault("PUT", pattern="partNumber=3",
                 action=lambda: local(tmp_path, content=OTHER + b"x"))
    mox.file.copy(path, bucket.url + "/a")
    assert bucket.get("a") == OTHER + b"x"


# Stopping.

def test_parts_stop_when_one_fails():
    stopped = []

    def waits(watched):
        end = time.monotonic() + 5
        try:
            while time.monotonic() < end:
                watched(0)
                time.sleep(0.01)
        except StoppedError:
            stopped.append(True)
            raise

    def fails(_):
        raise KeyError("cause")

    with pytest.raises(KeyError, match="cause"):
        obs_parts.together([waits, waits, fails])
    assert stopped == [True, True]


def test_failed_part_ends_the_retries_of_the_others(
        bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(obs_retry, "RETRY_SECONDS", 30)
    monkeypatch.setattr(obs_retry, "RETRY_CAP_SECONDS", 30)
    bucket.fault("PUT", pattern="partNumber=[13]", times=99, status=503)
    bucket.fault("PUT", pattern="partNumber=2", status=400, code="Strange",
                 delay=0.2)
    start = time.monotonic()
    with pytest.raises(mox.MoxFileRespException, match="Strange"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert time.monotonic() - start < 5


def test_interrupt_ends_an_upload_in_parts_at_once(
        server, bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(obs_retry, "RETRY_SECONDS", 30)
    monkeypatch.setattr(obs_retry, "RETRY_CAP_SECONDS", 30)
    bucket.fault("PUT", pattern="partNumber", times=99, status=503)
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(
        threading.main_thread().ident, signal.SIGINT))
    start = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert time.monotonic() - start < 5
    assert server.open_uploads(bucket.name) == 0


def test_end_of_an_upload_that_cannot_be_aborted_comes_soon(
        bucket, tmp_path, small_parts):
    bucket.fault("PUT", pattern="partNumber", status=400, code="Strange")
    abort = bucket.fault("DELETE", times=99, status=503)
    with pytest.raises(mox.MoxFileRespException, match="Strange"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert abort.met == 3
