"""Unpickles arrays and tensors, and runs nothing.

No name in a file is ever imported: a table has the few that arrays and tensors
are made of, and any other becomes `INERT`, which swallows calls, state and
items. The machine is written out, since the standard library's takes memory
for lengths and memo numbers that a file only claims. Each opcode here costs
what it reads or takes off the stack; what a memo gives again is never copied.
"""

import codecs
import struct
from typing import NamedTuple

from nonlocal_tf.weights.arrays import KINDS, array

INERT = object()
_MOST_OPCODES = 2**20                   # a file of 1,000 tensors has 50,000
_MOST_LETTERS = 1024                    # of a name
_MOST_ARGUMENTS = 16
_MOST_DIGITS = 100                      # int() takes digits squared


class Array:
    """One of NumPy's; its state comes after it is made."""

    def __init__(self, *state):
        self.state = state

    def set_state(self, state):
        self.state = state

    def own(self, budget, storages=None):
        """The array; see `arrays.array`."""
        shape, dtype, fortran, raw = self.state[-4:]   # a version may precede
        made = array(raw, dtype.kind, shape[::-1] if fortran else shape,
                     budget, dtype.order)
        return made.T.copy() if fortran else made


class Dtype:
    """One of NumPy's, such as f4; its state has the byte order."""

    def __init__(self, kind, *_):
        self.kind, self.order = text(kind), "<"

    def set_state(self, state):
        self.order = ">" if text(state[1]) == ">" else "<"


class Storage(NamedTuple):
    """What torch calls a tensor's memory, and its type, one of `KINDS`."""

    key: str
    kind: str


class Tensor(NamedTuple):
    """One of torch's: a view of a storage, counted in items."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    def own(self, budget, storages):
        """The array; `storages` gives bytes by key, and their order."""
        raw, order = storages
        return array(raw[self.storage.key], self.storage.kind, self.shape,
                     budget, order, self.offset, self.strides)


def text(name):
    """A name, which Python 2 wrote as bytes."""
    if not isinstance(name, (str, bytes)) or len(name) > _MOST_LETTERS:
        raise ValueError("it has something else for a name")
    return name.decode("latin1") if isinstance(name, bytes) else name


def _ordered_dict(pairs=None):
    """Python 2 gives all items at once; taken, they cannot come again."""
    made = {}
    if pairs:
        _fill(made, [half for key, value in pairs for half in (key, value)])
        pairs.clear()
    return made


def _fill(target, items):
    """Sets keys and values that follow each other; returns the target.

    Other keys than texts are of no use, and tuples can take for ever to hash.
    """
    if isinstance(target, dict):
        target.update(
            (text(key), value) for key, value in zip(items[::2], items[1::2])
            if isinstance(key, (str, bytes)))
    return target


def _tensor(storage, offset, shape, strides, *_):
    return (Tensor(storage, offset, shape, strides)
            if isinstance(storage, Storage) else INERT)


_GLOBALS = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("numpy", "dtype"): Dtype,
    # Python 3 writes bytes so for Python 2; `array` encodes them.
    ("_codecs", "encode"): lambda letters, _: letters,
    ("__builtin__", "bytes"): lambda: b"",
    ("builtins", "tuple"): lambda pair: pair,          # Paddle's newer tensors
    ("__builtin__", "tuple"): lambda pair: pair,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
}
for _numpy in ("numpy.core", "numpy._core"):
    _GLOBALS.update({
        (_numpy + ".multiarray", "_reconstruct"): lambda *_: Array(),
        (_numpy + ".multiarray", "scalar"):
            lambda dtype, raw: Array((), dtype, False, raw),
        (_numpy + ".numeric", "_frombuffer"):          # pickle protocol 5
            lambda raw, dtype, shape, order: Array(
                shape, dtype, text(order) == "F", raw)})
STORAGES = {                                           # torch's name -> kind
    name + "Storage": KINDS[kind] for name, kind in (
        ("Bool", "bool"), ("Byte", "uint8"), ("Char", "int8"),
        ("Short", "int16"), ("Int", "int32"), ("Long", "int64"),
        ("Half", "float16"), ("BFloat16", "bfloat16"), ("Float", "float32"),
        ("Double", "float64"))}


class Machine:
    """Runs the pickle that begins at byte `place` of `content`.

    After `load`, `place` is behind it, and `storages` has all that it names.
    """

    def __init__(self, content, place=0):
        self.content, self.place = content, place
        self.stack, self.marks, self.memo = [], [], {}
        self.storages = {}

    def load(self):
        """The value; its dicts have the items alone whose key is a text.

        Raises:
          Exception: of many types; the pickle is damaged, or is none.
        """
        for _ in range(_MOST_OPCODES):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            if code in _PUSH:
                self.stack.append(_PUSH[code](self))
            elif code in _CHANGE:
                _CHANGE[code](self)
            else:
                raise ValueError("{!r} is no opcode of weights".format(code))
        raise ValueError("it has over {} opcodes".format(_MOST_OPCODES))

    def take(self, count):
        """The next bytes."""
        end = self.place + count
        if not self.place <= end <= len(self.content):
            raise ValueError("it is cut off")
        piece, self.place = self.content[self.place:end], end
        return piece

    def number(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self):
        """The rest of a line, without its end."""
        end = self.content.find(b"\n", self.place)     # -1, none, is cut off
        return self.take(end + 1 - self.place)[:-1]

    def digits(self):
        """A line's number."""
        line = self.line()
        if len(line) > _MOST_DIGITS:
            raise ValueError("it has a number of {} digits".format(len(line)))
        return int(line.rstrip(b"L"))

    def letters(self, layout):
        """UTF-8 behind its length."""
        return str(self.take(self.number(layout)), "utf-8", "surrogatepass")

    def top(self, count):
        """Takes so many values off the stack."""
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def marked(self):
        """Takes what is above the last mark off the stack."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def found(self, module, name):
        """The function of a global, or a storage's kind, or INERT."""
        module, name = text(module), text(name)
        if module == "torch":
            return STORAGES.get(name, INERT)
        return _GLOBALS.get((module, name), INERT)

    def called(self, function, arguments):
        if not callable(function) or len(arguments) > _MOST_ARGUMENTS:
            return INERT
        return function(*arguments)

    def persistent(self, form, kind, key, *rest):
        """A storage; old versions could name a part of one, too."""
        if text(form) != "storage" or kind is INERT or any(
                part is not None for part in rest[2:]):
            return INERT
        storage = Storage(text(key), text(kind))
        self.storages[storage.key] = storage
        return storage

    def build(self):
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, (Array, Dtype)):
            target.set_state(state)

    def extend(self, values):
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def set_items(self, items):
        _fill(self.stack[-1], items)

    def keep(self, number):
        self.memo[number] = self.stack[-1]


