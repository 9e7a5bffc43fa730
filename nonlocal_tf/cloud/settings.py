"""Where the storage is and with which keys, from the environment.

| what | variables, the first that is set |
|---|---|
| endpoint | S3_ENDPOINT; obs.<S3_REGION or REGION>.myhuaweicloud.com |
| TLS | http:// or https:// of the endpoint; S3_USE_HTTPS; yes |
| certificate | S3_VERIFY_SSL; verified |
| keys | OBS_*, *, AWS_* of ACCESS_KEY_ID and SECRET_ACCESS_KEY |
| token | OBS_SECURITY_TOKEN with OBS_*, AWS_SESSION_TOKEN with AWS_* |

Which of these moxing itself reads beside S3_* is uncertain.
"""

import os
import urllib.parse

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import Mask

PAIRS = (("OBS_ACCESS_KEY_ID", "OBS_SECRET_ACCESS_KEY", "OBS_SECURITY_TOKEN"),
         ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", None),
         ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
NAMES = ("S3_ENDPOINT", "S3_USE_HTTPS", "S3_VERIFY_SSL", "S3_REGION",
         "REGION") + tuple(name for pair in PAIRS for name in pair if name)
# What `set_auth` may override; None keeps what the environment says.
OVERRIDES = ("ak", "sk", "server", "port", "is_secure", "ssl_verify",
             "long_conn_mode", "path_style", "retry", "retry_wait",
             "client_timeout", "list_max_keys", "negotiation",
             "security_token")


class Settings:
    """A connection's settings; its text holds no key.

    Attributes:
      host, port, secure: of the endpoint; `url` is made from them.
      verify: the certificate must be good; True or the path of a file with
        the authorities' certificates, or False.
      path_style: http://endpoint/bucket, not http://bucket.endpoint.
      retry, retry_wait, timeout: number, seconds, seconds; None: default.
    """

    def __init__(self, environment, overrides):
        """Reads and checks `environment` and what `set_auth` was given.

        Raises:
          UserError: the endpoint or the keys are missing or malformed.
        """
        given = {name: overrides.get(name) for name in OVERRIDES}
        self._read_endpoint(environment, given)
        self._read_keys(environment, given)
        self.mask = Mask(self.access_key, self.secret_key, self.token)
        verify = given["ssl_verify"]
        self.verify = verify if verify is not None else _boolean(
            environment, "S3_VERIFY_SSL", True)
        self.path_style = bool(given["path_style"]) or (
            self.host == "localhost")
        self.long_connections = bool(given["long_conn_mode"])
        self.negotiation = given["negotiation"] is not False
        self.retry, self.retry_wait = given["retry"], given["retry_wait"]
        self.timeout = given["client_timeout"]
        self.page = given["list_max_keys"] or 1000

    def _read_endpoint(self, environment, given):
        text = given["server"] or environment.get("S3_ENDPOINT")
        region = environment.get("S3_REGION") or environment.get("REGION")
        if not text and not region:
            raise UserError(
                "obs:// and s3:// need the storage's endpoint. Set "
                "S3_ENDPOINT, such as obs.cn-north-4.myhuaweicloud.com, or "
                "S3_REGION.")
        text = (text or "obs.{}.myhuaweicloud.com".format(region)).strip()
        scheme, separator, _ = text.partition("://")
        try:
            parts = urllib.parse.urlsplit(
                text if separator else "//" + text)
            self.host, port = parts.hostname, parts.port
        except ValueError:
            self.host = port = None
        if (not self.host or ":" in self.host or "@" in text
                or scheme not in ("http", "https") and separator
                or parts.path.strip("/") or parts.query):
            raise UserError(
                "S3_ENDPOINT must be a host, with http:// or https:// and "
                ":port if need be; got {}.".format(
                    "one with a user's name" if "@" in text else repr(text)))
        if given["is_secure"] is not None:
            self.secure = bool(given["is_secure"])
        elif separator:
            self.secure = scheme == "https"
        else:
            self.secure = _boolean(environment, "S3_USE_HTTPS", True)
        self.port = int(given["port"] or port or (443 if self.secure else 80))

    def _read_keys(self, environment, given):
        if bool(given["ak"]) != bool(given["sk"]):
            raise UserError("set_auth needs ak and sk, or neither.")
        if given["ak"]:
            self.access_key, self.secret_key = given["ak"], given["sk"]
            self.token = given["security_token"]
            return
        for access, secret, token in PAIRS:
            if environment.get(access) and environment.get(secret):
                self.access_key = environment[access].strip()
                self.secret_key = environment[secret].strip()
                self.token = environment.get(token or "") or None
                return
        raise UserError(
            "obs:// and s3:// need keys. Set OBS_ACCESS_KEY_ID and "
            "OBS_SECRET_ACCESS_KEY (or both names without OBS_, or with "
            "AWS_).")

    @property
    def url(self):
        """The endpoint as a URL."""
        usual = self.port == (443 if self.secure else 80)
        return "{}://{}{}".format(
            "https" if self.secure else "http", self.host,
            "" if usual else ":{}".format(self.port))

    def __repr__(self):
        return "Settings({!r})".format(self.url)


def whole_number(name, default, least=1):
    """The environment variable `name` as a number."""
    text = os.environ.get(name) or str(default)
    if not text.strip().isdigit() or int(text) < least:
        raise UserError("{} must be a whole number from {}; got {!r}.".format(
            name, least, text))
    return int(text)


def _boolean(environment, name, default):
    text = (environment.get(name) or "").strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    if text:
        raise UserError("{} must be 0 or 1; got {!r}.".format(name, text))
    return default
