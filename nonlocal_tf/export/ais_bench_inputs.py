"""The batches that ais_bench makes of its --input."""

import os
import re
from typing import NamedTuple

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import rehearsal

_ENDINGS = (".npy", ".NPY", ".bin", ".BIN")
NO_INPUT = "pure_infer_data"            # its own word, in names of results


class Batch(NamedTuple):
    """What one run takes and whose results it gives."""

    files: list             # for each input a list of files, as many each
    kept: int               # the first so many; the others fill up


def batches(inputs, text):
    """What --input asks for, sizes checked: a list of `Batch`."""
    if text is None:
        return [Batch([[NO_INPUT]] * len(inputs), 1)]
    lists = _listed(inputs, text.split(","))
    if not inputs or len({len(files) for files in lists}) > 1:
        raise UserError(
            "Each input must have as many files as the others; --input gives "
            "{}.".format(", ".join("{} to {!r}".format(len(files), entry.name)
                                   for files, entry in zip(lists, inputs))
                         or "files to a graph without inputs"))
    counts = {_files_a_batch(entry, files)
              for files, entry in zip(lists, inputs)}
    if len(counts) > 1:
        raise UserError(
            "The files of all inputs must hold as many samples each; those of "
            "--input {!r} fill a batch with {}.".format(
                text, " or ".join(map(str, sorted(counts)))))
    _check_names(lists[0])
    count = counts.pop()
    made = []
    for first in range(0, len(lists[0]), count):
        groups = [files[first:first + count] for files in lists]
        kept = len(groups[0])
        made.append(Batch([
            files + files[:1] * (count - kept) for files in groups], kept))
    return made


def _listed(inputs, entries):
    """The files of each input, in ais_bench's order."""
    for path in entries:
        real = os.readlink(path) if os.path.islink(path) else path
        if not os.path.exists(real) or os.path.isdir(real) != os.path.isdir(
                entries[0]):
            raise UserError(
                "--input must name .bin and .npy files, or a folder for each "
                "input, not through relative links; {!r} is {}.".format(
                    path, "another kind" if os.path.exists(real)
                    else "not there"))
    if os.path.isdir(entries[0]):
        if len(entries) != len(inputs):
            raise UserError(
                "--input must name a folder for each input ({}); got {} "
                "folders.".format(", ".join(
                    each.name for each in inputs), len(entries)))
        return [_in_folder(folder) for folder in entries]
    count, rest = divmod(len(entries), max(len(inputs), 1))
    if rest:
        raise UserError(
            "--input must name as many files for each input ({}), those of "
            "the first before those of the second; got {} files.".format(
                ", ".join(each.name for each in inputs), len(entries)))
    return [entries[first:first + count]
            for first in range(0, len(entries), count)]


def _in_folder(folder):
    """The .bin and .npy files, 2 before 10, without regard to case."""
    names = sorted(name for name in os.listdir(folder)
                   if name.endswith(_ENDINGS)
                   and not os.path.isdir(os.path.join(folder, name)))
    if not names:
        raise UserError(
            "A folder of inputs must hold .bin or .npy files; {!r} has none. "
            "bins writes them.".format(folder))
    return [os.path.join(folder, name) for name in sorted(names, key=_natural)]


def _natural(name):
    return [int(part) if part.isdigit() else part.lower()
            for part in re.split("([0-9]+)", name)]


def _files_a_batch(entry, files):
    """How many files of one input fill it."""
    if len({_is_npy(path) for path in files}) > 1:
        raise UserError(
            "The files of the input {!r} must be all .npy or none, as "
            "ais_bench cannot join both; {!r} is among others.".format(
                entry.name, files[0]))
    sizes = [_content_bytes(entry, path) for path in files]
    for path, size in zip(files, sizes):
        if size != sizes[0]:
            raise UserError(
                "The files of the input {!r} must have as many bytes each; "
                "{!r} holds {:,}, {!r} holds {:,}.".format(
                    entry.name, files[0], sizes[0], path, size))
    count, rest = divmod(entry.bytes, sizes[0]) if sizes[0] else (0, 1)
    batch = entry.shape[0] if entry.shape else 1
    if rest or batch % count:
        raise UserError(
            "{!r} must hold {:,} bytes, {} for the input {!r}, or those of "
            "fewer samples, of which a whole number fills the batch; it holds "
            "{:,}.".format(files[0], entry.bytes, entry.text(), entry.name,
                           sizes[0]))
    return count


def _content_bytes(entry, path):
    """Of a file, without the header of an .npy."""
    if not _is_npy(path):
        return rehearsal.file_size(path, entry)
    array = _load(path)
    if array.dtype != entry.dtype or not array.flags.c_contiguous:
        raise UserError(
            "{!r} must be {} in C order, as ais_bench takes the bytes as they "
            "are; it is {}{}. Save it by numpy.ascontiguousarray(array, {!r})."
            .format(path, entry.dtype.name, array.dtype,
                    "" if array.flags.c_contiguous else " in Fortran's order",
                    entry.dtype.name))
    return array.nbytes


def _is_npy(path):
    return path.endswith((".npy", ".NPY"))


def _load(path):
    import numpy as np
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:      # a damaged header: of many kinds
        raise UserError("{!r} must be an array of NumPy; {}.".format(
            path, str(error).split("\n")[0][:100]))


def _check_names(files):
    """Results are named by the first input's files, up to the first dot."""
    seen = {}
    for path in files:
        stem = stem_of(path)
        if not stem or stem in seen:
            raise UserError(
                "Inputs must differ before the first dot of their names, or "
                "ais_bench overwrites results; {!r} {}. Rename it.".format(
                    path, "is as {!r} there".format(seen[stem])
                    if stem else "has nothing there"))
        seen[stem] = path


def stem_of(path):
    """What the results of a file are named by."""
    return os.path.basename(path).split(".")[0]


def arrays(inputs, batch, pure_data_type):
    """The arrays of a `Batch`, in the order of the inputs."""
    import numpy as np
    made = []
    for entry, files in zip(inputs, batch.files):
        if files == [NO_INPUT]:
            data = np.random.randint(
                256, size=entry.bytes, dtype=np.uint8).tobytes() if (
                    pure_data_type == "random") else bytes(entry.bytes)
        else:
            data = b"".join(map(_content, files))
        made.append(np.frombuffer(data, entry.dtype).reshape(entry.shape))
    return made


def _content(path):
    if _is_npy(path):
        return _load(path).tobytes()
    with open(path, "rb") as file:
        return file.read()
