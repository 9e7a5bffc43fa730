"""Trying again, with pauses that grow and differ from thread to thread."""

import random
import time

from absl import logging

from nonlocal_tf.cloud.errors import TransientError

RETRIES = 8                               # further attempts, about a minute
UNREACHED_RETRIES = 3                     # where there is no connection at all
RETRY_SECONDS = 0.5                       # the first pause; then doubled
RETRY_CAP_SECONDS = 30                    # the longest pause


def unwatched(_):
    """Stands for no progress: see `retried`."""


def retried(what, attempt, settings, progress=unwatched, most=None):
    """The result of `attempt()`, made until it succeeds or cannot.

    Args:
      what: what is wanted, for messages.
      attempt: a function that raises `TransientError` where another try may
        help.
      settings: how often, after which pauses, and the `mask`.
      progress: called with 0 while nothing moves; may raise to stop.
      most: further attempts at most; None: as the settings say.
    """
    number = 0
    wait = settings.retry_wait or RETRY_SECONDS
    while True:
        try:
            progress(0)
            return attempt()
        except TransientError as failure:
            limit = RETRIES if settings.retry is None else settings.retry
            if most is not None:
                limit = min(limit, most)
            if failure.unreached:
                limit = min(limit, UNREACHED_RETRIES)
            if number >= limit:
                final = failure.final
                break
            pause = min(wait * 2 ** number, RETRY_CAP_SECONDS)
            pause *= random.uniform(0.5, 1)         # threads spread
            number += 1
            logging.warning(
                "%s: %s; again in %.1f s (%d of %d)", what,
                settings.mask(failure.reason), pause, number, limit)
            _sleep(pause, progress)
    raise final


def _sleep(seconds, progress):
    """Sleeps; `progress` may end it early by an exception."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress(0)
        time.sleep(max(0, min(0.2, end - time.monotonic())))
