"""Downloads against a real server on the loopback: checked, or nothing."""

import hashlib
import http.server
import os
import socket
import threading
import time
import types

import pytest

from nonlocal_tf.data import download
from nonlocal_tf.errors import UserError

CONTENT = bytes(bytearray(range(256))) * 700           # 179,200 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def good(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT)


def status(code):
    return lambda handler: handler.send_error(code)


def content(body, length=None):
    def answer(handler):
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(body)
    return answer


def drip(handler):
    """A byte at a time, each well before a read would time out."""
    content(b"", len(CONTENT))(handler)
    for _ in range(200):
        handler.wfile.write(b"x")
        time.sleep(0.02)


def stall(handler):
    content(b"x", len(CONTENT))(handler)
    time.sleep(0.4)


@pytest.fixture
def server(monkeypatch):
    """A mirror; `answers[folder]` is a list of answers, the last repeated."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_DELAYS", (0, 0))
    answers, requests = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):                              # noqa: N802
            requests.append(self.path)
            queue = answers[self.path.split("/")[1]]
            try:
                (queue.pop(0) if len(queue) > 1 else queue[0])(self)
            except OSError:
                pass                                   # the client went away

        def log_message(self, *_):
            pass

    httpd = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    httpd.handle_error = lambda *_: None
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.daemon = True
    thread.start()
    yield types.SimpleNamespace(
        url="http://127.0.0.1:{}/".format(httpd.server_port),
        answers=answers, requests=requests)
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def fetch(server, tmp_path):
    """Fetches from mirrors that are named by their answers, in order."""
    def run(*mirrors):
        names = []
        for place, answers in enumerate(mirrors):
            names.append("m{}".format(place))
            server.answers[names[-1]] = list(answers)
        return download.fetch(
            "file.gz", SHA256, len(CONTENT),
            [server.url + name + "/" for name in names], str(tmp_path))
    return run


def refused(fetch, tmp_path, *mirrors):
    """The reasons, where no mirror is good; nothing may be left behind."""
    with pytest.raises(download.DownloadError) as caught:
        fetch(*mirrors)
    assert os.listdir(str(tmp_path)) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_file_arrives_whole_and_alone(fetch, tmp_path):
    path = fetch([good])
    assert path == str(tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert os.listdir(str(tmp_path)) == ["file.gz"]


def test_mirror_may_lack_its_last_slash(server, tmp_path):
    server.answers["m"] = [good]
    download.fetch("file.gz", SHA256, len(CONTENT), [server.url + "m"],
                   str(tmp_path))
    assert server.requests == ["/m/file.gz"]


def test_length_may_be_unknown(fetch, tmp_path):
    fetch([content(CONTENT)])
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_missing_file_sends_to_the_next_mirror_at_once(fetch, server):
    fetch([status(404)], [good])
    assert server.requests == ["/m0/file.gz", "/m1/file.gz"]


def test_busy_mirror_is_asked_again(fetch, server):
    fetch([status(503), status(503), good])
    assert server.requests == ["/m0/file.gz"] * 3


def test_mirror_is_asked_three_times_at_most(fetch, server, tmp_path):
    assert "503" in refused(fetch, tmp_path, [status(503)])
    assert len(server.requests) == 3


def test_pauses_lie_between_the_attempts(fetch, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(download, "RETRY_DELAYS", (1.0, 4.0))
    monkeypatch.setattr(
        download, "time", types.SimpleNamespace(
            sleep=pauses.append, monotonic=time.monotonic))
    refused(fetch, tmp_path, [status(503)])
    assert pauses == [1.0, 4.0]


def test_dropped_connection_is_tried_again(fetch, tmp_path):
    fetch([content(CONTENT[:5000], len(CONTENT)), good])
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_connection_dropped_each_time_leaves_nothing(fetch, tmp_path):
    reason = refused(
        fetch, tmp_path, [content(CONTENT[:5000], len(CONTENT))])
    assert "5000 of 179200 bytes" in reason


def test_other_content_of_the_same_size_is_refused(fetch, server, tmp_path):
    reason = refused(fetch, tmp_path, [content(CONTENT[::-1], len(CONTENT))])
    assert "SHA-256" in reason and SHA256[:12] in reason
    assert len(server.requests) == 1


def test_other_declared_length_is_refused_at_once(fetch, server, tmp_path):
    reason = refused(fetch, tmp_path, [content(b"<html>", 6)])
    assert "6 bytes in place of 179200" in reason
    assert len(server.requests) == 1


def test_endless_answer_is_cut_off(fetch, tmp_path):
    reason = refused(fetch, tmp_path, [content(CONTENT * 50)])
    assert "more than 179200 bytes" in reason


def test_stalled_mirror_times_out(fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(download, "RETRY_DELAYS", ())
    assert "timed out" in refused(fetch, tmp_path, [stall])


def test_dripping_mirror_is_given_up(fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    start = time.monotonic()
    assert "too slow" in refused(fetch, tmp_path, [drip])
    assert time.monotonic() - start < 2


def test_unreachable_port_gives_its_reason(server, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(download.DownloadError, match="refused"):
        download.fetch("file.gz", SHA256, len(CONTENT), [
            "http://127.0.0.1:{}/".format(port)], str(tmp_path))


@pytest.mark.parametrize("mirror", ["nonsense", "http://host:port/", "x://y"])
def test_mirror_that_is_no_address_gives_its_reason(tmp_path, mirror):
    with pytest.raises(download.DownloadError, match=mirror):
        download.fetch("file.gz", SHA256, 9, [mirror], str(tmp_path))


def test_every_mirror_is_named_with_its_reason(fetch, server, tmp_path):
    text = refused(fetch, tmp_path, [status(404)], [status(403)])
    assert "{}m0/: HTTP status 404".format(server.url) in text
    assert "{}m1/: HTTP status 403".format(server.url) in text


def test_earlier_file_survives_a_failed_download(fetch, tmp_path):
    (tmp_path / "file.gz").write_bytes(b"earlier")
    with pytest.raises(download.DownloadError):
        fetch([content(CONTENT[::-1], len(CONTENT))])
    assert (tmp_path / "file.gz").read_bytes() == b"earlier"
    assert os.listdir(str(tmp_path)) == ["file.gz"]


def test_full_disk_is_the_users_error_not_the_mirrors(
        fetch, server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        fetch([good], [good])
    assert len(server.requests) == 1
    assert os.listdir(str(tmp_path)) == []


def test_progress_is_logged_in_tenths(fetch, monkeypatch):
    lines = []
    monkeypatch.setattr(
        download.logging, "info", lambda text, *args: lines.append(text % args))
    fetch([good])
    percents = [line for line in lines if " % of " in line]
    assert 2 <= len(percents) <= 10
    assert percents[-1] == "file.gz: 100 % of 0.2 MB"


def test_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    server.answers[""] = [good]                        # the path is a whole URL
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("http_proxy", server.url)
    download.fetch("file.gz", SHA256, len(CONTENT), [
        "http://mirror.invalid/"], str(tmp_path))
    assert server.requests == ["http://mirror.invalid/file.gz"]
