"""Open files in OBS, and connections that fail or lead elsewhere."""

import contextlib
import gc
import glob
import resource
import signal
import socket
import tempfile

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("obs", reason="needs esdk-obs-python")

from obs_support import one_line  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import retry as obs_retry  # noqa: E402
from nonlocal_tf.cloud import sdk as obs_sdk  # noqa: E402
from nonlocal_tf.cloud.errors import ObsError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


# Open files.

@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The copies that open files have on the disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda: glob.glob(str(tmp_path / "moxing.*"))


def test_file_that_is_not_closed_says_so_and_leaves_no_copy(
        bucket, copies, lines):
    mox.file.File(bucket.url + "/a", "w").write("text")
    gc.collect()
    assert [line for line in lines if "a was not closed" in line]
    assert copies() == [] and bucket.keys() == []


def test_file_that_is_only_read_need_not_be_closed(bucket, copies, lines):
    bucket.put("a", b"text")
    assert mox.file.File(bucket.url + "/a").read() == "text"
    gc.collect()
    assert copies() == []
    assert not [line for line in lines if "not closed" in line]


@pytest.mark.parametrize("mode", ["w", "a", "r+"])
def test_exception_while_writing_leaves_the_object(bucket, copies, mode):
    bucket.put("a", b"good")
    with pytest.raises(KeyError):
        with mox.file.File(bucket.url + "/a", mode) as file:
            file.write("ha")
            raise KeyError("half way")
    assert bucket.get("a") == b"good" and copies() == []


def test_full_disk_at_close_leaves_no_copy(bucket, copies):
    bucket.put("a", b"good")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        file = mox.file.File(bucket.url + "/a", "wb")
        file.write(b"x" * 200)                         # into the buffer
        with pytest.raises(OSError):
            file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert copies() == [] and bucket.get("a") == b"good"


def test_write_that_is_refused_stores_nothing(bucket):
    bucket.put("a", b"text")
    file = mox.file.File(bucket.url + "/a", "r")
    with pytest.raises(OSError):
        file.write("x")
    file.close()
    assert len(bucket.requests("PUT")) == 0


def test_file_gives_its_next_line(bucket):
    bucket.put("a", b"1\n2\n")
    with mox.file.File(bucket.url + "/a") as file:
        assert next(file) == "1\n" and list(file) == ["2\n"]


# Connections.

@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("verb, action", [
    ("GET", lambda url: mox.file.read(url)),
    ("PUT", lambda url: mox.file.write(url, "x"))])
def test_redirect_is_not_followed(server, bucket, status, verb, action):
    bucket.put("a", b"x")
    bucket.fault(verb, status=status, location="http://127.0.0.1:{}/{}/a"
                 .format(server.port, bucket.name))
    with pytest.raises(mox.MoxFileRespException) as caught:
        action(bucket.url + "/a")
    assert "S3_ENDPOINT to that of the bucket's region" in one_line(caught)
    assert len(bucket.requests(verb)) == 1


@pytest.mark.parametrize("names", [
    ("OBS_ACCESS_KEY_ID", "OBS_SECRET_ACCESS_KEY", "OBS_SECURITY_TOKEN"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")])
def test_token_of_temporary_keys_is_sent(server, bucket, use, names):
    use(server, OBS_ACCESS_KEY_ID="", OBS_SECRET_ACCESS_KEY="")
    use(server, **dict({"OBS_ACCESS_KEY_ID": "", "OBS_SECRET_ACCESS_KEY": ""},
                       **dict(zip(names, (server.access_key,
                                          server.secret_key, "TOKEN")))))
    mox.file.write(bucket.url + "/a", "text")
    assert server.tokens[-1] == "TOKEN" and bucket.get("a") == b"text"


def attempts(lines):
    return 1 + len([line for line in lines if "again in" in line])


def test_closed_port_is_tried_a_few_times(server, use, lines):
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        use(server, S3_ENDPOINT="127.0.0.1:{}".format(
            probe.getsockname()[1]))
        with pytest.raises(ObsError):
            mox.file.exists("obs://bucket/a")
    assert attempts(lines) == 1 + obs_retry.UNREACHED_RETRIES == 4


@contextlib.contextmanager
def silent_port():
    """A port whose queue is full, so that connections never come about."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(contextlib.closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("tls", ["0", "1"])
def test_connection_that_never_comes_about_is_given_up_soon(
        server, use, lines, monkeypatch, tls):
    monkeypatch.setattr(obs_sdk, "CONNECT_SECONDS", 0.1)
    with silent_port() as port:
        use(server, S3_ENDPOINT="127.0.0.1:{}".format(port), S3_USE_HTTPS=tls)
        with pytest.raises(ObsError, match="no connection within 0.1 s"):
            mox.file.exists("obs://bucket/a")
    assert attempts(lines) == 4


def test_tls_to_a_port_without_is_named_at_once(server, bucket, use, lines):
    use(server, S3_USE_HTTPS="1")
    with pytest.raises(ObsError, match="S3_USE_HTTPS=0") as caught:
        mox.file.exists(bucket.url + "/a")
    assert one_line(caught) and attempts(lines) == 1


def test_operation_that_meets_another_is_tried_again(bucket):
    fault = bucket.fault("PUT", times=2, status=409, code="OperationAborted")
    mox.file.write(bucket.url + "/a", "text")
    assert bucket.get("a") == b"text" and fault.met == 2
