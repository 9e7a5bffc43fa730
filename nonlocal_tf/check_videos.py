"""Decodes the videos of a list, and says which of them are amiss.

    python -m nonlocal_tf.check_videos LIST [--test LIST] [--output DIR]

LIST is a list of videos, or a folder with a folder for each class. Amiss are
videos that are missing, unreadable or truncated (cut off, damaged, or of
uneven rate), that are in the test too, or have another label elsewhere, by
path or by content; of both lists the test keeps its own. Good, but to be
looked at, are short, rotated and repeated ones, odd rates (none, below 5 or
above 120 frames a second) and odd sizes (a side below 100 pixels, or one above
3 times the other). Nothing is deleted or changed. What was decoded once is not
decoded again. Exit code 0: nothing is amiss; 1: some are; 2: nothing could be
done.
"""

import collections
import csv
import io
import os
import sys
import time
from typing import NamedTuple

from nonlocal_tf import command, storage
from nonlocal_tf.command import say
from nonlocal_tf.data import class_names
from nonlocal_tf.data.ahead import ahead
from nonlocal_tf.data.video import decode, lists
from nonlocal_tf.data.video.opencv import opencv
from nonlocal_tf.errors import UserError
from nonlocal_tf.pace import Pace
from nonlocal_tf.platforms import machine

ALL, SOME = 0, 1
AMISS = ("missing", "unreadable", "truncated", "in the test too",
         "another label")
TO_LOOK_AT = ("short", "rotated", "odd rate", "odd size", "repeated")
_RATES = 5, 120                 # frames a second; chosen, as are the sizes
_LEAST_SIDE, _LONGEST = 100, 3  # pixels; long sides as a short one
_NAMED, _SAVE_SECONDS = 3, 60
_AHEAD = 8                      # files for each thread


class Finding(NamedTuple):
    """One thing about one video: a kind of the above, and why."""

    kind: str
    text: str


