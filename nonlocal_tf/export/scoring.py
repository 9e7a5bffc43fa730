"""Moved to score.py; the freezing still asks here."""

from nonlocal_tf.export.score import say_rows  # noqa: F401
