"""Moved to deploy.py and bins.py; the freezing still asks here."""

from nonlocal_tf.export.bins import prepare  # noqa: F401
from nonlocal_tf.export.deploy import (  # noqa: F401
    INPUT,
    OUTPUT,
    PROBABILITIES,
    shape,
)
