"""Reads the weight files of Caffe2, PyTorch, Paddle and MindSpore.

NumPy alone is needed, and nothing in a file is run: `restricted` unpickles.
What a file claims is held against its size before memory is taken.
"""

import io
import os
import struct
import zipfile
from typing import NamedTuple

import numpy as np

from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import gist
from nonlocal_tf.weights.arrays import KINDS, Budget, array
from nonlocal_tf.weights.restricted import Array, Machine, Tensor, text

_MAGIC = 0x1950a86a20f9469cfc6c                        # of torch before 1.6
_PROTOCOL = 1001
_STATES = ("state_dict", "model_state_dict", "model")  # keys of PyTorch
_PADDLE = {0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16",
           5: "float32", 6: "float64", 20: "uint8", 21: "int8",
           22: "bfloat16"}                             # framework.proto

_MOST_FIELDS = 2**16


class Stored(NamedTuple):
    """What a file holds.

    format: "caffe2", "torch", "paddle" or "mindspore".
    tensors: name -> array in the file's layout and type (bfloat16 as float32),
      in its order. Values that are no arrays are left out.
    """

    format: str
    tensors: dict


def read(path):
    """Reads a weight file, or Paddle 1.5's folder of a file per variable.

    The content decides on the format. A pickled dict is Caffe2's if it has
    "blobs" or the first kernel's name there, conv1_w, and otherwise Paddle's.

    Returns:
      `Stored`.
    Raises:
      UserError: it is none of them, damaged, or larger than it can be.
    """
    try:
        if os.path.isdir(path):
            return _read_folder(path)
        return _read_content(_content(path))
    except Exception as error:          # damage shows as any type, anywhere
        raise UserError(
            "{!r} must be a whole file of weights: Caffe2's .pkl, PyTorch's "
            ".pth, MindSpore's .ckpt, Paddle's .pdparams or folder; but: {}. "
            "Fetch it again, or save it anew with its own system.".format(
                path, gist(error) if isinstance(error, (OSError, ValueError))
                else "it is damaged ({!r:.99})".format(error)))


def _content(path):
    if not os.path.isfile(path):
        raise ValueError("there is no such file")
    with open(path, "rb") as file:
        return file.read()


def _read_content(content):
    if content[:4] == b"PK\3\4":
        return Stored("torch", _read_zip(content))
    if content[:1] == b"\n":
        return Stored("mindspore", _read_mindspore(content))
    if content[:1] not in (b"\x80", b"(", b"}", b"c"):    # protocols 2 on, 0, 1
        raise ValueError("it begins with {!r}".format(content[:12]))
    machine = Machine(content)
    value = machine.load()
    if value == _MAGIC:
        return Stored("torch", _read_legacy(content, machine.place))
    blobs = _part(value, "blobs")
    return Stored(
        "caffe2" if blobs is not value or "conv1_w" in blobs else "paddle",
        _arrays(blobs, Budget(len(content))))


def _part(value, *names):
    """The dict that a dict has by the first of these names, or else itself."""
    if not isinstance(value, dict):
        raise ValueError("it holds something else than arrays by name")
    return next((value[name] for name in names
                 if isinstance(value.get(name), dict)), value)


def _arrays(values, budget, storages=None):
    """The arrays of a dict, or of pairs (name, array) in it."""
    tensors = {}
    for name, value in values.items():
        if type(value) is tuple and len(value) == 2:
            value = value[1]
        if isinstance(value, (Array, Tensor)):
            try:
                tensors[name] = value.own(budget, storages)
            except ValueError as error:
                raise ValueError("{!r:.80}: {}".format(name, error))
    if not tensors:
        raise ValueError("it holds no array that has a name")
    return tensors


