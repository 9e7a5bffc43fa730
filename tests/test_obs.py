"""Files to and from OBS, by a real S3 server that makes faults on demand."""

import contextlib
import errno
import itertools
import os
import resource
import shutil
import socket
import subprocess

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("obs", reason="needs esdk-obs-python")

from obs_support import CONTENT, local, one_line, read  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import parts as obs_pieces  # noqa: E402
from nonlocal_tf.cloud import retry as obs_retry  # noqa: E402
from nonlocal_tf.cloud import sdk as obs_sdk  # noqa: E402
from nonlocal_tf.cloud.errors import ObsError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


# There and back.

@pytest.mark.parametrize("name", [
    "plain", "two words/~a+b=c&d?.txt", "数据/图"])
def test_any_name_can_be_stored(bucket, tmp_path, name):
    mox.file.copy(local(tmp_path), bucket.url + "/" + name)
    assert bucket.get(name) == CONTENT


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_bytes_arrive_as_they_were_stored(bucket, tmp_path, content):
    bucket.put("数 a/b", content)
    mox.file.copy(bucket.url + "/数 a/b", str(tmp_path / "new"))
    assert read(tmp_path / "new") == content


def test_s3_is_another_word_for_obs(bucket):
    bucket.put("a", b"text")
    assert mox.file.read("s3://{}/a".format(bucket.name)) == "text"


def test_ranges_are_put_together_in_order(bucket, tmp_path, small_parts):
    bucket.put("a", CONTENT)
    mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert read(tmp_path / "a") == CONTENT
    assert len(bucket.requests("GET")) == 3


def test_obs_dialect_is_spoken_where_the_endpoint_is_a_name(
        server, bucket, use, monkeypatch):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: resolve(
        "127.0.0.1" if host.endswith("obs.test") else host, *rest))
    use(server, S3_ENDPOINT="http://obs.test:{}".format(server.port))
    mox.file.write(bucket.url + "/数 a/b", "text")
    assert bucket.get("数 a/b") == b"text"
    assert "数 a/b" in mox.file.list_directory(bucket.url, recursive=True)


def test_copy_within_the_storage(bucket, tmp_path):
    bucket.put("a b/数", CONTENT)
    mox.file.copy_parallel(bucket.url + "/a b", bucket.url + "/c")
    assert bucket.get("c/数") == CONTENT


# What passes.

@pytest.mark.parametrize("status", [429, 500, 503])
def test_upload_outlasts_refusals(bucket, tmp_path, status):
    fault = bucket.fault("PUT", times=3, status=status)
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT and fault.met == 3


def test_download_outlasts_503(bucket, tmp_path):
    bucket.put("a", CONTENT)
    bucket.fault("GET", times=3, status=503)
    bucket.fault("HEAD", times=2, status=503)
    mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert read(tmp_path / "a") == CONTENT


def test_upload_outlasts_a_dropped_connection(bucket, tmp_path):
    fault = bucket.fault("PUT", times=2, drop_request_after=70000)
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.get("a") == CONTENT and fault.met == 2


@pytest.mark.parametrize("count", [0, 70000])
@pytest.mark.parametrize("reset", [False, True])
def test_download_outlasts_a_dropped_connection(
        bucket, tmp_path, count, reset):
    bucket.put("a", CONTENT)
    fault = bucket.fault(
        "GET", times=2, drop_response_after=count, reset=reset)
    mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert read(tmp_path / "a") == CONTENT and fault.met == 2


def test_range_alone_is_fetched_again(bucket, tmp_path, small_parts):
    bucket.put("a", CONTENT)
    bucket.fault("GET", drop_response_after=7000)
    mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert read(tmp_path / "a") == CONTENT
    assert len(bucket.requests("GET")) == 4


def test_answer_to_a_range_with_the_whole_object_is_noticed(
        bucket, tmp_path, small_parts):
    bucket.put("a", CONTENT)
    fault = bucket.fault("GET", times=3, whole=True)
    mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert read(tmp_path / "a") == CONTENT and fault.met == 3
    assert len(bucket.requests("GET")) == 6


@pytest.mark.parametrize("reset", [False, True])
def test_listing_that_is_cut_off_is_asked_again(bucket, reset):
    bucket.put("a", b"")
    fault = bucket.fault("GET", times=2, drop_response_after=100, reset=reset)
    assert mox.file.list_directory(bucket.url) == ["a"]
    assert fault.met == 2


def test_slow_answer_is_given_up_and_asked_again(
        bucket, monkeypatch):
    monkeypatch.setattr(obs_sdk, "TIMEOUT_SECONDS", 0.2)
    bucket.put("a", b"text")
    fault = bucket.fault("GET", delay=0.5)
    assert mox.file.read(bucket.url + "/a") == "text"
    assert fault.met == 1 and len(bucket.requests("GET")) == 2


