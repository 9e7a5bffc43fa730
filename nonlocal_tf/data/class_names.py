"""Names of classes, in their order: published ones, or of a file."""

import os
import re

from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import PROTOCOLS
from nonlocal_tf.storage import gist

SETS = {"kinetics400": 400, "ucf101": 101}


def published(protocol, classes):
    """The names of a protocol's weights; None for another number of classes.

    Args:
      protocol: a key of `PROTOCOLS`.
      classes: their number.
    """
    name = PROTOCOLS[protocol].class_names
    return named(name) if SETS[name] == classes else None


def named(text, flag="--class_names"):
    """The names of a set or of a file, by label.

    Args:
      text: a key of `SETS`, or the path of a text with one name a line. If
        every line begins with a number, and these run from 0 or from 1 (as in
        UCF-101's classInd.txt), they are the order and no part of the names.
      flag: what named it, for errors.
    Returns:
      A tuple of names.
    Raises:
      UserError: there is no such file, or it is no such text.
    """
    path = text
    if text in SETS:
        path = os.path.join(os.path.dirname(__file__), "names", text + ".txt")
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = [line.strip() for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError("{} must be {} or a text with one name a line; {!r}: "
                        "{}.".format(flag, ", ".join(SETS), text, gist(error)))
    if not names:
        raise UserError("{} must have one name a line; {!r} is empty.".format(
            flag, text))
    numbered = [re.match(r"(\d+)[\s,]+(.+)", name) for name in names]
    if all(numbered):
        order = {int(match.group(1)): match.group(2) for match in numbered}
        if sorted(order) in (list(range(len(names))),
                             list(range(1, len(names) + 1))):
            names = [order[number] for number in sorted(order)]
    return tuple(names)


def normalised(name):
    """Its letters and digits alone, in lower case.

    So "playing_cricket", '"playing cricket"' and "PlayingCricket" are one.
    """
    return re.sub(r"[\W_]", "", name.lower()) or name


def indices(names, known):
    """The place of each of `names` in `known`, a list; None where it has none.

    A name that is in `known` as it is stands for itself; any other for the one
    that is equal after `normalised`, if there is exactly one.
    """
    exact = {name: index for index, name in enumerate(known)}
    loose = {}
    for index, name in enumerate(known):
        key = normalised(name)
        loose[key] = None if key in loose else index
    return [exact[name] if name in exact else loose.get(normalised(name))
            for name in names]


def in_another_order(names, known):
    """Whether both have the same names, and not in the same order."""
    found = indices(names, known)
    everywhere = list(range(len(known)))
    return found != everywhere and None not in found and (
        sorted(found) == everywhere)
