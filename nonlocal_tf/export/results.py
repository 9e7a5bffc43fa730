"""Reads what msame and ais_bench wrote, as the best classes of each image.

msame: <stem>_output_<i>.txt or .bin. ais_bench: <stem>_<i>.txt, .bin or .npy.
The stem is that of the input file, so that names made by bins.py tell which
images a file holds, in whatever order the tool took the files. Videos are in
files that have the number of their batch for a stem, from 0.
"""

import collections
import os
import re
from typing import NamedTuple, Optional

import numpy as np

from nonlocal_tf.architecture import DIGIT_CLASSES
from nonlocal_tf.errors import UserError
from nonlocal_tf.export.bins import FILE_NAME
from nonlocal_tf.scores import TOP
from nonlocal_tf.storage import PARTIAL

MOST_CLASSES = 100000

_NAME = re.compile(                 # stem, output, ending
    r"^(.+?)_(?:output_?)?(\d+)\.(?:txt|bin|npy)$")
_RANGE = re.compile(r"(?:^|_)\d+_batch_(\d+)_(\d+)$")   # see bins.py


class ResultFile(NamedTuple):
    """One file of results."""

    path: str
    stem: str                           # of the input file
    output: int                         # of the model
    first: Optional[int]                # image, by the name; None: no range
    end: Optional[int]                  # one past the last image


class Prediction(NamedTuple):
    """What a folder of results says."""

    top: np.ndarray                     # int [N, TOP], best first; -1: none
    scored: Optional[int]               # classes with a score; None: no scores
    surplus: list                       # names of files beyond the labels
    by_name: bool                       # places read from the files' names
    width: int                          # images of most files

    @property
    def classes(self):
        """int [N]: the best class; -1: no result."""
        return self.top[:, 0]


def find_folder(output):
    """The folder with results: `output`, or the only stamped one below it.

    Raises:
      UserError: there is none, or there are several.
    """
    if not os.path.isdir(output) or output.rstrip("/").endswith(PARTIAL):
        raise UserError(
            "--output must be the folder that msame or ais_bench wrote to; "
            "{!r} is {}.".format(output, "what a killed run left"
                                 if os.path.isdir(output) else "no folder"))
    if _list(output):
        return output
    below = [os.path.join(output, name) for name in sorted(os.listdir(output))
             if not name.endswith(PARTIAL)]
    below = [path for path in below if os.path.isdir(path) and _list(path)]
    if not below:
        raise UserError(
            "--output must hold results, or one folder with them; {!r} has {}."
            " Run msame or ais_bench first, and name its --output.".format(
                output, "inputs" if any(
                    FILE_NAME.match(name) for name in os.listdir(output))
                else "none"))
    if len(below) > 1:
        raise UserError(
            "--output must hold one folder with results; {!r} has {}. Name one"
            " of them, such as the newest: {}".format(
                output, len(below), max(below, key=os.path.getmtime)))
    return below[0]


def _list(folder):
    """The result files in a folder."""
    files = []
    for name in sorted(os.listdir(folder)):
        match = _NAME.match(name)
        path = os.path.join(folder, name)
        if match and not FILE_NAME.match(name) and os.path.isfile(path):
            place = _RANGE.search(match.group(1))
            first, end = map(int, place.groups()) if place else (None, None)
            files.append(ResultFile(
                path, match.group(1), int(match.group(2)), first, end))
    return files


def read(folder, images, output=0, batch_size=0,
         classes=DIGIT_CLASSES, numbered=False, needed=None):
    """The best classes of every image.

    Args:
      folder: see `find_folder`.
      images: N, the number of labels.
      output: which of the model's outputs: classes, or a score for each class.
      batch_size: images a file, where the names do not tell; 0: unknown.
      classes: the number of them; None: as many as the files have.
      numbered: whether the stems are numbers of batches of `batch_size`, from
        0, of which some may be missing.
      needed: bool [N], of which images scores must be finite; None: of all.
    Returns:
      A `Prediction`.
    Raises:
      UserError: a file cannot be read, or does not hold what its name says.
    """
    every = _list(folder)
    files = [file for file in every if file.output == output]
    if not files:
        raise UserError(
            "{!r} must hold results of output {}; it has those of {}. Name "
            "another with --output_index.".format(folder, output, ", ".join(
                map(str, sorted({file.output for file in every})))))
    foreign = [file for file in files if file.first is None]
    if foreign:
        files = _numbered(files, batch_size) if numbered else _placed(
            folder, files, foreign, images, batch_size)
    if classes is None:
        classes = collections.Counter(
            _count_classes(file.path, file.end - file.first)
            for file in files[:9]).most_common(1)[0][0]
    answers, scored = np.full([images, TOP], -1), classes
    needed = np.ones(images, bool) if needed is None else needed
    for file in files:
        count = file.end - file.first
        place = answers[file.first:file.end]
        if count < 1 or (place >= 0).any():
            raise UserError(
                "Each {0} needs one result; {1!r} repeats {0}s of another "
                "file, or holds none by its name. Leave the files of one run "
                "there.".format("video" if numbered else "image", file.path))
        if place.size:
            best = _best(file.path, count, classes or MOST_CLASSES,
                         needed[file.first:file.end])
            place[:, :best.shape[1]] = best[:len(place)]
            scored = scored if best.shape[1] > 1 else None
    return Prediction(
        answers, scored, [os.path.basename(file.path) for file in files
                          if file.first >= images], not foreign,
        collections.Counter(file.end - file.first
                            for file in files).most_common(1)[0][0])


