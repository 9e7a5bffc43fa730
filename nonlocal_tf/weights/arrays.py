"""A file's raw bytes as arrays, within the bounds of the file."""

import numpy as np

# Name of a type -> its letters in NumPy's pickles, without the byte order.
KINDS = {name: np.dtype(name).str[1:] for name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "float16", "float32", "float64")}
KINDS["bfloat16"] = "bf"
_MOST_AXES = 32                                        # NumPy 1's own limit


class Budget:
    """What the arrays of a file may take together.

    A few bytes can name one storage a million times, or unpack to a thousand
    times their size. Weights that are shared, widened or compressed stay far
    below 8.
    """

    def __init__(self, size):
        self.left = 8 * size + 2**20

    def take(self, count):
        self.left -= count
        if self.left < 0:
            raise ValueError("its arrays would take over 8 times its size")


def array(raw, kind, shape, budget, order="<", offset=0, strides=None):
    """An array in native byte order and in memory of its own.

    Args:
      raw: bytes, or text of one latin1 letter a byte.
      kind: a value of `KINDS`; "bf" is widened to float32.
      shape, offset, strides: in items. Without strides they are C's, and all
        of `raw` is the array's.
      budget: the `Budget` that it draws on.
      order: "<" or ">".
    Raises:
      ValueError: no such kind or shape, or it reaches beyond `raw`.
    """
    if kind not in KINDS.values():
        raise ValueError("an array has the type {!r:.40}".format(kind))
    dtype = np.dtype(order + ("u2" if kind == "bf" else kind))
    count = _count(shape)
    budget.take(count * (4 if kind == "bf" else dtype.itemsize))
    if strides is None:
        strides = [_count(shape[axis + 1:]) for axis in range(len(shape))]
        fits = len(raw) == count * dtype.itemsize
    else:
        fits = _fits(shape, offset, strides, len(raw) // dtype.itemsize)
    if not fits:
        raise ValueError("an array of shape {} does not fit {} bytes".format(
            list(shape), len(raw)))
    if not count:
        return np.zeros(shape, np.float32 if kind == "bf" else kind)
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    values = np.lib.stride_tricks.as_strided(
        np.frombuffer(raw, dtype)[offset:], shape,
        [stride * dtype.itemsize for stride in strides])
    if kind == "bf":
        return (values.astype(np.uint32, "C") << 16).view(np.float32)
    return values.astype(kind, "C")


def _count(shape):
    """Items of an array of that shape."""
    if len(shape) > _MOST_AXES or not all(
            type(side) is int and 0 <= side < 2**48 for side in shape):
        raise ValueError("an array has an impossible shape")
    count = 1
    for side in shape:
        count *= side
    return count


def _fits(shape, offset, strides, size):
    """Whether it reads the items 0 to `size` alone."""
    _count((offset,) + tuple(strides))                 # natural numbers, few
    return len(shape) == len(strides) and (0 in shape or offset + sum(
        (side - 1) * stride for side, stride in zip(shape, strides)) < size)