def _read_zip(content):
    """PyTorch since 1.6: NAME/data.pkl and NAME/data/KEY."""
    budget = Budget(len(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {}
        for entry in archive.infolist():
            if entry.compress_type not in (
                    zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("its zip has another compression than deflate")
            budget.take(entry.file_size)
            with archive.open(entry) as file:          # read() may take 2 GiB
                entries[entry.filename] = file.read(entry.file_size)
    names = [name for name in entries if name.endswith("data.pkl")]
    if not names:
        raise ValueError("it is a zip without PyTorch's data.pkl")
    folder = names[0][:-len("data.pkl")]
    value = Machine(entries[names[0]]).load()
    order = ">" if entries.get(folder + "byteorder") == b"big" else "<"
    start = folder + "data/"
    return _arrays(_part(value, *_STATES), budget, ({
        name[len(start):]: raw for name, raw in entries.items()
        if name.startswith(start)}, order))


def _read_legacy(content, place):
    """PyTorch before 1.6: five pickles, then count and items by storage."""
    protocol, place, _ = _unpickle(content, place)
    system, place, _ = _unpickle(content, place)
    value, place, kinds = _unpickle(content, place)
    keys, place, _ = _unpickle(content, place)
    if protocol != _PROTOCOL:
        raise ValueError("PyTorch's protocol must be 1001")
    storages = {}
    for key in map(text, keys):
        if key not in kinds:
            raise ValueError("its tensors are of an unknown type")
        count, = struct.unpack_from("<q", content, place)
        size = np.dtype(kinds[key].kind.replace("bf", "f2")).itemsize * count
        if not 0 <= size <= len(content) - place - 8:
            raise ValueError("it is cut off")
        storages[key] = memoryview(content)[place + 8:place + 8 + size]
        place += 8 + size
    order = "<" if system["little_endian"] else ">"
    return _arrays(
        _part(value, *_STATES), Budget(len(content)), (storages, order))


def _unpickle(content, place):
    """(value, byte behind it, storages that it names)."""
    machine = Machine(content, place)
    return machine.load(), machine.place, machine.storages


def _read_folder(path):
    """Paddle 1.5's, or the one .pdparams in it."""
    names = sorted(os.listdir(path))
    whole = [name for name in names if name.endswith(".pdparams")]
    if len(whole) == 1:
        return _read_content(_content(os.path.join(path, whole[0])))
    tensors = {}
    for name in names:
        if name != "__model__":                        # a program, no variable
            try:
                tensors[name] = _variable(_content(os.path.join(path, name)))
            except (ValueError, struct.error) as error:
                raise ValueError("{!r}: {}".format(name, error))
    if not tensors:
        raise ValueError("the folder has no files")
    return Stored("paddle", tensors)


def _variable(content):
    """Version, levels (none), version, length, type and dims, raw data."""
    version, levels, again, length = struct.unpack_from("<IQIi", content)
    start = struct.calcsize("<IQIi") + length
    if version or levels or again or not 0 <= length <= 1024:
        raise ValueError("it is no variable of Paddle")
    fields = list(_fields(memoryview(content)[start - length:start]))
    kinds = [_PADDLE[value] for number, value in fields if number == 1]
    return array(memoryview(content)[start:], KINDS[kinds[0]],
                 [value for number, value in fields if number == 2],
                 Budget(len(content)))


def _read_mindspore(content):
    """Repeated {tag, {dims, type, content}}; large ones come in pieces."""
    pieces, forms = {}, {}
    for number, entry in _fields(memoryview(content)):
        entry = dict(_fields(entry))
        name, tensor = str(entry[1], "utf-8"), list(_fields(entry[2]))
        parts = dict(tensor)
        pieces.setdefault(name, []).append(parts[3])
        forms[name] = (str(parts[2], "utf-8").lower(), [
            value for number, value in tensor if number == 1])
    budget, tensors = Budget(len(content)), {}
    for name, (kind, shape) in forms.items():
        if kind in KINDS:                              # and not a text
            if shape == [0]:
                shape = []                             # so it writes a scalar
            tensors[name] = array(
                b"".join(pieces[name]), KINDS[kind], shape, budget)
    if not tensors:
        raise ValueError("it holds no tensors")
    return tensors


def _fields(data):
    """The (number, value) of a protobuf message; value: an int or bytes."""
    place = count = 0
    while place < len(data):
        count += 1
        key, place = _varint(data, place)
        value, place = _varint(data, place)
        if key & 7 == 2:
            start, place = place, place + value
            value = data[start:place]
        if (key & 7 not in (0, 2) or place > len(data)
                or count > _MOST_FIELDS):
            raise ValueError("it is cut off, or no protobuf message")
        yield key >> 3, value


def _varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("it has a number of over 64 bits")
