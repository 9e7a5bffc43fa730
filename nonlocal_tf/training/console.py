"""All that a process writes, kept in a file too: also what C++ writes."""

import os
import subprocess
import sys
import time
import traceback

_OUTPUTS = (1, 2)                       # file descriptors
_SECONDS = 5.0          # of lines on their way: busy machines start tee late


class Log:
    """Context in which standard output and error also go to a file.

    Both file descriptors lead to `tee`, a process of its own: what was
    written is in the file even if this process is killed or aborts.

    Args:
      path: the file, appended to; its folder must exist.
    """

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self._flush()
        open(self.path, "ab").close()           # tee takes a moment
        self._kept = [os.dup(number) for number in _OUTPUTS]
        self._tees = [self._tee(number) for number in _OUTPUTS]
        return self

    def _tee(self, number):
        """Puts a process between a descriptor and where it led."""
        reader, writer = os.pipe()
        process = subprocess.Popen(
            ["tee", "-a", self.path], stdin=reader,
            stdout=self._kept[_OUTPUTS.index(number)],
            restore_signals=False,      # SIGPIPE: a reader that goes (| head)
            start_new_session=True)             # a Ctrl-C is not for it
        os.close(reader)
        os.dup2(writer, number)                 # inheritable, as before
        os.close(writer)
        return process

    def __exit__(self, kind, error, trace):
        self._flush()
        for number, kept in zip(_OUTPUTS, self._kept):
            os.dup2(kept, number)
            os.close(kept)
        for process in self._tees:
            try:
                process.wait(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                process.terminate()             # a child holds the pipe
                process.wait()
        if kind is not None and not issubclass(kind, SystemExit):
            with open(self.path, "a", encoding="utf-8") as file:
                traceback.print_exception(kind, error, trace, file=file)

    def text(self, expected=""):
        """What was written so far; waits a moment for `expected`."""
        self._flush()
        end = time.monotonic() + _SECONDS
        while True:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            if expected in text or time.monotonic() > end:
                return text
            time.sleep(0.02)

    @staticmethod
    def _flush():
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
