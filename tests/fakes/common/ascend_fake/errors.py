"""What the fake says of a use that the facts do not allow."""


class AscendFakeError(Exception):
    """A use that the facts (shared/reference/ascend.md) do not allow."""


class UnknownNameError(AscendFakeError, AttributeError):
    """A name that a module does not have; hasattr() sees it as missing."""


def refuse(text, section):
    raise AscendFakeError("{} [ascend.md {}]".format(text, section))


def fatal(text, section):
    """The real adapter aborts the process: LOG(FATAL), no exception."""
    refuse("FATAL: " + text, section)