_PUSH = {                               # opcode -> what it puts on the stack
    b"N": lambda m: None,
    b"\x88": lambda m: True,
    b"\x89": lambda m: False,
    b"I": lambda m: m.digits(),                        # also False and True
    b"L": lambda m: m.digits(),
    b"J": lambda m: m.number("<i"),
    b"K": lambda m: m.number("<B"),
    b"M": lambda m: m.number("<H"),
    b"\x8a": lambda m: int.from_bytes(
        m.take(m.number("<B")), "little", signed=True),
    b"F": lambda m: float(m.line()),
    b"G": lambda m: m.number(">d"),
    b"S": lambda m: codecs.escape_decode(m.line()[1:-1])[0],
    b"T": lambda m: m.take(m.number("<i")),
    b"U": lambda m: m.take(m.number("<B")),
    b"B": lambda m: m.take(m.number("<I")),
    b"C": lambda m: m.take(m.number("<B")),
    b"\x8e": lambda m: m.take(m.number("<Q")),
    b"\x96": lambda m: m.take(m.number("<Q")),
    b"V": lambda m: str(m.line(), "raw-unicode-escape"),
    b"X": lambda m: m.letters("<I"),
    b"\x8c": lambda m: m.letters("<B"),
    b"\x8d": lambda m: m.letters("<Q"),
    b")": lambda m: (),
    b"\x85": lambda m: tuple(m.top(1)),
    b"\x86": lambda m: tuple(m.top(2)),
    b"\x87": lambda m: tuple(m.top(3)),
    b"t": lambda m: tuple(m.marked()),
    b"]": lambda m: [],
    b"l": lambda m: m.marked(),
    b"}": lambda m: {},
    b"d": lambda m: _fill({}, m.marked()),
    b"\x8f": lambda m: INERT,                          # a set
    b"\x91": lambda m: (m.marked(), INERT)[1],          # a frozen one
    b"2": lambda m: m.stack[-1],
    b"g": lambda m: m.memo[m.digits()],
    b"h": lambda m: m.memo[m.number("<B")],
    b"j": lambda m: m.memo[m.number("<I")],
    b"c": lambda m: m.found(m.line(), m.line()),
    b"\x93": lambda m: m.found(*m.top(2)),
    b"R": lambda m: m.called(*m.top(2)),
    b"\x81": lambda m: m.called(*m.top(2)),
    b"\x92": lambda m: m.called(*m.top(3)[:2]),
    b"Q": lambda m: m.persistent(*m.stack.pop()),
}
_CHANGE = {                             # opcode -> what it does to the stack
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.marked(),
    b"p": lambda m: m.keep(m.digits()),
    b"q": lambda m: m.keep(m.number("<B")),
    b"r": lambda m: m.keep(m.number("<I")),
    b"\x94": lambda m: m.keep(len(m.memo)),
    b"a": lambda m: m.extend(m.top(1)),
    b"e": lambda m: m.extend(m.marked()),
    b"\x90": lambda m: m.marked(),
    b"s": lambda m: m.set_items(m.top(2)),
    b"u": lambda m: m.set_items(m.marked()),
    b"b": lambda m: m.build(),
}
