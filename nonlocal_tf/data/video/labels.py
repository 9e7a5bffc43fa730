"""Labels of a list, as they are written, to numbers from 0."""

import collections
import re

import numpy as np

from nonlocal_tf.data.class_names import (
    SETS,
    in_another_order,
    indices,
    named,
)
from nonlocal_tf.errors import UserError

_MOST_CLASSES = 100000                  # a larger number is no label
_COUNTED = "Labels count from 1 to {}, {}; 1 is taken off each."
_NUMBER = re.compile(r"-?\d+(\.0+)?$")
_SEVERAL = re.compile(r"\d+(\s+\d+)+$")


def resolve(rows, class_names, classes, start=None):
    """Labels by the known classes, or by those that the list brings.

    Args:
      rows: the `Rows` of a list.
      class_names: known ones, by label; () if there are none.
      classes: their number; None if not known.
      start: 0 or 1, from which numbers count where the list itself does not
        tell; None: by the numbers.
    Returns:
      int32 [N], -1 where there are none; names by label, () if not known;
      remarks, a list; 0 or 1, None where labels are no numbers.
    Raises:
      UserError: one line, with the list's line.
    """
    own, classes = rows.own or class_names, len(class_names) or classes
    (labels, remarks), found = _absent(rows, own), None
    if labels is None:
        numbers = None if rows.are_names else _numbers(rows, own)
        if numbers is None:
            own, labels, remarks = _of_names(rows, class_names)
        else:
            labels, remarks, found = _from_zero(
                rows, numbers, own, len(own) or classes, start)
    if class_names and own is not class_names:
        labels, more = _by_name(rows, labels, own, class_names)
        own, remarks = class_names, remarks + more
    if classes and own and len(own) != classes:
        raise UserError(
            "{!r} must have {} classes; it has {}, from {!r} to {!r}. Convert "
            "or train with --class_names, so that labels go by names, or "
            "number the classes in the list.".format(
                rows.source, classes, len(own), own[0], own[-1]))
    return np.array(labels, np.int32), own, remarks, found


def _absent(rows, own):
    """Labels of a list without any: by folders where these are classes."""
    without = [index for index, text in enumerate(rows.labels) if text is None]
    if not without:
        return None, []
    if len(without) < len(rows.labels):
        raise UserError("{}: a label must be there, as on other lines."
                        .format(rows.at(without[0])))
    folders = rows.folders()
    places = _places(folders, own)
    if None in places.values():
        return [-1] * len(folders), []
    return [places[folder] for folder in folders], [
        "The list has no labels: they are taken from the videos' folders, "
        "which are named like classes."]


def _places(names, known):
    """{name: index in `known`, or None}."""
    unique = sorted(set(names))
    return dict(zip(unique, indices(unique, known)))


def _numbers(rows, own):
    """Labels as int; None where they are names."""
    texts = set(rows.labels)
    numeric = {text for text in texts if _NUMBER.match(text)}
    if numeric == texts:
        return [int(text.partition(".")[0]) for text in rows.labels]
    several = {text for text in texts if _SEVERAL.match(text)}
    if several:
        raise UserError(
            "{}: one label must stand behind the path; got {!r}. Lists of "
            "views, and of several labels, are not read.".format(
                *_first(rows, several)))
    if numeric and None in _places(texts, own).values():
        raise UserError(
            "{}: a label must be a number, as on other lines; got {!r}. (A "
            "line of column names has commas, and a column named path.)"
            .format(*_first(rows, texts - numeric)))
    return None


def _first(rows, texts):
    """Where the first of such labels stands, and the label."""
    return next((rows.at(index), text) for index, text
                in enumerate(rows.labels) if text in texts)


def _of_names(rows, class_names):
    """Names in their order, labels, remarks, where labels are names."""
    found = set(rows.labels)
    own, remarks = rows.own, []
    if not own:
        are_digits = all(name.isdecimal() for name in found)
        own = tuple(sorted(found, key=int if are_digits else None))
        if not class_names:
            own, remarks = _as_published(own)
    places = _places(found, own)
    unknown = {text for text in found if places[text] is None}
    if unknown:
        raise UserError("{}: {!r} must be one of the classes of classInd.txt."
                        .format(*_first(rows, unknown)))
    return own, [places[text] for text in rows.labels], remarks


