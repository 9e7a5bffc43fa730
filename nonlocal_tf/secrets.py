"""Credentials in the environment, and texts without them."""

import os
import re
import urllib.parse

_NAMES = re.compile(
    r"ACCESS_?KEY|SECRET|PASS|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|"
    r"(^|_)(AK|SK|KEY|AUTH|PWD)($|_)", re.IGNORECASE)
MASK = "***"


class Mask:
    """Takes credentials out of texts, and makes one line of them."""

    def __init__(self, *secrets):
        found = {form for secret in secrets if secret for form in (
            secret, urllib.parse.quote(secret, ""),
            urllib.parse.quote(secret), urllib.parse.quote_plus(secret))}
        self._secrets = sorted(found, key=len, reverse=True)

    def __call__(self, text, length=400):
        text = " ".join(str(text).split())
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = re.sub(                  # a key may have "/"; a port is none
            r"(:/|//)([^/\s]*|[^/:\s]*:(?!\d+/)[^@\s]*)@",
            r"\1{}@".format(MASK), text)
        text = re.sub(r"(?i)((?:signature|accesskeyid|credential|token)=)"
                      r"[^&\s]+", r"\1" + MASK, text)
        return text[:length]

    def __repr__(self):
        return "Mask(of {} texts)".format(len(self._secrets))


def is_secret(name):
    """Whether a variable of this name may hold a credential."""
    return bool(_NAMES.search(name))


def masked(text, environ=None):
    """One line without the credentials of the environment.

    Args:
      text: any.
      environ: a mapping; os.environ by default.
    """
    environ = os.environ if environ is None else environ
    return Mask(*(value for name, value in environ.items()
                  if is_secret(name) and len(value) >= 6))(text, None)


def masked_arguments(arguments):
    """A command line's words, without the values of secret flags."""
    words, hidden = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = name.startswith("-") and is_secret(name.replace("-", "_"))
        if hidden and not argument.startswith("--"):
            words.append(MASK)
        else:
            words.append(name + equals + MASK if secret and equals
                         else masked(argument))
        hidden = secret and not equals
    return words