def main(arguments):
    """Checks by command-line arguments; returns the exit code."""
    return command.run("check_videos", lambda: check(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.check_videos", __doc__)
    parser.add_argument("list", metavar="LIST")
    parser.add_argument(
        "--test", default="", metavar="LIST", help="the list of the test, "
        "checked too: no video may be in both")
    parser.add_argument(
        "--video_root", default="", metavar="DIR", help="folder to which "
        "paths in the lists are relative (default: each list's own)")
    parser.add_argument(
        "--class_names", default="", metavar="NAMES", help="kinetics400, "
        "ucf101, or a file with one name a line")
    parser.add_argument(
        "--frames", type=int, default=64, help="shorter videos are named "
        "(default: %(default)s, which a clip of 32 frames at an interval of 2 "
        "stands for)")
    parser.add_argument(
        "--workers", type=int, default=0, help="videos that are decoded at a "
        "time (default: as many as there are cores)")
    parser.add_argument(
        "--output", default="", metavar="DIR", help="folder for good.txt, a "
        "list, and bad.txt, what is amiss with the others; of the test "
        "test_good.txt and test_bad.txt; classes.txt, where classes have "
        "names")
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("frames", 1, 10 ** 6), ("workers", 0, 256))
    return flags


def check(flags):
    """Says, and writes, what is found; returns the exit code.

    Raises:
      UserError: a list cannot be read, or none of its videos is there.
    """
    opencv()
    parts = _read(flags)
    if flags.output:
        storage.make_folder(flags.output, "--output")
        _refuse_own_lists(flags)
    paths = sorted({path for part in parts for path in part.paths})
    workers = flags.workers or machine.cores()
    say("Decoding {:,} files, {} at a time".format(len(paths), workers))
    found = _decode(paths, flags.frames, workers)
    readable = [path for path in paths if not any(
        each.kind in ("missing", "unreadable") for each in found[path])]
    findings = [[list(found[path]) for path in part.paths] for part in parts]
    _compare(parts, findings, _contents(readable, workers))
    is_amiss, names = False, parts[0].class_names
    classes = len(names) or parts[0].labels.max() + 1
    for part, rows, path, prefix in zip(
            parts, findings, (flags.list, flags.test), ("", "test_")):
        good = [not any(each.kind in AMISS for each in row) for row in rows]
        is_amiss |= not all(good)
        _report(path, part, rows, good)
        _report_classes(part.labels[good], classes, names)
        if flags.output:
            _write(os.path.join(flags.output, prefix), part, rows, good)
    if flags.output:
        if names:
            storage.write_text(os.path.join(flags.output, "classes.txt"),
                               "\n".join(names) + "\n")
        say("Wrote good.txt and bad.txt to {}".format(flags.output))
    return SOME if is_amiss else ALL


def _read(flags):
    """The list, and that of the test, if there is one."""
    names = class_names.named(flags.class_names) if flags.class_names else ()
    parts = [lists.read(flags.list, flags.video_root, names)]
    if flags.test:
        parts.append(lists.read(
            flags.test, flags.video_root, parts[0].class_names,
            len(parts[0].class_names) or int(parts[0].labels.max()) + 1
            or None, parts[0].start))
    for part, path in zip(parts, (flags.list, flags.test)):
        say("Videos in {}: {:,}".format(path, len(part.paths)))
        for remark in part.remarks:
            say("  " + remark)
    paths = [path for part in parts for path in part.paths]
    if not any(map(os.path.exists, paths)):
        raise UserError(
            "The videos must be there; none of {:,} is, such as {!r}. Give "
            "--video_root, the folder to which the list's paths are relative."
            .format(len(paths), paths[0]))
    return parts


def _refuse_own_lists(flags):
    for path in filter(os.path.exists, (
            flags.list, flags.test, flags.class_names)):
        for name in ("good.txt", "bad.txt", "test_good.txt", "test_bad.txt",
                     "classes.txt"):
            own = os.path.join(flags.output, name)
            if os.path.exists(own) and os.path.samefile(own, path):
                raise UserError(
                    "--output must be another folder than that of {!r}, which "
                    "would be replaced. Name another.".format(path))


def _decode(paths, frames, workers):
    """{path: its findings}; what was counted is kept, however it ends."""
    counts, found = decode.Counts(), {}
    pace, saved = Pace(len(paths), "files decoded"), time.monotonic()
    made = ahead(lambda path: _findings(counts, path, frames), paths, workers,
                 _AHEAD * workers)
    try:
        for path, row in zip(paths, made):
            found[path] = row
            pace.done(len(found))
            if time.monotonic() - saved > _SAVE_SECONDS:
                saved = time.monotonic()
                counts.save()
    finally:
        made.close()
        counts.save()
    return found


def _findings(counts, path, frames):
    """What is found of one video by itself."""
    if not os.path.exists(path):
        return [Finding("missing", "there is no such file")]
    try:
        video = counts.video(path)
    except UserError as error:
        return [Finding("unreadable", str(error).replace(repr(path), "it", 1))]
    if video.truncated:
        return [Finding("truncated", str(video))]
    short, long = sorted((video.width, video.height))
    return [Finding(kind, str(video)) for kind, is_so in (
        ("short", video.count < frames),
        ("rotated", video.rotation != 0),
        ("odd rate", not _RATES[0] <= video.fps <= _RATES[1]),
        ("odd size", short < _LEAST_SIDE or long > _LONGEST * short),
    ) if is_so]


def _contents(paths, workers):
    """{path: hash}, of files that are as long as another."""
    by_size = collections.defaultdict(list)
    for path in paths:
        by_size[os.path.getsize(path)].append(path)
    alike = [path for same in by_size.values() if len(same) > 1
             for path in same]
    return dict(zip(alike, ahead(
        storage.sha256, alike, workers, _AHEAD * workers)))


def _compare(parts, findings, contents):
    """Adds what is found of videos that are there more than once."""
    groups = collections.defaultdict(list)
    for part, rows in zip(parts, findings):
        for path, label, row in zip(part.paths, part.labels.tolist(), rows):
            groups[contents.get(path, path)].append((part, path, label, row))
    for group in groups.values():
        labelled = [each for each in group if each[2] >= 0]
        for part, _, label, row in group:
            tested = [each for each in group if each[0] is not part]
            if part is parts[0] and tested:
                row.append(Finding("in the test too", "as {!r}".format(
                    tested[0][1])))
            first = next(each for each in group if each[0] is part)
            other = next((each for each in labelled if label >= 0
                          and each[2] != label), None)
            if other:
                row.append(Finding(
                    "another label", "{} here; {!r} is the same and has {}"
                    .format(_name(part, label), other[1],
                            _name(*other[::2]))))
            elif first[3] is not row:
                row.append(Finding("repeated", "as {!r}".format(first[1])))


def _name(part, label):
    names = part.class_names
    return "{} ({})".format(label, names[label]) if names else str(label)


def _report(source, part, rows, good):
    say("Good videos in {}: {:,} of {:,}".format(
        source, sum(good), len(good)))
    for kind in AMISS + TO_LOOK_AT:
        found = [(path, each.text) for path, row in zip(part.paths, rows)
                 for each in row if each.kind == kind]
        if found:
            say("  {}: {:,}".format(kind, len(found)))
        for path, text in found[:_NAMED]:
            say("    {}: {}".format(path, text))
        if len(found) > _NAMED:
            say("    ...")


def _report_classes(labels, classes, names):
    """How many good videos the classes have."""
    if not classes:
        say("  classes: not known, as there are no labels")
        return
    counts = [0] * classes
    for label in labels[labels >= 0].tolist():
        counts[label] += 1
    names = names or ["label {}".format(label) for label in range(classes)]
    least, most = (counts.index(value) for value in (min(counts), max(counts)))
    say("  classes: {}; good ones of each: {} ({}) to {} ({})".format(
        classes, counts[least], names[least], counts[most], names[most]))
    without = [name for name, count in zip(names, counts) if not count]
    if without:
        say("  classes without a good one: {} ({}{})".format(
            len(without), ", ".join(without[:5]),
            ", ..." if len(without) > 5 else ""))


def _write(prefix, part, rows, good):
    """good.txt, which `lists.read` reads, and bad.txt."""
    are_labelled = (part.labels >= 0).all()
    table, bad = io.StringIO(), []
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["path", "label_from_0"][:1 + are_labelled])
    for path, label, row, is_good in zip(
            part.paths, part.labels.tolist(), rows, good):
        path = os.path.abspath(path)
        if is_good:
            writer.writerow([path, label][:1 + are_labelled])
        else:
            bad.append("{}\t{}\n".format(path, "; ".join(
                "{}: {}".format(*each) for each in row
                if each.kind in AMISS)))
    for name, text in (("good.txt", table.getvalue()),
                       ("bad.txt", "".join(bad))):
        storage.write_text(prefix + name, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
