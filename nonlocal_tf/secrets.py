"""Credentials in the environment, and texts without them."""

import os
import re

_NAMES = re.compile(
    r"ACCESS_KEY|SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|PRIVATE|"
    r"(^|_)(AK|SK|KEY|AUTH|PWD)($|_)", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
MASK = "****"


def is_secret(name):
    """Whether a variable of this name may hold a credential."""
    return bool(_NAMES.search(name))


def masked(text, environ=None):
    """`text` with the credentials of the environment replaced.

    Args:
      text: any; also what stands before @ in a URL is replaced.
      environ: a mapping; os.environ by default.
    """
    environ = os.environ if environ is None else environ
    values = {value for name, value in environ.items()
              if is_secret(name) and len(value) >= 6}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _IN_URL.sub(MASK + "@", text)


def masked_environment(environ):
    """Sorted lines NAME=value, credentials masked."""
    return ["{}={}".format(name, MASK if is_secret(name) and environ[name]
                           else masked(environ[name], environ))
            for name in sorted(environ)]
