"""Huawei's SDK (`pip install esdk-obs-python`), as we need it.

Retries are ours and the SDK's are off: it neither logs nor spreads its own.
TLS contexts are ours too: with `ssl_verify=True` SDK 3.26.6 loads no
authority, so that it refuses every certificate, and it never compares host
names. Redirects are errors: it would send keys and token wherever they lead,
also without TLS.
"""

import http.client
import socket
import ssl

from nonlocal_tf.cloud.errors import UnreachedError
from nonlocal_tf.errors import UserError

TIMEOUT_SECONDS = 60                      # of each read and write
CONNECT_SECONDS = 10                      # until a connection is there
CHUNK = 1 << 16                           # bytes read at once


def make_sdk(settings):
    """The SDK's client for some `Settings`.

    Raises:
      UserError: the SDK is missing.
    """
    try:
        from obs import ObsClient
    except ImportError as error:
        raise UserError(
            "obs:// and s3:// need Huawei's SDK ({}). Install it: pip "
            "install esdk-obs-python.".format(error))
    sdk = ObsClient(
        access_key_id=settings.access_key,
        secret_access_key=settings.secret_key,
        security_token=settings.token, server=settings.url,
        path_style=settings.path_style, max_retry_count=0,
        max_redirect_count=0,
        timeout=settings.timeout or TIMEOUT_SECONDS, signature="obs",
        long_conn_mode=settings.long_connections, chunk_size=CHUNK,
        is_signature_negotiation=settings.negotiation)
    if settings.secure:
        sdk.context = _tls(settings)

    def connection(is_secure, server, port, *_):
        if is_secure:
            return _SecureConnection(
                server, port, timeout=sdk.timeout, context=sdk.context)
        return _Connection(server, port, timeout=sdk.timeout)

    sdk._get_server_connection_use_http1x = connection
    return sdk


def _tls(settings):
    authorities = settings.verify if isinstance(settings.verify, str) else None
    context = ssl.create_default_context(cafile=authorities)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Quick:
    """Waits less for a connection than for an answer."""

    def connect(self):
        patience = self.timeout
        self.timeout = min(patience, CONNECT_SECONDS)
        try:
            super().connect()
        except (socket.timeout, TimeoutError):
            raise UnreachedError("no connection within {} s".format(
                self.timeout))
        finally:
            self.timeout = patience
        self.sock.settimeout(patience)


class _Connection(_Quick, http.client.HTTPConnection):
    """http, from this machine itself: no proxy."""


class _SecureConnection(_Quick, http.client.HTTPSConnection):
    """https, from this machine itself: no proxy."""
