"""Reads what msame and ais_bench wrote, as one class for each image.

msame: <stem>_output_<i>.txt or .bin. ais_bench: <stem>_<i>.txt, .bin or .npy.
The stem is that of the input file, so that names made by bins.py tell which
images a file holds, in whatever order the tool took the files.
"""

import collections
import os
import re
from typing import NamedTuple, Optional

import numpy as np

from nonlocal_tf.errors import UserError
from nonlocal_tf.export.bins import FILE_NAME

CLASSES = 10
ENDINGS = (".txt", ".bin", ".npy")
_OUTPUT = re.compile(r"^(.+?)_(output_?)?(\d+)$")       # stem, msame's, index
_RANGE = re.compile(r"(?:^|_)(\d+)_batch_(\d+)_(\d+)$")  # see bins.py


class ResultFile(NamedTuple):
    """One file of results."""

    path: str
    stem: str                           # of the input file
    index: int                          # of the model's output
    first: Optional[int]                # image, by the name; None: no range
    end: Optional[int]                  # one past the last image


class Prediction(NamedTuple):
    """What a folder of results says."""

    classes: np.ndarray                 # int [N]; -1: no result
    missing: list                       # (first, end) of images without one
    surplus: list                       # names of files beyond the labels
    by_name: bool                       # places read from the files' names
    width: int                          # images of most files
    strays: list                        # names that are none of results


def find_folder(output):
    """The folder with results: `output`, or the only stamped one below it.

    Raises:
      UserError: there is none, or there are several.
    """
    if not os.path.isdir(output):
        raise UserError("--output must be the folder that msame or ais_bench "
                        "wrote to; {!r} is no folder.".format(output))
    if _list(output):
        return output
    below = [os.path.join(output, name) for name in sorted(os.listdir(output))]
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
    """The result files in a folder, in natural order."""
    files = []
    for name in os.listdir(folder):
        stem, ending = os.path.splitext(name)
        match = _OUTPUT.match(stem)
        path = os.path.join(folder, name)
        if ending in ENDINGS and match and os.path.isfile(path) and not (
                FILE_NAME.match(name)):
            place = _RANGE.search(match.group(1))
            files.append(ResultFile(
                path, match.group(1), int(match.group(3)),
                int(place.group(2)) if place else None,
                int(place.group(3)) if place else None))
    return sorted(files, key=lambda file: [
        int(part) if part.isdigit() else part
        for part in re.split(r"(\d+)", os.path.basename(file.path))])


def read(folder, images, output=0, batch_size=0):
    """The class of every image.

    Args:
      folder: see `find_folder`.
      images: N, the number of labels.
      output: which of the model's outputs: classes, or a score for each class.
      batch_size: images a file, where the names do not tell; 0: unknown.
    Returns:
      A `Prediction`.
    Raises:
      UserError: a file cannot be read, or does not hold what its name says.
    """
    files = _of_output(folder, output)
    by_name = all(file.first is not None for file in files)
    if not by_name:
        files = _placed(folder, files, images, batch_size)
    width = collections.Counter(
        file.end - file.first for file in files).most_common(1)[0][0]
    if by_name and batch_size not in (0, width):
        raise UserError(
            "--batchsize {} must fit the files; by their names in {!r} they "
            "hold {} images each. Leave it out.".format(
                batch_size, folder, width))
    classes = np.full(images, -1)
    for file in files:
        _fill(classes, file, by_name)
    surplus = [os.path.basename(file.path) for file in files
               if file.first >= images]
    return Prediction(classes, _gaps(classes), surplus, by_name, width,
                      _strays(folder))