def test_body_with_a_wrong_bit_is_fetched_again(bucket, tmp_path):
    bucket.put("a", CONTENT)
    bucket.fault("GET", corrupt=True)
    mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert read(tmp_path / "a") == CONTENT


def test_etag_that_is_not_the_md5_is_noticed_on_upload(bucket, tmp_path):
    fault = bucket.fault("PUT", corrupt_etag=True)
    mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert fault.met == 1 and len(bucket.requests("PUT")) == 2


def test_each_retry_is_logged(bucket, lines):
    bucket.fault("PUT", times=2, status=503)
    mox.file.write(bucket.url + "/a", "text")
    assert len([line for line in lines if "503" in line
                and "again in" in line]) == 2


# What does not pass.

def test_503_for_ever_is_an_error_after_the_last_retry(bucket, monkeypatch):
    monkeypatch.setattr(obs_retry, "RETRIES", 4)
    fault = bucket.fault("PUT", times=99, status=503)
    with pytest.raises(mox.MoxFileRespException, match="503") as caught:
        mox.file.write(bucket.url + "/a", "text")
    assert fault.met == 5 and caught.value.resp.status == 503
    assert "threads" in one_line(caught)


def test_corrupt_object_leaves_the_earlier_file(bucket, tmp_path):
    bucket.put("a", CONTENT)
    bucket.fault("GET", times=99, corrupt=True)
    path = local(tmp_path, "a", b"earlier")
    with pytest.raises(mox.MoxFileReadException, match="MD5"):
        mox.file.copy(bucket.url + "/a", path)
    assert os.listdir(str(tmp_path)) == ["a"] and read(path) == b"earlier"


def test_wrong_bit_in_a_range_is_noticed(bucket, tmp_path, small_parts):
    bucket.put("a", CONTENT)
    bucket.fault("GET", corrupt=True)
    with pytest.raises(mox.MoxFileReadException, match="MD5"):
        mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert os.listdir(str(tmp_path)) == []


