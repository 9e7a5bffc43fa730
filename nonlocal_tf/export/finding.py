"""What preflight finds, one thing at a time."""

from typing import NamedTuple

REJECT, DOUBT = "reject", "doubt"


class Finding(NamedTuple):
    """One thing that is wrong, or may be."""

    level: str                          # REJECT or DOUBT
    check: str                          # which check, for programs
    node: str                           # name of the node, or ""
    reason: str
    remedy: str
