"""What the tests of OBS share: a server, a bucket, what is logged."""

import hashlib
import itertools
import logging
import os
import socket
import types

import obs_server
import pytest

from nonlocal_tf.cloud import client

CONTENT = hashlib.sha512(b"seed").digest() * 4000      # 256,000 bytes
_numbers = itertools.count()


def local(folder, name="file", content=CONTENT):
    path = os.path.join(str(folder), name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def one_line(caught):
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.fixture(scope="session")
def server():
    with obs_server.ObsServer() as running:
        yield running


@pytest.fixture
def use(monkeypatch):
    """Sets the environment for a server, with changes."""
    resolve = socket.getaddrinfo

    def use(server, **changes):
        for name in client.NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in server.environment(**changes).items():
            monkeypatch.setenv(name, value)

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: (
        resolve("127.0.0.1" if host.endswith(".test") else host, *rest,
                **more)))
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.005)
    monkeypatch.setattr(client, "RETRY_CAP_SECONDS", 0.02)
    return use


@pytest.fixture
def bucket(server, use):
    """A new bucket of an endpoint with a name, as OBS has one."""
    use(server, S3_ENDPOINT="http://obs.test:{}".format(server.port))
    server.forget_faults()
    name = "bucket-{}".format(next(_numbers))
    server.make_bucket(name)
    return types.SimpleNamespace(
        name=name, url="obs://" + name,
        put=lambda key, content: server.put(name, key, content),
        get=lambda key: server.get(name, key),
        keys=lambda: server.keys(name),
        fault=lambda method, **settings: server.fault(
            method, settings.pop("pattern", "/" + name), **settings),
        requests=lambda method: [
            path for verb, path in server.requests
            if verb == method and path.startswith("/" + name)])


@pytest.fixture
def small_parts(monkeypatch):
    """Files of 256,000 bytes go in three parts, up and down."""
    import moto.s3.models
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", "100000")
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1)


@pytest.fixture
def lines():
    """What is logged, at every level and by every logger."""
    found, last = [], [None]

    class Handler(logging.Handler):
        def emit(self, record):
            if record is not last[0]:                  # from absl and root
                found.append(record.getMessage())
            last[0] = record

    handler, levels = Handler(), {}
    loggers = [logging.getLogger(name) for name in (None, "absl")]
    for logger in loggers:
        levels[logger] = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield found
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(levels[logger])
