"""Says which known step makes two systems' inputs of a video differ.

    python -m nonlocal_tf.compare_inputs A.npy B.npy
    python -m nonlocal_tf.compare_inputs A.npy B.npy --video FILE

A and B are what two systems made of one video: uint8, or float, normalised or
not; a clip or several; [.., T, H, W, 3], [.., 3, T, H, W] or [.., T, 3, H, W],
told apart by their shape. Steps that bring the first clips that differ nearer
are named, with the mean difference in grey levels before and after. With the
video these clips are sought in it: which frames, size, interpolation and crop
they have. Exit code 0: all values are equal; 1: they are not; 2: they cannot
be compared. What is said is a guess that fits; what is left tells how well.
"""

import sys
from typing import NamedTuple

import numpy as np

from nonlocal_tf import command
from nonlocal_tf.command import say
from nonlocal_tf.data.video import differ
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import gist

EQUAL, DIFFERENT = 0, 1
_LAYOUTS = ((-1, "[.., T, H, W, 3]"), (-4, "[.., 3, T, H, W]"),
            (-3, "[.., T, 3, H, W]"))


class Input(NamedTuple):
    """An array: all clips, [N, T, H, W, 3], and what tells its layout."""

    clips: np.ndarray
    layout: str
    text: str


def main(arguments):
    """Compares by command-line arguments; returns the exit code."""
    return command.run("compare_inputs", lambda: compare(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.compare_inputs", __doc__)
    parser.add_argument("a", metavar="A.npy")
    parser.add_argument("b", metavar="B.npy")
    parser.add_argument("--video", default="", metavar="FILE",
                        help="which both were made of")
    return parser.parse(arguments)


def compare(flags):
    """Says what differs; returns the exit code.

    Raises:
      UserError: one is no input of a network of clips, or their shapes do
        not allow it.
    """
    a, b = _read(flags.a), _read(flags.b)
    say("A: {}\nB: {}".format(a.text, b.text))
    if a.layout == b.layout and np.array_equal(a.clips, b.clips):
        say("They are equal." if a.clips.dtype == b.clips.dtype else
            "Their values are equal, their types are not.")
        return EQUAL
    names, (first, second) = differ.grey(a.clips[0], b.clips[0])
    for what, pair in (("layout", (a.layout, b.layout)),
                       ("number of clips", (len(a.clips), len(b.clips))),
                       ("normalisation", names)):
        if pair[0] != pair[1]:
            say("{}: A {}; B {}".format(what, *pair))
    order = _order(a, b, names)
    if first.shape == second.shape:
        first, second = _first_that_differ(a, b, names, order)
    if flags.video:
        _say_sources(flags.video, first, second)
    elif first.shape != second.shape:
        raise UserError(
            "A and B must have clips of one shape, without --video FILE: A "
            "has {}, B {}. Crops of other sizes, or other frames; give the "
            "video.".format(list(first.shape), list(second.shape)))
    else:
        for line in differ.steps(first, second):
            say(line)
    if order != sorted(order):
        say("order of the clips: A's 0 to {} are B's {}".format(
            len(order) - 1, " ".join(map(str, order))))
    return DIFFERENT


def _order(a, b, names):
    """Which of B's clips each of A's is; the same number if that is unknown."""
    order = list(range(min(len(a.clips), len(b.clips))))
    if a.clips.shape == b.clips.shape and names[0] == names[1]:
        found = differ.order(a.clips, b.clips).tolist()
        return found if sorted(found) == order else order
    return order


def _first_that_differ(a, b, names, order):
    """The first pair of clips that differ, in grey levels; of several it says
    how many do."""
    def pair(number):
        return (differ.undone(a.clips[number], names[0]),
                differ.undone(b.clips[order[number]], names[1]))

    found = [number for number in range(len(order))
             if not differ.alike(*pair(number))]
    if found and len(order) > 1:
        say("clips: {} of {} differ; below is the first of them, number {} "
            "(from 0)".format(len(found), len(order), found[0]))
    return pair((found or [0])[0])


def _read(path):
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:          # whatever a header can raise
        raise UserError("{!r} must be a .npy file of clips: {}.".format(
            path, gist(error).rstrip(".")))
    for axis, layout in _LAYOUTS:
        if array.ndim >= 4 and array.shape[axis] == 3 and array.size and (
                array.dtype.kind in "uif"):
            if not np.isfinite(array).all():
                raise UserError("{!r} must have finite numbers; some are not."
                                .format(path))
            moved = np.moveaxis(array, axis, -1)
            return Input(moved.reshape((-1,) + moved.shape[-4:]), layout,
                         "{} {}".format(array.dtype, list(array.shape)))
    raise UserError(
        "{!r} must have clips of numbers, {}; it is {} {}.".format(
            path, " or ".join(layout for _, layout in _LAYOUTS), array.dtype,
            list(array.shape)))


def _say_sources(path, *clips):
    """Says where each is from in the video, and in what they differ."""
    from nonlocal_tf.data.video.seek import seek
    for clip in clips:
        if clip.shape[1] != clip.shape[2]:
            raise UserError("--video is for square frames; these are {} x {}."
                            .format(clip.shape[2], clip.shape[1]))
    found = [seek(path, clip) for clip in clips]
    for name, pair in zip(found[0]._fields[:-1], zip(*found)):
        say("{}{}: A {}; B {}".format("" if pair[0] == pair[1] else "differs: ",
                                      name, *pair))
    left = [each.left for each in found]
    say("left of each, in grey levels: A {:.3g}; B {:.3g}{}".format(
        *left + ["; above 2 it is of another video, or made in a way that is "
                 "not known" if max(left) > 2 else ""]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
