"""A real S3 server on the loopback, behind a proxy that makes faults.

    with ObsServer() as server:
        server.make_bucket("bucket")
        os.environ.update(server.environment())

moto stores the objects; the proxy checks keys, signatures (V4, as Amazon
specifies it) and MD5s, refuses what OBS refuses or does not know, and answers,
delays, drops or corrupts what `fault` says. It shares no code with the client
under test.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import logging
import os
import re
import secrets
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse

_ERROR = ('<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code>'
          "<Message>{}</Message><RequestId>0</RequestId></Error>")
_TO_MOTO = {"Authorization": "AWS any:any"}     # it asks for one, reads none


class Fault:
    """What happens to the next `times` requests that match.

    Attributes:
      method, pattern: of the requests: None matches all, a regular
        expression for path and query.
      status, code: answered in place of moto.
      drop_request_after: bytes of the request's body until the connection
        ends; drop_response_after: of the response's.
      reset: it ends as when a machine fails, not as when a program closes it.
      whole: the request's Range is overlooked.
      delay: seconds before the answer.
      corrupt: one bit of the response's body is turned; corrupt_request: of
        the request's.
      action: called before the request goes on, such as to change a file.
      location: where an answer with a status of 3.. leads.
    """

    def __init__(self, method=None, pattern="", times=1, status=None,
                 code="ServiceUnavailable", drop_request_after=None,
                 drop_response_after=None, reset=True, whole=False, delay=0,
                 corrupt=False, corrupt_request=False, corrupt_etag=False,
                 action=None, location=None):
        self.method, self.pattern, self.times = method, pattern, times
        self.status, self.code, self.delay = status, code, delay
        self.drop_request_after = drop_request_after
        self.drop_response_after = drop_response_after
        self.reset, self.whole = reset, whole
        self.corrupt, self.corrupt_etag = corrupt, corrupt_etag
        self.corrupt_request = corrupt_request
        self.action, self.location, self.met = action, location, 0

    def matches(self, method, path):
        return (self.met < self.times and self.method in (None, method)
                and re.search(self.pattern, path))


class ObsServer:
    """The server; a context manager.

    Attributes:
      access_key, secret_key: made at random, the only ones that are known.
      requests: (method, path with query) of each, in order.
      tokens: the temporary keys' token that each came with, or None.
      moto: moto's own address, which checks no keys.
    """

    def __init__(self, certificate=None):
        """certificate: path of a PEM file with key and certificate: TLS."""
        self.access_key = "AK" + secrets.token_hex(9).upper()
        self.secret_key = secrets.token_urlsafe(30)
        self.requests, self.tokens, self._faults = [], [], []
        self._certificate, self._lock = certificate, threading.Lock()

    def __enter__(self):
        from moto.server import ThreadedMotoServer
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._moto = ThreadedMotoServer("127.0.0.1", _free_port(), False)
        self._moto.start()
        self.moto = "127.0.0.1:{}".format(self._moto._port)
        _wait_for(self._moto._port)
        self._proxy = _Proxy(self, self._certificate)
        self.port = self._proxy.server_port
        threading.Thread(target=self._proxy.serve_forever, args=(0.02,),
                         daemon=True).start()
        return self

    def __exit__(self, *_):
        self._proxy.shutdown()
        self._proxy.server_close()
        self.request("POST", "/moto-api/reset")       # moto's are global
        self._moto.stop()

    def environment(self, **changes):
        """The variables for a client of this server."""
        return dict({
            "S3_ENDPOINT": "127.0.0.1:{}".format(self.port),
            "S3_USE_HTTPS": "1" if self._certificate else "0",
            "OBS_ACCESS_KEY_ID": self.access_key,
            "OBS_SECRET_ACCESS_KEY": self.secret_key}, **changes)

    def fault(self, method=None, pattern="", **settings):
        """Adds a `Fault`; returns it, with `met`: how often it came about."""
        fault = Fault(method, pattern, **settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    def forget_faults(self):
        """Those of one test are not for the next."""
        with self._lock:
            self._faults.clear()

    def next_fault(self, method, path):
        with self._lock:
            self.requests.append((method, path))
            for fault in self._faults:
                if fault.matches(method, path):
                    fault.met += 1
                    return fault
        return Fault()

    def request(self, method, path, body=None):
        """(status, body) from moto itself, past the proxy."""
        with contextlib.closing(http.client.HTTPConnection(
                self.moto, timeout=60)) as connection:
            connection.request(method, path, body, _TO_MOTO)
            response = connection.getresponse()
            return response.status, response.read()

    def make_bucket(self, name):
        status, body = self.request("PUT", "/" + name)
        assert status == 200, body

    def put(self, bucket, key, content):
        """Stores an object, past the client under test."""
        status, body = self.request("PUT", _path(bucket, key), content)
        assert status == 200, body

    def get(self, bucket, key):
        """An object's bytes, past the client under test; None: no such."""
        status, body = self.request("GET", _path(bucket, key))
        return body if status == 200 else None

    def keys(self, bucket):
        """All keys, past the client under test."""
        _, body = self.request("GET", "/{}?max-keys=5000".format(bucket))
        return re.findall("<Key>(.*?)</Key>", body.decode("utf-8"))

    def open_uploads(self, bucket):
        """How many uploads in parts were begun and neither ended."""
        _, body = self.request("GET", "/{}?uploads".format(bucket))
        return body.count(b"<UploadId>")


