"""How OBS is reached: endpoint, TLS, redirects, and keys that stay unsaid."""

import contextlib
import shutil
import socket
import sys

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("boto3", reason="needs boto3")

import obs_server  # noqa: E402
from obs_fixtures import one_line  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import client  # noqa: E402
from nonlocal_tf.errors import UserError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


# Settings.

def test_set_auth_goes_before_the_environment(server, bucket, use):
    use(server, OBS_ACCESS_KEY_ID="AKUNKNOWN0123456789", S3_ENDPOINT="x.test",
        S3_USE_HTTPS="1", OBS_SECURITY_TOKEN="")
    mox.file.set_auth(ak=server.access_key, sk=server.secret_key,
                      server="obs.test", port=server.port, is_secure=False,
                      security_token="TOKEN")
    mox.file.write(bucket.url + "/a", "text")
    assert bucket.get("a") == b"text" and server.tokens[-1] == "TOKEN"


@pytest.mark.parametrize("names", [
    ("OBS_ACCESS_KEY_ID", "OBS_SECRET_ACCESS_KEY", "OBS_SECURITY_TOKEN"),
    ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")])
def test_keys_and_token_have_these_names(server, bucket, use, names):
    use(server, **dict({"OBS_ACCESS_KEY_ID": "", "OBS_SECRET_ACCESS_KEY": ""},
                       **dict(zip(names, (server.access_key,
                                          server.secret_key, "TOKEN")))))
    mox.file.write(bucket.url + "/a", "text")
    assert server.tokens[-1] == ("TOKEN" if names[2:] else None)


@pytest.mark.parametrize("name", ["S3_ENDPOINT", "OBS_SECRET_ACCESS_KEY"])
def test_what_is_missing_is_asked_for(server, use, name):
    use(server, **{name: ""})
    with pytest.raises(UserError, match=name):
        mox.file.exists("obs://bucket/a")


def test_missing_boto3_is_asked_for(server, use, monkeypatch):
    use(server, S3_REGION="new")
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(UserError, match="pip install boto3"):
        mox.file.exists("obs://bucket/a")


def test_region_gives_the_endpoint(use):
    made = client.Client({"S3_REGION": "cn-north-4", "ACCESS_KEY_ID": "a",
                          "SECRET_ACCESS_KEY": "b"})
    assert made.s3.meta.endpoint_url == (
        "https://obs.cn-north-4.myhuaweicloud.com")


def test_files_and_variables_of_aws_are_not_read(
        bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("S3_REGION", "another")          # a new client
    assert mox.file.exists(bucket.url)


# Credentials.

@pytest.mark.parametrize("action", [
    lambda url: mox.file.exists(url), lambda url: mox.file.read(url),
    lambda url: mox.file.write(url, "x"),
    lambda url: mox.file.copy_parallel(url, "/nowhere")])
@pytest.mark.parametrize("name, advice", [
    ("OBS_ACCESS_KEY_ID", "InvalidAccessKeyId.*ACCESS_KEY_ID and S3_ENDP"),
    ("OBS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch.*SECRET_ACCESS_KEY")])
def test_wrong_keys_are_named_at_once(
        server, bucket, use, action, name, advice):
    use(server, **{name: "WRONGWRONGWRONG0123456789"})
    with pytest.raises(OSError, match=advice) as caught:
        action(bucket.url + "/a")
    assert "WRONG" not in one_line(caught)
    assert len(bucket.requests("PUT") + bucket.requests("GET")) == 1


def test_no_credential_is_in_errors_or_logs(
        server, bucket, lines, monkeypatch):
    monkeypatch.setattr(client, "RETRIES", 2)
    texts = []
    for status, code in ((400, "Strange"), (503, "SlowDown"),
                         (403, "SignatureDoesNotMatch")):
        bucket.fault("PUT", times=3, status=status, code=code)
        with pytest.raises(OSError) as caught:
            mox.file.write(bucket.url + "/a", "x")
        texts += [str(caught.value), repr(caught.value.__context__),
                  repr(vars(caught.value.resp))]
        server.forget_faults()
    text = " ".join(texts + lines)
    assert "You sent AWS4-HMAC-SHA256 Credential=***" in text
    for secret in (server.access_key, server.secret_key):
        assert secret not in text and secret not in repr(
            client.connect())


def test_name_before_an_endpoint_is_refused_unread(server, use):
    use(server, S3_ENDPOINT="http://user:password@host")
    with pytest.raises(UserError) as caught:
        mox.file.exists("obs://bucket/a")
    assert "password" not in str(caught.value)


# Connections.

@pytest.mark.parametrize("verb, status", [
    ("GET", 301), ("GET", 307), ("PUT", 301), ("PUT", 307), ("HEAD", 301)])
def test_redirect_is_not_followed(server, bucket, verb, status):
    """Nor is the other region looked for, as botocore does by itself."""
    bucket.put("a", b"x")
    bucket.fault(verb, status=status, code="PermanentRedirect", times=99,
                 location="http://127.0.0.1:{}/{}/a".format(
                     server.port, bucket.name))       # it would count as one
    with pytest.raises(OSError, match="S3_ENDPOINT to that of the") as caught:
        mox.file.write(bucket.url + "/a", "x")
        mox.file.read(bucket.url + "/a")
    assert one_line(caught) and len(bucket.requests(verb)) <= 2


def attempts(lines):
    return 1 + len([line for line in lines if "Again in" in line])


def test_closed_port_is_tried_a_few_times(server, use, lines):
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{}".format(probe.getsockname()[1])
        use(server, S3_ENDPOINT=address)
        with pytest.raises(OSError, match=address) as caught:
            mox.file.exists("obs://bucket/a")
    assert "S3_ENDPOINT" in one_line(caught) and attempts(lines) == 4


def test_slow_answer_is_given_up_and_asked_again(
        server, bucket, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setenv("S3_REGION", "slow")             # a new client
    bucket.put("a", b"text")
    fault = bucket.fault("GET", delay=0.5)
    assert mox.file.read(bucket.url + "/a") == "text"
    assert fault.met == 1 and len(bucket.requests("GET")) == 2


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
    with pytest.raises(OSError, match="certificate") as caught:
        mox.file.exists("obs://bucket-tls")
    assert "S3_VERIFY_SSL" in one_line(caught) and attempts(lines) == 1


def test_unknown_certificate_is_accepted_on_request(secure, use):
    use(secure["127.0.0.1"], S3_VERIFY_SSL="0")
    assert not mox.file.exists("obs://bucket-tls")


def test_known_certificate_is_accepted(secure, use):
    server = secure["127.0.0.1"]
    use(server, SSL_CERT_FILE=server.certificate)
    assert not mox.file.exists("obs://bucket-tls")


def test_certificate_of_another_host_is_refused(secure, use):
    server = secure["other.test"]
    use(server, SSL_CERT_FILE=server.certificate)
    with pytest.raises(OSError, match="certificate.*other.test"):
        mox.file.exists("obs://bucket-tls")


def test_tls_to_a_port_without_is_named_at_once(server, use, lines):
    use(server, S3_USE_HTTPS="1")
    with pytest.raises(OSError, match="S3_USE_HTTPS=0") as caught:
        mox.file.exists("obs://bucket/a")
    assert one_line(caught) and attempts(lines) == 1
