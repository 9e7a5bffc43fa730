"""How long things take, and how far one is."""

import time

from nonlocal_tf.command import say

_SECONDS = 10                           # between two lines


def duration(seconds):
    """Seconds as "45 s", "12 min", "3 h 05 min" or "2.5 days"."""
    if seconds < 100:
        return "{:.0f} s".format(seconds)
    minutes = int(round(seconds / 60))
    if minutes < 100:
        return "{} min".format(minutes)
    if minutes >= 48 * 60:
        return "{:.1f} days".format(minutes / (24 * 60))
    return "{} h {:02d} min".format(minutes // 60, minutes % 60)


class Pace:
    """Says now and then how many of `total` are done, and the time left."""

    def __init__(self, total, unit):
        self._total, self._unit = total, unit
        self._began = self._said = time.monotonic()

    def done(self, count, more=lambda: ""):
        """After `count` of them; `more`: makes the end of the line."""
        now = time.monotonic()
        if now - self._said >= _SECONDS:
            self._said, seconds = now, now - self._began
            say("{} of {} {}, {:.3g} a second, {} left{}".format(
                count, self._total, self._unit, count / seconds,
                duration((self._total - count) * seconds / count), more()))
