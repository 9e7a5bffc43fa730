"""The bytes of a frozen graph's file, before TensorFlow is imported."""

import os

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError

LIMIT = 2 ** 31 - 1             # bytes; protobuf's own limit
_OTHERS = (                     # first bytes of what people take for a .pb
    (b"node {", "text; ATC wants the binary form"),
    (b"node:", "text; ATC wants the binary form"),
    (b"\x89HDF", "an HDF5 file of Keras"),
    (b"PK\x03\x04", "a zip or .keras file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"IMOD", "an .om, which ATC has already made"),
    (b"\x93NUMPY", "an array of NumPy"),
)
_MAKE = ("freeze_pb.py makes one of a checkpoint of train_gpu.py; "
         "convert_variables_to_constants of TensorFlow of any other graph.")


def read(path):
    """Its bytes, which begin as a GraphDef may.

    Raises:
      UserError: there is no such file, or it is something else.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not (
                os.path.isdir(path)):
            raise unusable(path, "a device or a pipe")
        size = os.path.getsize(path)
        if size > LIMIT:
            raise unusable(path, "{:,} bytes".format(size),
                           "A GraphDef has at most {:,}.".format(LIMIT))
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(
            "A frozen graph must be a file that can be read; {!r}: {}. {}"
            .format(path, "it is a SavedModel; freeze one of its signatures"
                    if os.path.isfile(os.path.join(path, "saved_model.pb"))
                    else storage.gist(error), _MAKE))
    if not data:
        raise unusable(path, "empty")
    start = data[:4096].lstrip()
    for first, kind in _OTHERS:
        if start.startswith(first):
            raise unusable(path, kind)
    return data


def unusable(path, what, then=_MAKE):
    """The error of a file that is something else."""
    return UserError("A frozen graph must be a binary GraphDef; {!r} is {}. "
                     "{}".format(path, what, then))