def test_object_that_changes_between_ranges_is_refused(
        bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_TASK_NUM", "1")
    bucket.put("a", CONTENT)
    bucket.fault("GET", action=lambda: bucket.put("a", CONTENT[::-1]))
    with pytest.raises(mox.MoxFileRespException, match="changes"):
        mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("action", [
    lambda url: mox.file.exists(url), lambda url: mox.file.read(url),
    lambda url: mox.file.write(url, "x"),
    lambda url: mox.file.copy_parallel(url, "/nowhere")])
def test_unknown_access_key_is_named_at_once(server, bucket, use, action):
    use(server, OBS_ACCESS_KEY_ID="AKUNKNOWN0123456789")
    with pytest.raises(mox.MoxFileRespException) as caught:
        action(bucket.url + "/a")
    assert "InvalidAccessKeyId" in one_line(caught)
    assert "ACCESS_KEY_ID and S3_ENDPOINT" in str(caught.value)
    assert len(bucket.requests("PUT") + bucket.requests("GET")) == 1


def test_wrong_secret_is_named_at_once(server, bucket, use):
    use(server, OBS_SECRET_ACCESS_KEY="wrong-secret-key-0123456789")
    with pytest.raises(mox.MoxFileRespException) as caught:
        mox.file.write(bucket.url + "/a", "x")
    assert "SignatureDoesNotMatch" in one_line(caught)
    assert len(bucket.requests("PUT")) == 1


def test_missing_right_is_named(bucket):
    bucket.fault("PUT", status=403, code="AccessDenied")
    with pytest.raises(mox.MoxFileRespException, match="grant") as caught:
        mox.file.write(bucket.url + "/a", "x")
    assert caught.value.resp.errorCode == "AccessDenied"


@pytest.mark.parametrize("action", [
    lambda url: mox.file.exists(url), lambda url: mox.file.make_dirs(url),
    lambda url: mox.file.list_directory(url),
    lambda url: mox.file.write(url, "x"),
    lambda url: mox.file.copy_parallel(url, "/nowhere")])
def test_missing_bucket_is_named(bucket, action):
    with pytest.raises(mox.MoxFileRespException, match="no such bucket"):
        action("obs://no-such-bucket/a")


def test_missing_bucket_does_not_exist(bucket):
    assert not mox.file.exists("obs://no-such-bucket")
    assert mox.file.exists(bucket.url)


def test_missing_object_is_not_found(bucket, tmp_path):
    with pytest.raises(mox.MoxFileNotExistsException, match=bucket.url):
        mox.file.copy(bucket.url + "/a", str(tmp_path / "a"))
    assert len(bucket.requests("HEAD")) == 1


def test_closed_port_is_an_error_that_says_where(bucket, server, use):
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{}".format(probe.getsockname()[1])
        use(server, S3_ENDPOINT=address)
        with pytest.raises(ObsError, match=address) as caught:
            mox.file.exists(bucket.url + "/a")
    assert "S3_ENDPOINT" in one_line(caught)


def test_unknown_host_is_an_error_at_once(bucket, server, use, lines):
    use(server, S3_ENDPOINT="host.invalid")
    with pytest.raises(ObsError, match="host.invalid"):
        mox.file.exists(bucket.url + "/a")


def test_first_failure_ends_a_copy_of_many(bucket, tmp_path):
    for number in range(40):
        bucket.put("in/{:02d}".format(number), b"x")
    bucket.fault("GET", pattern="in/03", times=99, status=403,
                 code="AccessDenied")
    with pytest.raises(mox.MoxFileRespException, match="in/03"):
        mox.file.copy_parallel(bucket.url + "/in", str(tmp_path), threads=1)
    assert sorted(os.listdir(str(tmp_path))) == ["00", "01", "02"]


# Large files.

def test_one_bad_part_of_an_upload_is_sent_again(bucket, tmp_path):
    content = CONTENT * 120                            # 30.7 MB, three parts
    bucket.fault("PUT", pattern="partNumber=2", drop_request_after=3000000)
    bucket.fault("PUT", pattern="partNumber=3", status=503)
    mox.file.copy(local(tmp_path, content=content), bucket.url + "/a")
    assert bucket.get("a") == content
    numbers = [path.partition("partNumber=")[2][0]
               for path in bucket.requests("PUT")]
    assert sorted(numbers) == ["1", "2", "2", "3", "3"]


def test_failed_upload_leaves_neither_object_nor_parts(
        server, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", "100000")
    bucket.fault("PUT", pattern="partNumber=2", times=99, status=400,
                 code="Strange")
    with pytest.raises(mox.MoxFileRespException, match="Strange"):
        mox.file.copy(local(tmp_path), bucket.url + "/a")
    assert bucket.keys() == [] and server.open_uploads(bucket.name) == 0


def test_10000_parts_suffice_for_any_file():
    for size in (10 ** 9, 2 * 10 ** 12):
        pieces = obs_pieces.pieces(size)
        assert len(pieces) <= 10000
        assert sum(length for _, length in pieces) == size


def test_file_that_changes_once_is_uploaded_anew(bucket, tmp_path):
    path = local(tmp_path)
    bucket.fault("PUT", action=lambda: local(tmp_path, content=b"later"))
    mox.file.copy(path, bucket.url + "/a")
    assert bucket.get("a") == b"later"


def test_file_that_always_changes_is_refused(bucket, tmp_path):
    path = local(tmp_path)
    sizes = itertools.count(1)
    bucket.fault("PUT", times=99, action=lambda: local(
        tmp_path, content=b"x" * next(sizes)))
    with pytest.raises(ObsError, match="changes while it is uploaded"):
        mox.file.copy(path, bucket.url + "/a")


# This machine's disk.

def failing_download(bucket, folder, number):
    bucket.put("a", CONTENT * 8)                       # 2 MB
    with pytest.raises(OSError) as caught:
        mox.file.copy(bucket.url + "/a", os.path.join(str(folder), "a"))
    assert caught.value.errno == number
    assert len(bucket.requests("GET")) == 1
    assert os.listdir(str(folder)) == []


def test_full_disk_passes_untouched(bucket, tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
        stderr=subprocess.DEVNULL) if shutil.which("mount") else None
    if mounted is None or mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        failing_download(bucket, tmp_path, errno.ENOSPC)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_limit_of_a_files_size_passes_untouched(bucket, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        failing_download(bucket, tmp_path, errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_object_and_folder_of_one_name_are_refused_first(bucket, tmp_path):
    for key in ("in/a", "in/a/b", "in/0"):
        bucket.put(key, b"x")
    target = tmp_path / "new"
    with pytest.raises(mox.MoxFileNameDuplicateException) as caught:
        mox.file.copy_parallel(bucket.url + "/in", str(target))
    assert "in/a" in one_line(caught) and not target.exists()


def test_object_named_as_the_source_folder_is_refused(bucket, tmp_path):
    bucket.put("in", b"x")
    bucket.put("in/a", b"x")
    with pytest.raises(mox.MoxFileNameDuplicateException):
        mox.file.copy_parallel(bucket.url + "/in", str(tmp_path / "new"))
    mox.file.copy_parallel(bucket.url + "/in/", str(tmp_path / "new"))
    assert os.listdir(str(tmp_path / "new")) == ["a"]


@pytest.mark.parametrize("key", ["in/../a", "in//a", "in/./a"])
def test_key_that_would_leave_the_folder_is_refused(bucket, tmp_path, key):
    bucket.put(key, b"x")
    with pytest.raises(mox.MoxFileNameDuplicateException, match="Rename"):
        mox.file.copy_parallel(bucket.url + "/in", str(tmp_path / "new"))
    assert os.listdir(str(tmp_path)) == []
