"""What a storage says when it cannot: one line, and no credential in it.

The Mox... names are those of moxing.file; all are OSErrors.
"""

import errno
import http.client
import re
import socket
import ssl
import types

# What to do, by OBS code or, where there is none, by status.
_ADVICE = {
    "InvalidAccessKeyId": "The endpoint does not know the access key: check "
                          "[OBS_|AWS_]ACCESS_KEY_ID and S3_ENDPOINT.",
    "SignatureDoesNotMatch": "The secret key is not that of the access key: "
                             "check [OBS_|AWS_]SECRET_ACCESS_KEY.",
    "AccessDenied": "The keys may not do this: grant their user the right, "
                    "or use other keys.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "NoSuchBucket": "There is no such bucket: check its name, and that "
                    "S3_ENDPOINT is its region's.",
    "NoSuchKey": "There is no such object: check its name.",
    "InvalidToken": "Get new temporary keys and their OBS_SECURITY_TOKEN.",
    "ExpiredToken": "Get new temporary keys and their OBS_SECURITY_TOKEN.",
    "InvalidObjectState": "It is archived: restore it first.",
    "QuotaExceeded": "Free some space in the bucket or raise its quota.",
    "InsufficientStorageSpace": "Free some space or raise the quota.",
    403: "Check the keys and the rights of their user on this bucket.",
    404: "There is no such bucket or object: check its name, and that "
         "S3_ENDPOINT is its region's.",
    412: "It changes while it is read: wait for its writer, then try again.",
    429: "Too many requests: use fewer threads, or try again later.",
    503: "The storage limits requests: use fewer threads, or try again later.",
}
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN,
                errno.ECONNREFUSED)
_REGION = "Set S3_ENDPOINT to that of the bucket's region."
_AGAIN = ("RequestTimeout", "BadDigest", "OperationAborted")
# What TLS says of a connection that breaks off or garbles bytes.
_BROKEN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError,
               ssl.SSLWantReadError, ssl.SSLWantWriteError)
_DROPPED = (errno.ETIMEDOUT, errno.EPIPE, errno.ENOTCONN, errno.EHOSTDOWN)


class ObsError(OSError):
    """The storage cannot do what was asked; the text says it in one line."""


class MoxFileNotExistsException(ObsError):  # noqa: N818
    """There is no such file or folder."""


class MoxFileNameDuplicateException(ObsError):  # noqa: N818
    """An object and a folder of one name, which no disk can hold."""


class MoxFileReadException(ObsError):  # noqa: N818
    """What arrived is not what was stored."""


class MoxFileRespException(ObsError):  # noqa: N818
    """The storage answered with status 300 or above.

    Attributes:
      resp: what it answered: status, reason, errorCode, errorMessage and
        requestId, without credentials.
    """

    def __init__(self, text, resp=None):
        super().__init__(text)
        self.resp = resp


class ChangedError(ObsError):
    """A local file is no longer what it was when its upload began."""


class UnreachedError(OSError):
    """No connection came about in the time that it may take."""


class StoppedError(Exception):
    """Another part of the same transfer has failed."""


class TransientError(Exception):
    """An attempt that may succeed when it is made again.

    Attributes:
      reason: why it failed, in a few words.
      final: the exception to raise where there is no further attempt.
      unreached: no connection came about.
    """

    def __init__(self, reason, final, unreached=False):
        super().__init__(reason)
        self.reason, self.final, self.unreached = reason, final, unreached


def refused(result, what, mask):
    """The exception for the SDK's result of status 300 or above.

    Args:
      result: an SDK result.
      what: what was asked for, such as "GET obs://bucket/key at https://...".
      mask: a `Mask`.
    Returns:
      A `TransientError` where another attempt may succeed.
    """
    code, status = result.errorCode, result.status
    resp = types.SimpleNamespace(
        status=status, reason=mask(result.reason or ""), errorCode=code,
        errorMessage=mask(result.errorMessage or ""),
        requestId=result.requestId)
    answer = " ".join(str(part) for part in (
        status, code or resp.reason) if part)
    advice = _ADVICE.get(code) or _ADVICE.get(status) or (
        _REGION if 300 <= status < 400 else "{}.".format(
            resp.errorMessage.rstrip(".") or "Try again later"))
    text = mask("{}: {}. {}".format(what, answer, advice), 900)
    final = MoxFileRespException(text, resp)
    if (status in (408, 429) or status >= 500 and status != 501
            or code in _AGAIN):
        return TransientError(answer, final)
    return final


def failed(error, what, mask):
    """The exception for what the SDK or the network raised.

    Returns:
      A `TransientError` where another attempt may succeed; `error` itself where
      it is of this machine: a full disk passes through untouched.
    """
    reason = mask("{}: {}".format(type(error).__name__, error), 200)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ObsError(
            "{}: its certificate cannot be trusted ({}). Name the right "
            "S3_ENDPOINT, give the certificate's authority by SSL_CERT_FILE, "
            "or set S3_VERIFY_SSL=0 if you accept any.".format(
                what, mask(error.verify_message)))
    final = ObsError(
        "{}: it cannot be reached ({}). Check S3_ENDPOINT, S3_USE_HTTPS and "
        "this machine's way to it; proxies are not used.".format(what, reason))
    number = getattr(error, "errno", None)
    if isinstance(error, ssl.SSLError) and not _is_broken_tls(error):
        return ObsError(
            "{}: no TLS comes about ({}). Check the port of S3_ENDPOINT; for "
            "an endpoint without TLS set S3_USE_HTTPS=0.".format(what, reason))
    if isinstance(error, socket.gaierror):
        return TransientError(reason, final, True) if (
            number == socket.EAI_AGAIN) else final
    if number in _UNREACHABLE or isinstance(error, UnreachedError):
        return TransientError(reason, final, unreached=True)
    if (isinstance(error, (ConnectionError, socket.timeout, ssl.SSLError,
                           http.client.HTTPException))
            or number in _DROPPED or type(error) is Exception and re.search(
                "premature end|is none|None Result", str(error))):
        return TransientError(reason, final)
    if type(error) is Exception:                       # the SDK's own
        return ObsError("{}: {}.".format(what, reason))
    return error


def _is_broken_tls(error):
    """Whether the connection failed, and not the two ends to agree."""
    return isinstance(error, _BROKEN_TLS) or bool(re.search(
        "EOF|BAD_RECORD_MAC|timed out",
        "{} {}".format(error.reason, error), re.IGNORECASE))
