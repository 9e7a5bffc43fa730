"""The line of C++ that proves that a graph went to the NPU.

geop_npu.cc writes it by LOG(INFO): TensorFlow's own function is called, so
that TF_CPP_MIN_LOG_LEVEL has exactly its real effect. Newer versions have no
such function: the variable counts as it is when this module is imported.
"""

import ctypes
import datetime
import glob
import os

import tensorflow as tf

PLACE, LINE = "tf_adapter/kernels/geop_npu.cc", 765
TEXT = ("The model has been compiled on the Ascend AI processor, "
        "current graph id is: {}")
_LEVEL = os.environ.get("TF_CPP_MIN_LOG_LEVEL")


class _String(ctypes.Structure):
    """std::string of the old ABI: what stands before the characters."""

    _fields_ = [("length", ctypes.c_size_t), ("capacity", ctypes.c_size_t),
                ("references", ctypes.c_size_t),
                ("text", ctypes.c_char * 256)]


def _log_string():
    pattern = os.path.join(
        tf.sysconfig.get_lib(), "libtensorflow_framework.so.*")
    for path in glob.glob(pattern):
        name = "_ZN10tensorflow8internal9LogStringEPKciiRKSs"
        function = getattr(ctypes.CDLL(path), name, None)
        if function is not None:
            return function
    return None


def compiled(graph_id):
    """Writes the line to file descriptor 2."""
    text = TEXT.format(graph_id).encode("ascii")
    function = _log_string()
    if function is not None:
        string = _String(len(text), len(text), 0, text)
        start = ctypes.c_void_p(
            ctypes.addressof(string) + _String.text.offset)
        function(PLACE.encode("ascii"), LINE, 0, ctypes.byref(start))
    elif _LEVEL in (None, "", "0"):
        now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")
        os.write(2, "{}: I {}:{}] {}\n".format(
            now, PLACE, LINE, text.decode("ascii")).encode("ascii"))
