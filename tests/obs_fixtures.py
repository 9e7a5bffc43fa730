"""What the tests of OBS share: a server, a bucket, what is logged."""

import itertools
import logging
import types

import obs_server
import pytest

from nonlocal_tf.cloud import connection as obs_client
from nonlocal_tf.cloud import retry as obs_retry
from nonlocal_tf.cloud import settings as obs_settings

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    with obs_server.ObsServer() as running:
        yield running


@pytest.fixture
def use(monkeypatch):
    """Sets the environment for a server, with changes."""
    def use(server, **changes):
        for name in obs_settings.NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in server.environment(**changes).items():
            monkeypatch.setenv(name, value)

    monkeypatch.setattr(obs_retry, "RETRY_SECONDS", 0.005)
    monkeypatch.setattr(obs_retry, "RETRY_CAP_SECONDS", 0.02)
    obs_client.reset()
    yield use
    obs_client.reset()


@pytest.fixture
def bucket(server, use):
    """A new bucket: its name, URL and the helpers of the server for it."""
    use(server)
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
