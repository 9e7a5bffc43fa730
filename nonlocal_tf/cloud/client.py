"""One connection to OBS, on botocore, boto3's core: requests and retries.

Endpoint and keys come from the environment: docs/modelarts.md. Which of its
variables moxing reads beside S3_* is uncertain.
"""

import http.client
import itertools
import logging as python_logging
import os
import random
import re
import ssl
import threading
import types

from absl import logging

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import Mask

PAIRS = (("OBS_ACCESS_KEY_ID", "OBS_SECRET_ACCESS_KEY", "OBS_SECURITY_TOKEN"),
         ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", ""),
         ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
NAMES = ("S3_ENDPOINT", "S3_USE_HTTPS", "S3_VERIFY_SSL", "S3_REGION",
         "REGION", "SSL_CERT_FILE") + tuple(
             name for pair in PAIRS for name in pair if name)
RETRIES = 14                              # further attempts: two minutes
FEW_RETRIES = 3                           # where more would hardly help
RETRY_SECONDS, RETRY_CAP_SECONDS = 0.5, 20     # first pause, doubled; longest
CONNECT_SECONDS, TIMEOUT_SECONDS = 10, 60
_ADVICE = {                               # by code, else by status
    "InvalidAccessKeyId": "The endpoint does not know the access key: check "
                          "[OBS_|AWS_]ACCESS_KEY_ID and S3_ENDPOINT.",
    "SignatureDoesNotMatch": "The secret key is not that of the access key: "
                             "check [OBS_|AWS_]SECRET_ACCESS_KEY.",
    "AccessDenied": "The keys may not do this: grant their user the right, "
                    "or use other keys.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "InvalidToken": "Get new temporary keys and their OBS_SECURITY_TOKEN.",
    "ExpiredToken": "Get new temporary keys and their OBS_SECURITY_TOKEN.",
    "QuotaExceeded": "Free some space in the bucket or raise its quota.",
    403: "Check the keys and the rights of their user on this bucket.",
    404: "There is no such bucket or object: check its name, and that "
         "S3_ENDPOINT is its region's.",
    412: "It changes while it is read: wait for its writer, then try again.",
    503: "The storage limits requests: use fewer threads, or try again later.",
}
_AGAIN = ("RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch",
          "OperationAborted")
_lock = threading.Lock()
_current = (None, None)                   # what it was made from, the client


class ObsError(OSError):
    """The storage cannot do what was asked; one line without credentials."""


class MoxFileNotExistsException(ObsError):  # noqa: N818
    """There is no such file or folder."""


class MoxFileReadException(ObsError):  # noqa: N818
    """What arrived is not what was stored."""


class MoxFileRespException(ObsError):  # noqa: N818
    """An answer of status 300 or above: .resp.status, .resp.errorCode."""

    def __init__(self, text, status, code):
        super().__init__(text)
        self.resp = types.SimpleNamespace(status=status, errorCode=code)


class StoppedError(Exception):
    """Another part of the same transfer has failed."""


def connect():
    """The client for the environment, made once.

    Raises:
      UserError: the endpoint, the keys or boto3 are missing.
    """
    global _current
    with _lock:
        wanted = tuple(map(os.environ.get, NAMES))
        if _current[0] != wanted:
            _current = wanted, Client(os.environ)
        return _current[1]


class Client:
    """Requests to one endpoint with one pair of keys; safe for threads.

    Attributes:
      endpoint: its URL.
      s3: botocore's client, which tries each request once.
      mask: takes the credentials out of a text.
    """

    def __init__(self, environment):
        region = environment.get("S3_REGION") or environment.get("REGION")
        self.endpoint, host = _endpoint(environment, region)
        keys = _keys(environment)
        self.mask = Mask(*keys)
        verify = _boolean(environment, "S3_VERIFY_SSL") and (
            ssl.get_default_verify_paths().cafile or True)  # SSL_CERT_FILE
        found = re.match(r"obs\.([\w-]+)\.", host)
        is_bare = re.match(r"[\d.]+$|localhost$", host)   # takes no bucket
        self.s3 = _make_s3(
            self.endpoint, keys, verify,
            region or (found.group(1) if found else "region"),
            "path" if is_bare else "virtual")

    def what(self, verb, bucket, key=""):
        """VERB obs://bucket/key at https://endpoint, for messages."""
        return self.mask("{} obs://{}/{} at {}".format(
            verb, bucket, key, self.endpoint))

    def call(self, verb, operation, bucket, key="", needs=None, stop=None,
             retries=None, **parameters):
        """The answer to a request, made until it succeeds or cannot.

        Args:
          verb, bucket, key: such as "GET", for messages.
          operation: the name of botocore's method; then its parameters.
          needs: a field without which the answer was cut off.
          stop, retries: as in `retried`.
        """
        what = self.what(verb, bucket, key)

        def attempt():
            answer = getattr(self.s3, operation)(Bucket=bucket, **parameters)
            if needs and not answer.get(needs):
                raise MoxFileReadException(
                    "{}: the answer is cut off. Try again later.".format(what))
            return answer

        return self.retried(what, attempt, stop, retries)

    def retried(self, what, attempt, stop=None, retries=None):
        """The result of `attempt()`, with pauses that grow between attempts.

        Args:
          what: what is wanted, for messages.
          attempt: may raise what botocore raises, or an `ObsError`.
          stop: an Event that ends it by a `StoppedError`.
          retries: further attempts at most.
        """
        stop = stop or threading.Event()
        for number in itertools.count(1):
            try:
                if stop.is_set():
                    raise StoppedError
                return attempt()
            except Exception as error:
                if stop.is_set():
                    raise StoppedError from None
                final, most = self._judged(error, what)
            if number > (most if retries is None else min(most, retries)):
                raise final               # here: `error` may hold secrets
            pause = random.uniform(0.5, 1) * min(      # threads spread
                RETRY_SECONDS * 2 ** (number - 1), RETRY_CAP_SECONDS)
            logging.warning("%s Again in %.1f s.", final, pause)
            stop.wait(pause)

    def _judged(self, error, what):
        """(the exception to raise, how many further attempts may help)."""
        from botocore import exceptions as boto
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError
        if isinstance(error, boto.ClientError):
            return self._refused(error, what)
        if isinstance(error, MoxFileReadException):
            return error, FEW_RETRIES
        reason = self.mask("{}: {}".format(type(error).__name__, error), 200)
        text, most = (
            "it cannot be reached ({}). Check S3_ENDPOINT, S3_USE_HTTPS and "
            "this machine's way to it; proxies are not used."), RETRIES
        if isinstance(error, (boto.EndpointConnectionError,
                              boto.ConnectTimeoutError,
                              boto.ReadTimeoutError)):  # a minute each
            most = FEW_RETRIES
        elif isinstance(error, boto.SSLError) and re.search(
                "(?i)certificate|hostname", reason):
            reason, text, most = reason.rpartition(": ")[2], (
                "its certificate cannot be trusted ({}). Name the right "
                "S3_ENDPOINT, give the certificate's authority by "
                "SSL_CERT_FILE, or set S3_VERIFY_SSL=0 if you accept any."), 0
        elif isinstance(error, boto.SSLError) and not re.search(
                "EOF|BAD_RECORD_MAC|timed out|reset", reason):
            text, most = (
                "no TLS comes about ({}). Check the port of S3_ENDPOINT; for "
                "an endpoint without TLS set S3_USE_HTTPS=0."), 0
        elif isinstance(error, (boto.ParamValidationError, UnicodeError)):
            text, most = "{}.", 0         # such as of a bucket's name
        elif not isinstance(error, (
                boto.BotoCoreError, ResponseParserError, HTTPError,
                http.client.HTTPException, ConnectionError, ssl.SSLError)):
            return error, 0               # of this machine, as a full disk
        return ObsError("{}: {}".format(what, text.format(reason))), most

    def _refused(self, error, what):
        """As `_judged`, for an answer of status 300 or above."""
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code, message = (
            self.mask(error.response.get("Error", {}).get(name) or "")
            for name in ("Code", "Message"))
        advice = _ADVICE.get(code) or _ADVICE.get(status) or (
            "Set S3_ENDPOINT to that of the bucket's region."
            if 300 <= status < 400 else
            "{}.".format(message.rstrip(".") or "Try again later"))
        answer = str(status) if code in ("", str(status)) else (
            "{} {}".format(status, code))
        again = status in (408, 429) or status >= 500 and status != 501 or (
            status < 300)                 # an error after all, by its body
        return MoxFileRespException(
            self.mask("{}: {}. {}".format(what, answer, advice), 900),
            status, code), RETRIES if again or code in _AGAIN else 0


def _make_s3(endpoint, keys, verify, region, style):
    """botocore's client, without what OBS does not take.

    Nothing of AWS's own files and variables counts, and no proxy.
    """
    try:
        import botocore.session
        from botocore.config import Config
        from botocore.handlers import (
            add_expect_header,
            set_list_objects_encoding_type_url,
        )
    except ImportError as error:
        raise UserError("obs:// and s3:// need boto3 ({}). Install it: pip "
                        "install boto3.".format(error))
    python_logging.getLogger("botocore").setLevel(
        python_logging.WARNING)           # below, it names keys
    settings = dict(
        signature_version="s3v4", retries={"total_max_attempts": 1},
        s3={"addressing_style": style, "payload_signing_enabled": True},
        connect_timeout=CONNECT_SECONDS, read_timeout=TIMEOUT_SECONDS,
        max_pool_connections=64, proxies={})
    try:                                  # botocore 1.36 and later
        config = Config(request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                        **settings)
    except TypeError:
        config = Config(**settings)
    session = botocore.session.Session()
    for name, value in (("profile", None), ("config_file", os.devnull),
                        ("credentials_file", os.devnull)):
        session.get_component("config_store").set_config_variable(name, value)
    s3 = session.create_client(
        "s3", endpoint_url=endpoint, region_name=region, verify=verify,
        aws_access_key_id=keys[0], aws_secret_access_key=keys[1],
        aws_session_token=keys[2], config=config)
    # It would follow redirects to other regions, without an end where HEAD is
    # redirected.
    s3.meta.events.register_last(
        "before-parameter-build.s3", lambda context, **_: context.setdefault(
            "s3_redirect", {}).update(redirected=True))
    s3.meta.events.unregister("before-call.s3", add_expect_header)
    s3.meta.events.unregister("before-parameter-build.s3.ListObjects",
                              set_list_objects_encoding_type_url)
    return s3


def _endpoint(environment, region):
    """(URL, host) of the endpoint."""
    text = environment.get("S3_ENDPOINT") or (
        region and "obs.{}.myhuaweicloud.com".format(region))
    if not text:
        raise UserError(
            "obs:// and s3:// need the storage's endpoint. Set S3_ENDPOINT, "
            "such as obs.cn-north-4.myhuaweicloud.com, or S3_REGION.")
    match = re.match(r"(?:(https?)://)?([\w.-]+)(?::(\d+))?/?$", text.strip())
    if not match:
        raise UserError(
            "S3_ENDPOINT must be a host, with http:// or https:// and :port "
            "if need be; got {}.".format(
                "one with a user's name" if "@" in text else repr(text)))
    scheme, host, port = match.groups()
    if not scheme:
        scheme = "https" if _boolean(environment, "S3_USE_HTTPS") else "http"
    return "{}://{}{}".format(
        scheme, host, ":{}".format(port) if port else ""), host


def _keys(environment):
    """(access key, secret key, token or None)."""
    for names in PAIRS:
        access, secret, token = (
            (environment.get(name) or "").strip() for name in names)
        if access and secret:
            return access, secret, token or None
    raise UserError(
        "obs:// and s3:// need keys. Set OBS_ACCESS_KEY_ID and "
        "OBS_SECRET_ACCESS_KEY (or both names without OBS_, or with AWS_).")


def _boolean(environment, name):
    text = (environment.get(name) or "1").strip().lower()
    if text not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise UserError("{} must be 0 or 1; got {!r}.".format(name, text))
    return text in ("1", "true", "yes", "on")