def _as_published(own):
    """Names, in the order of a published set if they are one; remarks."""
    remarks = ["The classes are the {} names in the list, sorted, from {!r} "
               "to {!r}.".format(len(own), own[0], own[-1])]
    for name, count in SETS.items():
        known = named(name)
        places = indices(own, known)
        if None in places or len(set(places)) < 0.9 * count:
            continue
        if len(set(places)) == count:
            return known, [
                "The classes are those of {}, in its order.".format(name)]
        remarks.append(_lacking(name, places, known) + (
            " So labels are others than in {0}; --class_names {0} keeps its "
            "own.".format(name)))
    return own, remarks


def _lacking(name, places, known):
    there = set(places)
    lacking = [each for index, each in enumerate(known) if index not in there]
    return "Classes of {} that are not there: {} ({}{}).".format(
        name, len(lacking), ", ".join(lacking[:5]),
        ", ..." if len(lacking) > 5 else "")


def _by_name(rows, labels, own, known):
    """Labels by `own` to labels by `known`, and remarks."""
    places = indices(own, known)
    for index, label in enumerate(labels):
        if label >= 0 and places[label] is None:
            raise UserError(
                "{}: {!r} must be one of the {} known classes ({}, ...). "
                "Mend its name, or convert or train with --class_names that "
                "have it.".format(
                    rows.at(index), own[label], len(known),
                    ", ".join(known[:3])))
    remarks = []
    spelt = [(name, known[place]) for name, place in zip(own, places)
             if place is not None and name != known[place]]
    if spelt:
        remarks.append(
            "Class names that are spelt otherwise than the known ones: {} "
            "(first: {!r} is taken for {!r}).".format(len(spelt), *spelt[0]))
    if in_another_order(own, known):
        remarks.append("The list's classes are the known ones in another "
                       "order; labels go by names.")
    if rows.are_names and len(set(places)) < len(known):
        remarks.append(_lacking("the known ones", places, known) +
                       " Labels go by names, so none shifts.")
    return [places[label] if label >= 0 else label for label in labels], remarks


def _from_zero(rows, numbers, own, count, given):
    """Numbers as labels from 0, what is said about it, and their start."""
    low, high, start = min(numbers), max(numbers), rows.start
    reason = ""
    if start is None:
        start, reason = _start_by_folders(rows, numbers, own), (
            "as the names of the folders show")
    if start is None and given is not None:
        start, reason = given, "as was said, or as in the other list"
    remarks = [_COUNTED.format(high, reason)] if start and reason else []
    if start is None:
        start, remarks = _start(rows, numbers, count)
    most = (count or _MOST_CLASSES) + start - 1
    if low < start or high > most:
        wrong = low if low < start else high
        raise UserError("{}: a label must be {} to {}{}; got {}.".format(
            rows.at(numbers.index(wrong)), start, most, ", of {} classes"
            .format(count) if count else "", wrong))
    return [number - start for number in numbers], remarks, start


def _start_by_folders(rows, numbers, own):
    """0 or 1, where folders have names of classes; None where none has."""
    folders = rows.folders()
    places = {folder: place for folder, place in _places(folders, own).items()
              if place is not None}
    starts = collections.Counter(
        number - places[folder] for folder, number in set(
            zip(folders, numbers)) if folder in places)
    if not starts:
        return None
    first = int(starts[1] > starts[0])
    if starts[first] == sum(starts.values()):
        return first
    index = next(index for index, folder in enumerate(folders) if folder in
                 places and numbers[index] - places[folder] != first)
    raise UserError(
        "{}: label {} is in folder {!r}, whose class is number {} of {}, from "
        "{}: the list numbers classes in another order, perhaps of first "
        "appearance. Write names of classes as labels.".format(
            rows.at(index), numbers[index], folders[index],
            places[folders[index]] + first, len(own), first))


def _start(rows, numbers, count):
    """0 or 1, by the numbers alone, and remarks."""
    low, high, found = min(numbers), max(numbers), len(set(numbers))
    if low <= 0 or high > (count or _MOST_CLASSES):
        return 0, []
    if count == high:
        return 1, [_COUNTED.format(
            high, "as there are {} classes".format(count))]
    if found == high and not count:
        return 1, [_COUNTED.format(high, "without a gap")]
    if low == 1:
        raise UserError(
            "{!r}: labels must tell whether they count from 0 or from 1; they "
            "are {} numbers from 1 to {}{}. Begin the list with a line "
            "path,label_from_0 or path,label_from_1, and put commas before "
            "the labels; or write names as labels.".format(
                rows.source, found, high,
                ", of {} classes".format(count) if count else ""))
    return 0, ["Labels are {} numbers from {} to {}: taken to count from 0."
               .format(found, low, high)]