def _numbered(files, batch_size):
    """Files whose stem is the number of their batch."""
    for file in files:
        if file.first is None and not file.stem.isdecimal():
            raise UserError(
                "Results of videos must be named by the number of their .bin, "
                "such as 0_0.txt or 0_output_0.txt; {!r} is not. Give the "
                "tool the folder of .bin files as --input, or move it away."
                .format(file.path))
    return [file if file.first is not None else file._replace(
        first=int(file.stem) * batch_size,
        end=(int(file.stem) + 1) * batch_size) for file in files]


def _count_classes(path, count):
    """How many have a score in a file of `count` videos; None: no scores."""
    if path.endswith(".bin"):
        each, rest = divmod(os.path.getsize(path), count)
        if not rest and (each in (2, 4) or each == 8 and are_classes(
                np.fromfile(path, "<i8"), MOST_CLASSES)):
            return None
        if rest or each % 4 or not each:
            raise UserError(
                "{!r} must hold float32 scores of {} videos; it has {} bytes. "
                "Give --classes if they are fp16, or the --batchsize that the "
                "input was written with.".format(path, count, rest + each
                                                 * count))
        return each // 4
    values, rows = len(numbers(path, None)), _rows(path)
    if values == count:
        return None
    if rows != count or values % count:
        raise UserError(
            "{!r} must hold a row for each of its {} videos; it has {} rows, "
            "{} values. Give the --batchsize that the input was written with."
            .format(path, count, rows, values))
    return values // count


def _rows(path):
    """Of a .txt or .npy file that holds numbers."""
    if path.endswith(".npy"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array.shape[0] if array.ndim > 1 else 1
    with open(path, "rb") as file:
        return sum(bool(line.strip()) for line in file)


def _placed(folder, files, foreign, images, batch_size):
    """Files whose names tell no images: by the last number in their names."""
    if len(foreign) < len(files):
        raise UserError(
            "The names in {!r} must all tell which images a file holds, or "
            "none; {!r} does not. Move it away, or give it its own name back."
            .format(folder, os.path.basename(foreign[0].path)))
    if not batch_size:
        raise UserError(
            "The names in {!r} must tell which images a file holds, as those "
            "that bins.py makes do; {!r} does not. Give --batchsize, the "
            "images of each file, and they are placed by the last number in "
            "their names; or, of videos, their .info as --labels.".format(
                folder, os.path.basename(foreign[0].path)))
    numbers = [int((re.findall(r"\d+", file.stem) or ["0"])[-1])
               for file in files]
    lowest, wanted = min(numbers), -(-images // batch_size)
    if sorted(numbers) != list(range(lowest, lowest + wanted)) or lowest > 1:
        raise UserError(
            "To place files by the last numbers in their names, these must be "
            "the {} numbers from 0 or from 1 on; in {!r} they are {}{}. Bring "
            "the missing files back, or use names that bins.py makes.".format(
                wanted, folder, ", ".join(map(str, sorted(numbers)[:8])),
                ", ..." if len(numbers) > 8 else ""))
    return [file._replace(first=(number - lowest) * batch_size,
                          end=(number - lowest + 1) * batch_size)
            for file, number in zip(files, numbers)]


def _best(path, count, classes, needed):
    """The best classes of the `count` images in a file: [count, 1 to TOP].

    Of the first, those `needed`, scores must be finite.
    """
    values = numbers(path, classes, count)
    if len(values) == count and are_classes(values, classes):
        return values.astype(np.int64)[:, None]
    if len(values) != count * classes:
        raise UserError(
            "{!r} must hold {} classes 0 to {}, or {} scores; it has {} values"
            "{}. Was the model compiled for another batch size, or is it "
            "another output (--output_index), or of other --classes?".format(
                path, count, classes - 1, count * classes, len(values), ""
                if len(values) != count else ", not all of them classes"))
    values = values.reshape(count, classes)
    if not np.isfinite(values[:len(needed)][needed]).all():
        raise UserError(
            "The scores in {!r} must be finite; they are not. Did the device "
            "overflow fp16? (freeze_pb.py --check_fp16)".format(path))
    order = np.argsort(-values, 1, kind="mergesort")
    return order[:, :TOP]


def are_classes(values, classes):
    """Whether all numbers are whole, from 0 and below `classes`."""
    return bool((np.floor(values) == values).all() and (values >= 0).all()
                and (values < classes).all())


def numbers(path, classes, count=1):
    """The numbers in a .txt, .npy or raw .bin of `count` images, float64 [n].

    Raises:
      UserError: it cannot be read, or holds something else.
    """
    try:
        with open(path, "rb") as file:
            if path.endswith(".npy"):
                values = np.load(file, allow_pickle=False)
                return np.ravel(values).astype(np.float64)
            data = file.read()
        if path.endswith(".txt"):
            return np.array([float(word) for word in data.split()])
        return _raw(data, classes, count)
    except FileNotFoundError:
        raise UserError("{!r} must hold numbers; there is no such file.".format(
            path))
    except Exception as error:          # a damaged .npy header: of many kinds
        raise UserError(
            "{!r} must hold numbers; {}. Was it cut short?".format(
                path, str(error).split("\n")[0][:100]))


def _raw(data, classes, count):
    """Numbers of a .bin: the size of one image tells their type."""
    each, rest = divmod(len(data), count)
    kinds = ((4, "<i4"), (4, "<f4"), (8, "<i8"), (2, "<f2"),
             (4 * classes, "<f4"), (2 * classes, "<f2"))
    for kind in () if rest else [kind for size, kind in kinds if size == each]:
        values = np.frombuffer(data, kind).astype(np.float64)
        if len(values) > count or are_classes(values, classes):
            return values
    raise ValueError(
        "{} bytes are neither classes (int32, int64, float32) nor scores "
        "(float32, float16) of {} images".format(len(data), count))
