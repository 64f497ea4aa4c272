"""A pickle of tensors, interpreted without executing anything.

A pickle is a program that may call anything that can be imported. `Pickle` interprets the few
instructions that a state dict needs and refuses the rest. Nothing callable ever lies on its stack:
what a pickle names is held as its name, and the few names that are known build our own inert
values.

The formats: `pickletools` of Python for the instructions; `torch/serialization.py` and
`torch/_utils.py` of PyTorch for storages and tensors.
"""

import contextlib
import dataclasses
import pickletools
import zipfile
import zlib
from collections.abc import Callable

import ml_dtypes
import numpy as np

from data.errors import InputError

ADVICE = "save model.state_dict() alone with torch.save, or as .safetensors, and use that file."

_STORAGES = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}


@contextlib.contextmanager
def damage_named(what: str):
    """Turns what damaged content raises while it is parsed into an InputError that says so."""
    try:
        yield
    except InputError:
        raise
    except (
        *(ValueError, TypeError, LookupError, OverflowError, EOFError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    ) as error:
        raise InputError(
            f"is cut short or damaged: {what} cannot be read; copy or download it again."
        ) from error


@dataclasses.dataclass(frozen=True)
class _Symbol:
    """A Python object that a pickle names, here its name and nothing else."""

    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of `size` values in the file, of which tensors are views."""

    key: str
    dtype: np.dtype
    size: int

    def __post_init__(self):
        if type(self.key) is not str or type(self.size) is not int or self.size < 0:
            raise ValueError("not a storage's key and size")

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count values, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self):
        if type(self.storage) is not Storage:
            raise TypeError("a tensor of something else than a storage")
        # NumPy checks the bounds, but takes a negative stride, which PyTorch never has.
        if any(type(n) is not int or n < 0 for n in (self.offset, *self.shape, *self.strides)):
            raise ValueError("not a tensor's offset, shape and strides")


def _ordered_dict() -> dict:
    return {}


def _size(lengths: tuple) -> tuple:
    return tuple(lengths)


def _tensor(
    storage, offset, shape, strides, requires_grad=False, backward_hooks=None, metadata=None
) -> Tensor:
    if metadata:
        raise InputError(f"holds a tensor with a conjugate or sign yet to be applied; {ADVICE}")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Tensor, requires_grad=True, backward_hooks=None) -> Tensor:
    return tensor


_CALLS = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


class Pickle:
    """Interprets one pickle; afterwards `storages` are those that it names, by key.

    On the stack lie only None, booleans, numbers, strings, bytes, tuples, lists, dicts, `_Symbol`,
    `Storage` and `Tensor`.
    """

    def __init__(self):
        self.storages: dict[str, Storage] = {}
        self.stack = []
        self.below_mark = []
        self.memo = {}

    def load(self, stream):
        """What the pickle at the stream's position holds; leaves the stream at its end."""
        with damage_named("what it holds"):
            for instruction, argument, _ in pickletools.genops(stream):
                name = instruction.name
                if name == "STOP":
                    return self.stack.pop()
                if name in _PUSHES:
                    self.push(argument)
                elif name in _CREATES:
                    self.push(_CREATES[name]())
                elif name in _EXECUTES:
                    _EXECUTES[name](self, argument)
                elif name not in ("PROTO", "FRAME"):
                    raise InputError(
                        f"holds more than a state dict (its pickle has the instruction {name}); "
                        f"nothing in it was executed: {ADVICE}"
                    )

    def push(self, value):
        self.stack.append(value)

    def mark(self, _):
        self.below_mark.append(self.stack)
        self.stack = []

    def since_mark(self) -> list:
        items, self.stack = self.stack, self.below_mark.pop()
        return items

    def pop(self, count: int) -> list:
        return [self.stack.pop() for _ in range(count)][::-1]

    def top(self, kind: type):
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"a {kind.__name__} was expected")
        return self.stack[-1]

    def append(self, items: list):
        self.top(list).extend(items)

    def set_items(self, items: list):
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Not even tuples: hashing a deeply nested one would overflow the C stack.
            if type(key) not in (str, int, float, bool):
                raise InputError(f"holds a dict with a {type(key).__name__} as key; {ADVICE}")
            target[key] = value

    def symbol(self, name: str):
        if name not in _CALLS and name not in _STORAGES:
            raise InputError(
                f"holds {name[:200]!r}, which no state dict needs; nothing in it was executed: "
                f"{ADVICE}"
            )
        self.push(_Symbol(name))

    def call(self, _):
        symbol, arguments = self.pop(2)
        if type(symbol) is not _Symbol or type(arguments) is not tuple:
            raise TypeError("a call of something else than a name")
        self.push(_CALLS[symbol.name](*arguments))

    def set_attributes(self, _):
        # Modules give their OrderedDict an attribute `_metadata`, their classes' format versions.
        self.pop(1)
        self.top(dict)

    def persistent(self, _):
        # The last entry, a view of another storage, is None since PyTorch 0.4.
        kind, symbol, key, _device, size, *view = self.stack.pop()
        if kind != "storage" or view not in ([], [None]):
            raise ValueError("a persistent object other than a storage")
        if type(symbol) is not _Symbol:
            raise TypeError("a storage's type is something else than a name")
        storage = Storage(key, _STORAGES[symbol.name], size)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage with two types or sizes")
        self.push(storage)

    def remember(self, index: int | None):
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]


_PUSHES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CREATES = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_EXECUTES: dict[str, Callable] = {
    "MARK": Pickle.mark,
    "TUPLE": lambda self, _: self.push(tuple(self.since_mark())),
    "TUPLE1": lambda self, _: self.push(tuple(self.pop(1))),
    "TUPLE2": lambda self, _: self.push(tuple(self.pop(2))),
    "TUPLE3": lambda self, _: self.push(tuple(self.pop(3))),
    "APPEND": lambda self, _: self.append(self.pop(1)),
    "APPENDS": lambda self, _: self.append(self.since_mark()),
    "SETITEM": lambda self, _: self.set_items(self.pop(2)),
    "SETITEMS": lambda self, _: self.set_items(self.since_mark()),
    "GLOBAL": lambda self, argument: self.symbol(argument.replace(" ", ".")),
    "STACK_GLOBAL": lambda self, _: self.symbol(".".join(self.pop(2))),
    "REDUCE": Pickle.call,
    "BUILD": Pickle.set_attributes,
    "BINPERSID": Pickle.persistent,
    "MEMOIZE": Pickle.remember,
    "BINPUT": Pickle.remember,
    "LONG_BINPUT": Pickle.remember,
    "BINGET": lambda self, index: self.push(self.memo[index]),
    "LONG_BINGET": lambda self, index: self.push(self.memo[index]),
}
