"""What the fake says: one exception, one list of what happened."""

import json
import os
import threading

log = []
_lock = threading.Lock()


class AscendFakeError(Exception):
    """A use that the facts (shared/reference/ascend.md) do not allow."""


class UnknownNameError(AscendFakeError, AttributeError):
    """A name that a module does not have; hasattr() sees it as missing."""


def refuse(text, section):
    raise AscendFakeError("{} [ascend.md {}]".format(text, section))


def fatal(text, section):
    """The real adapter aborts the process: LOG(FATAL), no exception."""
    refuse("FATAL: " + text, section)


def record(event, **details):
    """Appends to `log`, and to the file $ASCEND_FAKE_LOG, a line each."""
    entry = dict(details, event=event)
    path = os.environ.get("ASCEND_FAKE_LOG")
    with _lock:
        log.append(entry)
        if path:
            with open(path, "a") as file:
                file.write(json.dumps(entry, sort_keys=True) + "\n")
    return entry
