"""Scores what msame or ais_bench wrote against the labels.

    python -m nonlocal_tf.export.score --output results --labels bins/labels.npy
    python -m nonlocal_tf.export.score --output results --labels bins/k400.info

Reads .txt, .bin and .npy of classes or of scores for each class, in either
tool's naming. Each file's images are those that its name tells, so that the
order in which the tool took the files does not matter. Exit code 0: every
image has a result; 1: files are missing or surplus; 2: unusable.

With a .info of videos, a line "INDEX LABEL" for each, the results of N.bin are
those of batch N, from 0. Label -1: the video could not be read; its answer is
wrong in the score of all, and left out in that of the readable.
"""

import collections
import os
import sys

from nonlocal_tf import command
from nonlocal_tf.architecture import DIGIT_CLASSES
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import bins

COMPLETE, INCOMPLETE = 0, 1
_ROW = 32                       # predictions that are printed
_CONFUSIONS = 10                # pairs that are printed


def main(arguments):
    """Scores by command-line arguments; returns the exit code."""
    return command.run("score", lambda: score(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.export.score", __doc__)
    parser.add_argument(
        "--output", required=True, help="folder that msame or ais_bench "
        "wrote to, or the stamped one in it")
    parser.add_argument(
        "--labels", required=True,
        help="labels.npy, labels.txt or .info of bins.py, or an IDX file of "
        "labels")
    parser.add_argument(
        "--output_index", type=int, default=0,
        help="output of the model (default: %(default)s)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int, default=0,
        help="images a file, where the names do not tell (with .info: "
        "as the manifest beside it says, or 1)")
    parser.add_argument(
        "--classes", type=int, default=None,
        help="that the network tells apart (default: {}; with .info as many "
        "as the files have, in a .bin as float32)".format(DIGIT_CLASSES))
    parser.add_argument(
        "--class_table", default="", help="CSV file to write, with the rates "
        "of every class of videos")
    flags = parser.parse(arguments)
    if flags.classes is None and not _is_info(flags):
        flags.classes = DIGIT_CLASSES
    if flags.classes is not None:
        command.check_ranges(flags, ("classes", 2, 100000))
    command.check_ranges(
        flags, ("output_index", 0, 10 ** 9), ("batchsize", 0, 10 ** 9))
    if flags.class_table and not _is_info(flags):
        raise UserError("--class_table needs --labels with .info, of videos; "
                        "got {!r}.".format(flags.labels))
    return flags


def _is_info(flags):
    return flags.labels.endswith(".info")


def read_labels(path, classes=DIGIT_CLASSES):
    """Labels from .npy, .txt (one a line) or IDX: int [N].

    Raises:
      UserError: it is none of these, or a label is not below `classes`.
    """
    from nonlocal_tf.data import idx
    from nonlocal_tf.export import results
    if "idx1" in os.path.basename(path):
        labels = idx.read_labels(path)
    elif path.endswith((".npy", ".txt")):
        labels = results.numbers(path, classes)
    else:
        raise UserError(
            "--labels must be labels.npy or labels.txt of bins.py, its .info "
            "of videos, or an IDX file of labels; got {!r}.".format(path))
    if not labels.size or not results.are_classes(labels, classes):
        raise UserError(
            "--labels must be whole numbers, 0 to {}, one for each image, as "
            "bins.py writes them; those in {!r} are not. Of a network with "
            "other classes give their number by --classes.".format(
                classes - 1, path))
    return labels.astype(int)


def score(flags):
    """Prints the score; returns COMPLETE or INCOMPLETE.

    Args:
      flags: the namespace of `parse`.
    Raises:
      UserError: labels or results cannot be read, or do not match.
    """
    from nonlocal_tf.export import results, video_score
    if _is_info(flags):
        return video_score.score(flags)
    labels = read_labels(flags.labels, flags.classes)
    folder = results.find_folder(flags.output)
    found = results.read(
        folder, len(labels), flags.output_index, flags.batchsize,
        flags.classes)
    judged = found.classes >= 0
    right = int((found.classes == labels).sum())
    count = int(judged.sum())
    if not count:
        raise UserError("{!r} must hold results for the {} labels; it has "
                        "none of theirs.".format(folder, len(labels)))
    say = command.say
    say("{}: {}".format(folder, "each file's images by its name"
                        if found.by_name else
                        "files placed by the last number in their names"))
    say_rows(found.classes, labels)
    notes = ""
    if count < len(labels):
        notes = "; {} of {} have no result".format(
            len(labels) - count, len(labels))
    if found.surplus:
        notes += "; surplus files: {}".format(len(found.surplus))
    say("accuracy {:.2%} ({} of {} images{})".format(
        right / count, right, count, notes))
    _say_confusions(found.classes[judged], labels[judged])
    for first in range(0, len(labels), found.width):
        lacking = judged[first:first + found.width] == 0
        if lacking.any():
            say("missing: results of {} (images {} to {})".format(
                bins.file_name(first // found.width, found.width), first,
                first + len(lacking) - 1))
    for name in found.surplus:
        say("surplus: {} (there are {} labels)".format(name, len(labels)))
    return INCOMPLETE if notes else COMPLETE


def say_rows(classes, labels):
    """The first predictions and the truth, as the known system prints them.

    Args:
      classes: [N], -1 where there is none.
      labels: [N].
    """
    command.say("predicted, then the truth (gt), of the first {}:".format(
        min(_ROW, len(labels))))
    command.say(" ".join("-" if each < 0 else str(each)
                         for each in classes[:_ROW]))
    command.say("gt")
    command.say(" ".join(map(str, labels[:_ROW])))


def _say_confusions(classes, labels):
    """The pairs of digits that were taken for each other most often."""
    pairs = collections.Counter(
        (int(label), int(each)) for label, each in zip(labels, classes)
        if label != each)
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    for (label, each), count in ordered[:_CONFUSIONS]:
        command.say("  {} taken for {}: {}".format(label, each, count))
    if len(ordered) > _CONFUSIONS:
        command.say("  and {} other pairs".format(len(ordered) - _CONFUSIONS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
