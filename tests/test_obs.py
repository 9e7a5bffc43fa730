"""Files to and from OBS, by a real S3 server that makes faults on demand."""

import errno
import os
import resource
import signal
import threading
import time

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("boto3", reason="needs boto3")

from obs_fixtures import CONTENT, local, one_line  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import client, objects  # noqa: E402
from nonlocal_tf.errors import UserError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


def fetched(bucket, folder, key="a"):
    path = str(folder / "new")
    mox.file.copy(bucket.url + "/" + key, path)
    assert os.listdir(str(folder)) == ["new"]
    with open(path, "rb") as file:
        return file.read()


# There and back.

@pytest.mark.parametrize("key", ["two words/~a+b=c&d%20?#.txt", "数据/图"])
def test_any_name_can_be_stored_listed_fetched_copied_and_removed(
        bucket, tmp_path, key):
    mox.file.write(bucket.url + "/" + key, CONTENT, binary=True)
    assert bucket.get(key) == CONTENT
    assert mox.file.list_directory(bucket.url, recursive=True)[-1] == key
    assert fetched(bucket, tmp_path, key) == CONTENT
    mox.file.copy_parallel(bucket.url, bucket.url + "/copy")
    assert bucket.get("copy/" + key) == CONTENT
    mox.file.remove(bucket.url + "/" + key)
    assert len(bucket.keys()) == 1


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=len)
def test_parts_are_put_together_in_order(
        bucket, tmp_path, small_parts, content):
    mox.file.copy(local(tmp_path, "new", content), bucket.url + "/a")
    assert bucket.get("a") == content == fetched(bucket, tmp_path)
    assert len(bucket.requests("GET")) == max(1, len(content) // 85000)


def test_s3_is_another_word_for_obs(bucket):
    bucket.put("a", "文".encode("utf-8"))
    assert mox.file.read("s3://{}/a".format(bucket.name)) == "文"


# What passes.

@pytest.mark.parametrize("fault", [
    {"status": 429}, {"status": 503}, {"corrupt_request": True},
    {"corrupt_etag": True}, {"drop_request_after": 70000},
    {"status": 409, "code": "OperationAborted"}])
def test_upload_outlasts(bucket, tmp_path, fault):
    fault = bucket.fault("PUT", times=3, **fault)
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT and fault.met == 3


@pytest.mark.parametrize("fault", [
    {"status": 503}, {"drop_response_after": 0, "reset": False},
    {"drop_response_after": 70000, "reset": False},
    {"drop_response_after": 70000}, {"corrupt": True}])
def test_download_outlasts(bucket, tmp_path, fault):
    bucket.put("a", CONTENT)
    fault = bucket.fault("GET", times=3, **fault)
    assert fetched(bucket, tmp_path) == CONTENT and fault.met == 3


@pytest.mark.parametrize("fault", [
    {"corrupt": True}, {"whole": True}, {"drop_response_after": 7000}])
def test_download_in_parts_outlasts(bucket, tmp_path, small_parts, fault):
    mox.file.write(bucket.url + "/a", CONTENT, binary=True)
    fault = bucket.fault("GET", times=3, **fault)
    assert fetched(bucket, tmp_path) == CONTENT and fault.met == 3


@pytest.mark.parametrize("count", [0, 100])
@pytest.mark.parametrize("reset", [False, True])
def test_listing_that_is_cut_off_is_asked_again(bucket, count, reset):
    bucket.put("a", b"")
    fault = bucket.fault("GET", times=2, drop_response_after=count,
                         reset=reset)
    assert mox.file.list_directory(bucket.url) == ["a"]
    assert fault.met == 2


def test_one_bad_part_of_an_upload_is_sent_again(
        bucket, tmp_path, small_parts):
    bucket.fault("PUT", pattern="partNumber=2", drop_request_after=30000)
    bucket.fault("PUT", pattern="partNumber=3", status=503)
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT
    numbers = [path.partition("partNumber=")[2][0]
               for path in bucket.requests("PUT")]
    assert sorted(numbers) == ["1", "2", "2", "3", "3"]


def test_joining_and_copying_outlast_an_error_with_status_200(
        bucket, tmp_path, small_parts):
    bucket.fault("POST", pattern="uploadId", status=200, code="InternalError")
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    bucket.fault("PUT", pattern="/b", status=200, code="InternalError")
    mox.file.copy(bucket.url + "/a", bucket.url + "/b")
    assert bucket.get("a") == bucket.get("b") == CONTENT


def test_joined_object_whose_answer_is_lost_is_accepted(
        bucket, tmp_path, small_parts):
    bucket.fault("POST", pattern="uploadId", drop_response_after=0)
    bucket.fault("POST", pattern="uploadId", status=404, code="NoSuchUpload")
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT


def test_thirty_seconds_of_503_are_survived():
    """At the shortest pauses that chance may give."""
    pauses = [0.5 * min(client.RETRY_SECONDS * 2 ** number,
                        client.RETRY_CAP_SECONDS)
              for number in range(client.RETRIES)]
    assert 30 < sum(pauses) < 120


def test_each_retry_is_logged(bucket, lines):
    bucket.fault("PUT", times=2, status=503)
    mox.file.write(bucket.url + "/a", "text")
    assert sum("503" in line and "Again in" in line for line in lines) == 2


# What does not pass.

def test_503_for_ever_is_an_error_after_the_last_retry(bucket, monkeypatch):
    monkeypatch.setattr(client, "RETRIES", 4)
    fault = bucket.fault("PUT", times=99, status=503)
    with pytest.raises(OSError, match="503.*threads") as caught:
        mox.file.write(bucket.url + "/a", "text")
    assert fault.met == 5 and one_line(caught)


@pytest.mark.parametrize("settings", [{"corrupt": True}, {"whole": True}])
@pytest.mark.parametrize("part", [80000, 100000])
def test_wrong_bytes_of_an_object_in_parts_never_pass(
        bucket, tmp_path, small_parts, monkeypatch, settings, part):
    """Whether or not its parts are as long as ours."""
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", str(part))
    mox.file.write(bucket.url + "/a", CONTENT, binary=True)
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", "100000")
    bucket.fault("GET", times=99, **settings)
    path = local(tmp_path, "a", b"earlier")
    with pytest.raises(OSError, match="Check the network") as caught:
        mox.file.copy(bucket.url + "/a", path)
    assert one_line(caught)
    assert os.listdir(str(tmp_path)) == ["a"]
    assert os.path.getsize(path) == len("earlier")


def test_parts_of_other_programs_are_known_by_their_usual_lengths(
        bucket, tmp_path, monkeypatch):
    content = CONTENT * 70                             # 17.9 MB
    for part in (8 << 20, 6 * 10 ** 6, 20 << 20):
        monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", str(part))
        mox.file.write(bucket.url + "/a", content, binary=True)
        monkeypatch.delenv("MOX_FILE_LARGE_FILE_PART_SIZE")
        assert fetched(bucket, tmp_path) == content


@pytest.mark.parametrize("text", ["0", "10MiB", "\u00b2", "2147479553"])
def test_parts_that_one_read_cannot_fill_are_refused(monkeypatch, text):
    """Linux reads 2,147,479,552 bytes at most (read(2)), then less."""
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", text)
    with pytest.raises(UserError, match="from 1 to 2147479552; got") as caught:
        objects.part_bytes(1)
    assert one_line(caught)


def test_object_that_changes_between_parts_is_refused(
        bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(objects, "PART_THREADS", 1)
    bucket.put("a", CONTENT)
    bucket.fault("GET", action=lambda: bucket.put("a", CONTENT[::-1]))
    with pytest.raises(OSError, match="changes"):
        mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert os.listdir(str(tmp_path)) == []


def test_file_that_changes_during_its_upload_is_refused(
        server, bucket, tmp_path, small_parts):
    path = local(tmp_path)
    bucket.fault("PUT", pattern="partNumber=3",
                 action=lambda: local(tmp_path, content=CONTENT + b"x"))
    with pytest.raises(OSError, match="changes while it is uploaded"):
        mox.file.copy(path, bucket.url + "/a")
    assert bucket.keys() == [] and server.open_uploads(bucket.name) == 0


@pytest.mark.parametrize("action", [
    lambda url: mox.file.exists(url), lambda url: mox.file.make_dirs(url),
    lambda url: mox.file.list_directory(url),
    lambda url: mox.file.write(url, "x"),
    lambda url: mox.file.copy_parallel(url, "/nowhere")])
def test_missing_bucket_is_named(bucket, action):
    with pytest.raises(OSError, match="no such bucket"):
        action("obs://no-such-bucket/a")
    assert not mox.file.exists("obs://no-such-bucket")


def test_missing_object_is_not_found(bucket, tmp_path):
    with pytest.raises(mox.MoxFileNotExistsException, match=bucket.url):
        mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert len(bucket.requests("HEAD")) == 1


def test_first_failure_ends_a_copy_of_many(bucket, tmp_path):
    for number in range(40):
        bucket.put("in/{:02d}".format(number), b"x")
    bucket.fault("GET", pattern="in/03", times=99, status=403,
                 code="AccessDenied")
    with pytest.raises(OSError, match="in/03.*grant"):
        mox.file.copy_parallel(bucket.url + "/in", str(tmp_path), threads=1)
    assert sorted(os.listdir(str(tmp_path))) == ["00", "01", "02"]


def test_failed_part_ends_the_retries_of_the_others_and_leaves_nothing(
        server, bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(client, "RETRY_SECONDS", 600)
    monkeypatch.setattr(client, "RETRY_CAP_SECONDS", 600)
    bucket.fault("PUT", pattern="partNumber=[13]", times=99, status=503)
    bucket.fault("PUT", pattern="partNumber=2", status=400, code="Strange",
                 delay=0.2)
    start = time.monotonic()
    with pytest.raises(OSError, match="Strange"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert time.monotonic() - start < 100       # of 300 at least
    assert bucket.keys() == [] and server.open_uploads(bucket.name) == 0


@pytest.mark.parametrize("fault", [
    {"status": 503}, {"delay": 1}])
def test_interrupt_ends_an_upload_in_parts_at_once(
        server, bucket, tmp_path, small_parts, monkeypatch, fault):
    monkeypatch.setattr(client, "RETRY_SECONDS", 600)
    monkeypatch.setattr(client, "RETRY_CAP_SECONDS", 600)
    bucket.fault("PUT", pattern="partNumber", times=99, **fault)
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(
        threading.main_thread().ident, signal.SIGINT))
    start = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert time.monotonic() - start < 100       # of 300 at least
    assert bucket.keys() == [] and server.open_uploads(bucket.name) == 0


def test_end_of_an_upload_that_cannot_be_aborted_comes_soon(
        bucket, tmp_path, small_parts):
    bucket.fault("PUT", pattern="partNumber", status=400, code="Strange")
    abort = bucket.fault("DELETE", times=99, status=503)
    with pytest.raises(OSError, match="Strange"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert abort.met == 3


def test_limit_of_a_files_size_passes_untouched(bucket, tmp_path):
    bucket.put("a", CONTENT * 8)                       # 2 MB
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert len(bucket.requests("GET")) == 1
    assert os.listdir(str(tmp_path)) == []


# Folders, which are beginnings of keys.

@pytest.mark.slow
def test_more_than_1000_objects_are_all_listed(bucket):
    names = ["{:04d}".format(number) for number in range(1010)]
    for name in names:
        bucket.put("in/" + name, b"")
    assert mox.file.list_directory(bucket.url + "/in") == names
    assert len(bucket.requests("GET")) == 3            # one: is it there?


@pytest.mark.parametrize("key", ["in/../../a", "in//a", "in/./a"])
def test_key_that_would_leave_the_folder_is_refused(bucket, tmp_path, key):
    bucket.put(key, b"x")
    with pytest.raises(UserError, match="Rename"):
        mox.file.copy_parallel(bucket.url + "/in", str(tmp_path / "new"))
    assert os.listdir(str(tmp_path)) == []


def test_a_whole_bucket_is_not_removed(bucket):
    bucket.put("a", b"")
    with pytest.raises(UserError, match="whole bucket"):
        mox.file.remove(bucket.url + "/", recursive=True)
    assert bucket.keys() == ["a"]
