"""Names of the classes of published weights, in their order."""

import os

from nonlocal_tf.protocols import PROTOCOLS

_COUNTS = {"kinetics400": 400}


def published(protocol, classes):
    """The names of a protocol's weights; None for another number of classes.

    Args:
      protocol: a key of `PROTOCOLS`.
      classes: their number.
    """
    name = PROTOCOLS[protocol].class_names
    if _COUNTS[name] != classes:
        return None
    path = os.path.join(os.path.dirname(__file__), "names", name + ".txt")
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()