def _of_output(folder, output):
    """The files of one output of the model, one for each input."""
    files = _list(folder)
    indices = sorted({file.index for file in files})
    files = [file for file in files if file.index == output]
    if not files:
        raise UserError(
            "{!r} must hold results of output {}; it has {}. Name another "
            "with --output_index.".format(
                folder, output, "those of " + ", ".join(map(str, indices))
                if indices else "none"))
    stems = [file.stem for file in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UserError(
            "{!r} must hold one file for each input; {!r} has several. Leave "
            "those of one run there.".format(folder, twice[0]))
    return files


def _fill(classes, file, by_name):
    """Puts a file's classes at the places of its images, as far as needed."""
    if file.end <= file.first:
        raise UserError(
            "A name must be number_batch_first_end with first below end; "
            "{!r} is turned round.".format(file.path))
    if file.first >= len(classes):
        return
    place = classes[file.first:file.end]
    if (place >= 0).any():
        raise UserError(
            "Each image needs one result; {!r} repeats images of another "
            "file. Leave the files of one run there.".format(file.path))
    place[:] = _classes(file, file.end - file.first, by_name)[:len(place)]


def _strays(folder):
    """Names with a result's ending that are not understood as one."""
    known = {os.path.basename(file.path) for file in _list(folder)}
    return [name for name in sorted(os.listdir(folder)) if name not in known
            and name.endswith(ENDINGS) and not name.startswith(".")]


def _placed(folder, files, images, batch_size):
    """Files whose names tell no images: by the last number in their names."""
    foreign = [os.path.basename(file.path) for file in files
               if file.first is None]
    if len(foreign) < len(files):
        raise UserError(
            "The names in {!r} must all tell which images a file holds, or "
            "none; {!r} does not. Move it away, or give it its own name back."
            .format(folder, foreign[0]))
    if not batch_size:
        raise UserError(
            "The names in {!r} must tell which images a file holds, as those "
            "that bins.py makes do; {!r} does not. Give --batchsize, the "
            "images of each file, and they are placed by the last number in "
            "their names.".format(folder, foreign[0]))
    numbers = []
    for file in files:
        found = re.findall(r"\d+", file.stem)
        numbers.append(int(found[-1]) if found else 0)
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


def _classes(file, count, sure=True):
    """The classes of the `count` images in a file; is the count `sure`?"""
    values = _values(file, count)
    if not sure and len(values) != count and _are_classes(values):
        raise UserError(
            "{!r} must hold {} values by --batchsize; it has {}, all whole "
            "numbers 0 to {}: classes of as many images? Give --batchsize {}."
            .format(file.path, count, len(values), CLASSES - 1, len(values)))
    if len(values) == count and _are_classes(values):
        return values.astype(np.int64)
    if len(values) == count * CLASSES:
        scores = values.reshape(count, CLASSES)
        if not np.isfinite(scores).all():
            raise UserError(
                "The scores in {!r} must be finite; they are not. Did the "
                "device overflow fp16? (freeze_pb.py --check_fp16)".format(
                    file.path))
        return scores.argmax(axis=1)
    raise UserError(
        "{!r} must hold {} classes 0 to {}, or {} scores; it has {} values{}. "
        "Was the model compiled for another batch size, or is it another "
        "output (--output_index)?".format(
            file.path, count, CLASSES - 1, count * CLASSES, len(values),
            "" if len(values) != count else ", not all of them classes"))


def _are_classes(values):
    return bool(np.isfinite(values).all() and np.isin(
        values, np.arange(CLASSES)).all())


def _values(file, count):
    """The numbers in a file of `count` images, float64 [n]."""
    try:
        if file.path.endswith(".npy"):
            return _npy_values(file.path)
        with open(file.path, "rb") as stream:
            data = stream.read()
        if file.path.endswith(".txt"):
            return np.array(
                [float(word) for word in data.decode("ascii").split()])
        return _raw_values(data, count)
    except OSError as error:
        raise UserError("{!r} cannot be read: {}.".format(
            file.path, error.strerror or error))
    except ValueError as error:
        raise UserError(
            "{!r} must hold numbers; {}. Was the run cut short?".format(
                file.path, str(error).split("\n")[0][:100]))


def _npy_values(path):
    with open(path, "rb") as stream:
        try:
            values = np.load(stream, allow_pickle=False)
            return np.ravel(values).astype(np.float64)
        except OSError:
            raise
        except Exception as error:      # a damaged header: of many kinds
            raise ValueError("no .npy array: {}".format(error))


def _raw_values(data, count):
    """Numbers of a .bin: the size of one image tells their type."""
    each, rest = divmod(len(data), count)
    kinds = {4: ("<i4", "<f4"), 8: ("<i8",), 2: ("<f2",),
             4 * CLASSES: ("<f4",), 2 * CLASSES: ("<f2",)}.get(each, ())
    for kind in () if rest else kinds:
        values = np.frombuffer(data, kind).astype(np.float64)
        if len(values) > count or _are_classes(values):
            return values
    raise ValueError(
        "{} bytes are neither classes (int32, int64, float32) nor scores "
        "(float32, float16) of {} images".format(len(data), count))


def _gaps(classes):
    """(first, end) of each stretch without a result."""
    lacking = np.flatnonzero(np.diff(np.concatenate(
        [[False], classes < 0, [False]]).astype(np.int8)))
    return [tuple(pair) for pair in lacking.reshape(-1, 2).tolist()]
