"""Writes weight files that PyTorch and Caffe2 read, without either.

The pickles are put together from opcodes: Python's own pickler would import
torch, and it names modules that Python 2's NumPy does not have.
"""

import pickle
import struct
import zipfile

import numpy as np

from nonlocal_tf.storage import writing
from nonlocal_tf.weights.restricted import STORAGES

_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
_STORAGES = {kind: name for name, kind in STORAGES.items()}


def write_torch(path, tensors):
    """Writes {"meta": {}, "state_dict": tensors} for `torch.load`, by rename.

    Args:
      path: the file; its folder must exist.
      tensors: name -> array of a type that PyTorch has.
    Raises:
      UserError: the file cannot be written.
    """
    tensors = {name: _little(value) for name, value in tensors.items()}
    index = [b"\x80\x02}(", _op("meta"), b"}", _op("state_dict"),
             _ORDERED_DICT, b"("]
    for key, (name, value) in enumerate(tensors.items()):
        index += [_op(name), _tensor(str(key), value)]
    with writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        def add(name, data):                           # dated 1980: the same
            archive.writestr(zipfile.ZipInfo("archive/" + name), data)

        add("data.pkl", b"".join(index) + b"uu.")
        add("byteorder", b"little")
        for key, value in enumerate(tensors.values()):
            add("data/{}".format(key), value.tobytes())
        add("version", b"3\n")


def write_caffe2(path, tensors):
    """Writes {"blobs": tensors} as Python 2 pickles it, by rename.

    Args:
      path: the file; its folder must exist.
      tensors: name -> array.
    Raises:
      UserError: the file cannot be written.
    """
    with writing(path) as file:
        file.write(b"\x80\x02}" + _bytes(b"blobs") + b"}(")
        for name, value in tensors.items():
            value = _little(value)
            file.write(
                _bytes(name.encode("latin1"))
                + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
                + _op((0,)) + _bytes(b"b") + b"\x87R(" + _op(1)
                + _op(value.shape) + b"cnumpy\ndtype\n"
                + _bytes(value.dtype.str[1:].encode()) + _op(0) + _op(1)
                + b"\x87R(" + _op(3) + _bytes(value.dtype.str[:1].encode())
                + b"NNN" + _op(-1) + _op(-1) + _op(0) + b"tb\x89"
                + _bytes(value.tobytes()) + b"tb")
        file.write(b"us.")


def _little(value):
    """In little-endian and C order, as torch and Python 2 files have it."""
    return np.asarray(value, value.dtype.newbyteorder("<"), "C")


def _op(value):
    """The opcodes of an int, a text or a tuple of ints, in protocol 2."""
    return pickle.dumps(value, 2)[2:-1]


def _bytes(value):
    """Those of a Python 2 string."""
    return b"T" + struct.pack("<i", len(value)) + value


def _tensor(key, value):
    """Those of torch's, with storage `key`."""
    strides = tuple(stride // value.itemsize for stride in value.strides)
    return b"".join([
        b"ctorch._utils\n_rebuild_tensor_v2\n((", _op("storage"), b"ctorch\n",
        _STORAGES[value.dtype.str[1:]].encode(), b"\n", _op(key), _op("cpu"),
        _op(value.size), b"tQ", _op(0), _op(value.shape), _op(strides),
        b"\x89", _ORDERED_DICT, b"tR"])
