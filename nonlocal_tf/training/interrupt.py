"""Ctrl-C and SIGTERM: finish the step, save, leave; twice: leave at once."""

import os
import signal
import threading

from nonlocal_tf.command import complain, terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Context in which the first signal is noted and a second Ctrl-C exits.

    Python runs its signal handlers only between its own instructions, so not
    during a step of minutes. A thread that reads the interpreter's wake-up
    pipe sees every signal at once.

    Attributes:
      signal: number of the first SIGINT or SIGTERM so far, or None.
    """

    def __init__(self):
        self.signal = None
        self._handlers = {}

    def __enter__(self):
        if threading.current_thread() is not threading.main_thread():
            return self                   # signals belong to somebody else
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._former_pipe = signal.set_wakeup_fd(self._writer)
        self._handlers = {
            number: signal.signal(number, lambda *_: None)
            for number in SIGNALS}
        if terminated():                  # before there was this context
            self.signal = signal.SIGTERM
        threading.Thread(
            target=self._watch, args=(reader,), daemon=True).start()
        return self

    def __exit__(self, *_):
        if self._handlers:
            signal.set_wakeup_fd(self._former_pipe)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._writer)

    def _watch(self, reader):
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            for byte in iter(lambda: pipe.read(1), b""):
                self._note(byte[0])

    def _note(self, number):
        if number not in SIGNALS:
            return
        if self.signal is None:
            self.signal = number
            complain("\n{}: saving after this step, then leaving; another "
                     "Ctrl-C leaves at once".format(
                         signal.Signals(number).name))
        elif number == signal.SIGINT:
            os._exit(128 + number)
