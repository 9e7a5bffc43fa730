"""How OBS is reached: endpoint, keys that stay unsaid, TLS."""

import contextlib
import shutil
import sys

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("obs", reason="needs esdk-obs-python")

import obs_server  # noqa: E402
from obs_support import one_line  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import connection as obs_client  # noqa: E402
from nonlocal_tf.cloud import retry as obs_retry  # noqa: E402
from nonlocal_tf.cloud import settings as obs_settings  # noqa: E402
from nonlocal_tf.cloud.errors import ObsError  # noqa: E402
from nonlocal_tf.errors import UserError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


# Settings.

def test_set_auth_goes_before_the_environment(server, bucket, use):
    use(server, OBS_ACCESS_KEY_ID="AKUNKNOWN0123456789")
    mox.file.set_auth(ak=server.access_key, sk=server.secret_key)
    mox.file.write(bucket.url + "/a", "text")
    assert bucket.get("a") == b"text"


@pytest.mark.parametrize("names", [
    ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")])
def test_other_names_of_the_keys_serve_too(server, bucket, use, names):
    use(server, OBS_ACCESS_KEY_ID="", OBS_SECRET_ACCESS_KEY="", **dict(
        zip(names, (server.access_key, server.secret_key))))
    mox.file.write(bucket.url + "/a", "text")
    assert bucket.get("a") == b"text"


def test_missing_keys_are_asked_for(server, use):
    use(server, OBS_SECRET_ACCESS_KEY="")
    with pytest.raises(UserError, match="OBS_SECRET_ACCESS_KEY"):
        mox.file.exists("obs://bucket/a")


def test_missing_endpoint_is_asked_for(server, use):
    use(server, S3_ENDPOINT="")
    with pytest.raises(UserError, match="S3_ENDPOINT"):
        mox.file.exists("obs://bucket/a")


def test_region_gives_the_endpoint():
    settings = obs_settings.Settings({
        "S3_REGION": "cn-north-4", "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b"}, {})
    assert settings.url == "https://obs.cn-north-4.myhuaweicloud.com"
    assert settings.verify is True


def test_missing_sdk_is_asked_for(server, use, monkeypatch):
    use(server)
    monkeypatch.setitem(sys.modules, "obs", None)
    with pytest.raises(UserError, match="pip install esdk-obs-python"):
        mox.file.exists("obs://bucket/a")


# Credentials.

def secrets_of(server):
    return server.access_key, server.secret_key


def test_no_credential_is_in_errors_or_logs(
        server, bucket, lines, monkeypatch):
    monkeypatch.setattr(obs_retry, "RETRIES", 2)
    texts = []
    for status, code in ((400, "Strange"), (403, "AccessDenied"),
                         (503, "SlowDown"), (403, "SignatureDoesNotMatch")):
        bucket.fault("PUT", times=3, status=status, code=code)
        with pytest.raises(ObsError) as caught:
            mox.file.write(bucket.url + "/a", "x")
        bucket.fault("PUT", times=0)
        error = caught.value
        texts += [str(error), repr(error), repr(vars(error.resp)),
                  repr(error.__context__)]
        server.forget_faults()
    text = " ".join(texts + lines)
    assert "You sent AWS ***" in text                  # an echo, masked
    assert not [key for key in secrets_of(server) if key in text]


def test_no_credential_is_in_a_repr(server, use):
    use(server)
    client = obs_client.connect()
    text = repr(client) + repr(client._settings) + repr(client._settings.mask)
    assert not [key for key in secrets_of(server) if key in text]


def test_name_before_an_endpoint_is_refused_unread(server, use):
    use(server, S3_ENDPOINT="http://user:password@host")
    with pytest.raises(UserError) as caught:
        mox.file.exists("obs://bucket/a")
    assert "password" not in str(caught.value)


# TLS.

@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """Servers with self-signed certificates, by the certificate's name."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in ("127.0.0.1", "other.test"):
            path = str(tmp_path_factory.mktemp("tls") / "certificate.pem")
            obs_server.make_certificate(path, name)
            servers[name] = stack.enter_context(obs_server.ObsServer(path))
            servers[name].certificate = path
        yield servers


def test_unknown_certificate_is_refused_at_once(secure, use, lines):
    use(secure["127.0.0.1"])
    with pytest.raises(ObsError, match="certificate") as caught:
        mox.file.exists("obs://bucket-tls")
    assert "S3_VERIFY_SSL" in one_line(caught)
    assert not [line for line in lines if "again in" in line]


def test_unknown_certificate_is_accepted_on_request(secure, use):
    use(secure["127.0.0.1"], S3_VERIFY_SSL="0")
    assert not mox.file.exists("obs://bucket-tls")


def test_known_certificate_is_accepted(secure, use, monkeypatch):
    server = secure["127.0.0.1"]
    use(server)
    monkeypatch.setenv("SSL_CERT_FILE", server.certificate)
    assert not mox.file.exists("obs://bucket-tls")


def test_certificate_of_another_host_is_refused(secure, use, monkeypatch):
    server = secure["other.test"]
    use(server)
    monkeypatch.setenv("SSL_CERT_FILE", server.certificate)
    with pytest.raises(ObsError, match="certificate"):
        mox.file.exists("obs://bucket-tls")