class _Proxy(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, server, certificate):
        self.owner = server
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)

    def get_request(self):
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, *_):
        """A client went away, or a fault sent it away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request: fault, keys, moto, answer."""

    def handle_any(self):
        owner = self.server.owner
        self.close_connection = True
        bucket = _bucket_of_host(self.headers.get("Host", ""))
        path = "/" + bucket + self.path if bucket else self.path
        fault = owner.next_fault(self.command, path)
        owner.tokens.append(self.headers.get("x-amz-security-token"))
        body = self._body(fault)
        if body is None:
            return
        if fault.action:
            fault.action()
        time.sleep(fault.delay)
        if fault.corrupt_request:
            body = bytes([body[0] ^ 1]) + body[1:]
        code = self._unknown_to_obs(bucket) or self._refusal(owner) or (
            self._mismatch(body))
        if fault.status:
            self._error(fault.status, fault.code, fault.location)
        elif code:
            self._error(400 if code in ("NotImplemented", "BadDigest") else
                        403, code)
        else:
            if fault.whole:
                del self.headers["Range"]
            self._answer(fault, *self._forward(owner, path, body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def _body(self, fault):
        length = int(self.headers.get("Content-Length") or 0)
        if fault.drop_request_after is None:
            return self.rfile.read(length)
        self.rfile.read(min(length, fault.drop_request_after))
        self._drop(fault)
        return None

    def _drop(self, fault):
        self.wfile.flush()
        if fault.reset:
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def _unknown_to_obs(self, bucket):
        """The code for what S3 takes and OBS does not, or may not."""
        headers = " ".join(
            "{}:{}".format(*item) for item in self.headers.items()).lower()
        host = self.headers["Host"].partition(":")[0]
        if re.search("expect:|aws-chunked|x-amz-(trailer|checksum|sdk-)|"
                     "sha256:streaming", headers) or re.search(
                "encoding-type=|list-type=2", self.path) or not (
                bucket or re.match(r"[\d.]+$|localhost$", host)):
            return "NotImplemented"
        return None

    def _refusal(self, owner):
        """The code of the error, or None where key and signature are good."""
        given = re.match(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+), ?"
            r"SignedHeaders=(\S+), ?Signature=(\w+)$",
            self.headers.get("Authorization", ""))
        if not given:
            return "AccessDenied"
        key, scope, names, signature = given.groups()
        if key != owner.access_key:
            return "InvalidAccessKeyId"
        wanted = signature_v4(owner.secret_key, self.command, self.path,
                              self.headers, scope, names.split(";"))
        if not hmac.compare_digest(wanted, signature):
            return "SignatureDoesNotMatch"
        return None

    def _mismatch(self, body):
        """The code of the error, or None where what came is what was sent."""
        if self.command == "PUT" and body and base64.b64decode(
                self.headers.get("Content-MD5", "")) != hashlib.md5(
                    body).digest() or (
                self.headers["x-amz-content-sha256"] not in (
                    "UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest())):
            return "BadDigest"
        return None

    def _error(self, status, code, location=None):
        # Amazon's and OBS's answers name the key; ours all that was sent.
        body = _ERROR.format(code, "You sent {}".format(
            self.headers.get("Authorization"))).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _forward(self, owner, path, body):
        """(status, headers, body) of moto's answer."""
        headers = {
            name: value for name, value in self.headers.items()
            if name.lower() not in ("host", "connection", "authorization")}
        headers.update(_TO_MOTO)
        with contextlib.closing(http.client.HTTPConnection(
                owner.moto, timeout=60)) as connection:
            connection.request(self.command, path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()

    def _answer(self, fault, status, headers, body):
        length = dict((name.lower(), value) for name, value in headers).get(
            "content-length", len(body))
        self.send_response(status)
        for name, value in headers:
            if name.lower() == "etag" and fault.corrupt_etag:
                value = '"{}"'.format("0" * 32)
            if name.lower() not in ("content-length", "connection",
                                    "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(
            length if self.command == "HEAD" else len(body)))
        self.end_headers()
        if fault.corrupt:
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault.drop_response_after is not None:
            self.wfile.write(body[:fault.drop_response_after])
            self._drop(fault)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        """Silence."""


def signature_v4(secret, method, path, headers, scope, names):
    """The signature of a request by version 4 (HMAC-SHA256).

    Args:
      secret: the secret key.
      method: such as "GET".
      path: /key?query, percent-encoded as it was sent.
      headers: of the request.
      scope: DATE/REGION/s3/aws4_request.
      names: of the headers that are signed.
    """
    for name in headers:                # all that matters must be signed
        if re.match("host$|x-amz-|content-md5$", name.lower()):
            assert name.lower() in names, name
    resource, _, query = path.partition("?")
    text = "\n".join([method, resource, "&".join(sorted(
        item if "=" in item else item + "=" for item in query.split("&")
        if item))] + ["{}:{}".format(name, " ".join(headers[name].split()))
                      for name in names] + [
        "", ";".join(names), headers["x-amz-content-sha256"]])
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope,
                      hashlib.sha256(text.encode("utf-8")).hexdigest()])
    key = ("AWS4" + secret).encode("utf-8")
    for part in scope.split("/") + [text]:
        key = hmac.new(key, part.encode("utf-8"), hashlib.sha256).digest()
    return key.hex()


def make_certificate(path, name):
    """Writes a self-signed certificate for `name` and its key by openssl."""
    kind = "IP" if re.match(r"[\d.]+$", name) else "DNS"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=test", "-addext", "subjectAltName={}:{}".format(
             kind, name), "-keyout", path, "-out", path + ".certificate"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path, "a") as both, open(path + ".certificate") as certificate:
        both.write(certificate.read())
    os.remove(path + ".certificate")


def _bucket_of_host(host):
    """The bucket before an endpoint that is a name: bucket.obs.test."""
    labels = host.partition(":")[0].split(".")
    return labels[0] if labels[-1] == "test" and len(labels) == 3 else ""


def _path(bucket, key):
    return "/{}/{}".format(bucket, urllib.parse.quote(key))


def _free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port):
    for _ in range(500):
        with contextlib.closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise OSError("moto did not start")
