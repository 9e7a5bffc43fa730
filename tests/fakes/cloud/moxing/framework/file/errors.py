"""moxing's exceptions, and the fake's own. Their names are moxing's."""


class MoxFakeError(Exception):
    """A use that no source describes: see ascend.md 5.2, 5.3."""


class MoxFileNotExistsException(Exception):  # noqa: N818
    """stat of what is not there."""


class MoxFileReadException(Exception):  # noqa: N818
    """A read failed."""


class MoxFileRespException(Exception):  # noqa: N818
    """The server's answer was 300 or above; see `resp`."""

    def __init__(self, text, resp):
        super().__init__(text)
        self.resp = resp
