"""Downloads against a real server on the loopback: checked, or nothing."""

import hashlib
import http.server
import os
import threading
import types
from time import sleep

import pytest

from nonlocal_tf.data import download
from nonlocal_tf.errors import UserError

CONTENT = bytes(bytearray(range(256))) * 700           # 179,200 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


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


good = content(CONTENT, len(CONTENT))
cut = content(CONTENT[:5000], len(CONTENT))
reversed_content = content(CONTENT[::-1], len(CONTENT))


def drip(handler):
    """A byte at a time, each well before a read would time out."""
    content(b"", len(CONTENT))(handler)
    for _ in range(200):
        handler.wfile.write(b"x")
        sleep(0.02)


def stall(handler):
    content(b"x", len(CONTENT))(handler)
    handler.connection.settimeout(3)
    handler.rfile.read(1)               # until the client goes away


@pytest.fixture
def server(monkeypatch):
    """A mirror; `answers[folder]` is a list of answers, the last repeated."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    answers, requests, pauses = {}, [], []
    monkeypatch.setattr(download.time, "sleep", pauses.append)

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
        answers=answers, requests=requests, pauses=pauses)
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def fetch(server, tmp_path):
    """Fetches from mirrors that are named by their answers, in order.

    The last one's address lacks its last slash.
    """
    def run(*mirrors):
        names = ["m{}".format(place) for place in range(len(mirrors))]
        server.answers.update(zip(names, map(list, mirrors)))
        download.fetch(
            "file.gz", SHA256, len(CONTENT),
            (server.url + ("/ " + server.url).join(names)).split(" "),
            str(tmp_path))
    return run


@pytest.mark.parametrize("mirrors, asked", [
    ([[good]], "0"),
    ([[content(CONTENT)]], "0"),                       # of unknown length
    ([[good], [good]], "0"),
    ([[status(404)], [good]], "01"),
    ([[reversed_content], [good]], "01"),
    ([[status(503), status(503), good]], "000"),       # busy
    ([[cut, good]], "00")])
def test_file_arrives_whole_and_alone_from_the_first_that_has_it(
        fetch, server, tmp_path, mirrors, asked):
    fetch(*mirrors)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert os.listdir(str(tmp_path)) == ["file.gz"]
    assert server.requests == ["/m{}/file.gz".format(m) for m in asked]


@pytest.mark.parametrize("answer, attempts, reason", [
    (status(404), 1, "HTTP Error 404"),
    (status(503), 3, "HTTP Error 503"),
    (cut, 3, "the connection ended (5000 of 179200 bytes)"),
    (reversed_content, 1, "another file: SHA-256"),
    (content(b"x" * 9999999), 1, "another file: SHA-256"),   # endless
    (content(b"<html>", 6), 1, "6 bytes in place of 179200"),
    (stall, 3, "timed out"),
    (drip, 1, "too slow")])
def test_mirror_that_fails_leaves_the_earlier_file(
        fetch, server, tmp_path, monkeypatch, answer, attempts, reason):
    if answer in (stall, drip):
        monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    (tmp_path / "file.gz").write_bytes(b"earlier")
    with pytest.raises(download.DownloadError) as caught:
        fetch([answer])
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    assert len(server.requests) == attempts
    assert server.pauses == [1.0, 4.0][:attempts - 1]
    assert (tmp_path / "file.gz").read_bytes() == b"earlier"
    assert os.listdir(str(tmp_path)) == ["file.gz"]


@pytest.mark.parametrize("mirror, reason", [
    ("http://127.0.0.1:9/", "refused"), ("nonsense", "nonsense"),
    ("http://host:port/", "port"), ("x://y", "unknown url type: x")])
def test_every_mirror_is_named_with_its_reason(
        server, tmp_path, mirror, reason):
    server.answers["m"] = [status(403)]
    mirrors = [mirror, server.url + "m"]
    with pytest.raises(download.DownloadError, match=(
            "{}: .*{}.*; {}: .*403".format(mirror, reason, mirrors[1]))):
        download.fetch("file.gz", SHA256, 9, mirrors, str(tmp_path))


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
