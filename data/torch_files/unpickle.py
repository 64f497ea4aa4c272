"""Interprets a pickle of tensors without executing anything.

A pickle is a program that may call anything that can be imported. `Pickle` interprets the few
instructions that tensors need and refuses the rest. Its stack never holds a callable: a
Python object that a pickle names is represented by its name, and the few known names build our own
inert values.

The formats are defined by Python's `pickletools` (instructions) and by PyTorch's
`torch/serialization.py` and `torch/_utils.py` (storages and tensors).
"""

import contextlib
import dataclasses
import mmap
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import ml_dtypes
import numpy as np

from data.errors import InputError

ADVICE = "save tensors alone with torch.save, as those of model.state_dict(), and use that file"

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
def damage_named(part: str) -> Iterator[None]:
    """Raises the errors of parsing damaged content as an InputError that names the part."""
    try:
        yield
    except InputError:
        raise
    except (
        *(ValueError, TypeError, LookupError, OverflowError, EOFError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
        MemoryError,
    ) as error:
        raise InputError(
            f"is cut short or damaged ({part} cannot be read): copy or download it again"
        ) from error


@dataclasses.dataclass(frozen=True)
class _Symbol:
    """The name of a Python object that a pickle refers to."""

    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """A sequence of `size` values in the file that tensors are views of."""

    key: str
    dtype: np.dtype
    size: int

    def __post_init__(self) -> None:
        if type(self.key) is not str or type(self.size) is not int or self.size < 0:
            raise ValueError("invalid key or size of a storage")

    @property
    def nbytes(self) -> int:
        """Number of bytes in the file."""
        return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides are counted in values, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if type(self.storage) is not Storage:
            raise TypeError("a tensor without a storage")
        # NumPy checks the bounds, but accepts negative strides, which PyTorch never has.
        if any(type(n) is not int or n < 0 for n in (self.offset, *self.shape, *self.strides)):
            raise ValueError("invalid offset, shape or strides of a tensor")


def _ordered_dict() -> dict:
    return {}


def _size(lengths: tuple) -> tuple:
    return tuple(lengths)


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if metadata:
        raise InputError(f"holds a tensor with a conjugate or sign yet to be applied: {ADVICE}")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Tensor, requires_grad: Any = True, backward_hooks: Any = None) -> Tensor:
    return tensor


# The functions that a pickle of tensors calls, and their inert stand-ins.
_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


class Pickle:
    """Interprets one pickle.

    The stack holds only None, booleans, numbers, strings, bytes, tuples, lists, dicts, `_Symbol`,
    `Storage` and `Tensor`.

    Attributes:
      storages: the storages that the pickle has named so far, by key.
    """

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self.stack: list[Any] = []
        self.below_mark: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self, stream: IO[bytes] | mmap.mmap) -> Any:
        """Returns the content of the pickle at the stream's position; stops at the pickle's end.

        Raises:
          InputError: the pickle is damaged, or needs more than tensors do.
        """
        with damage_named("its content"):
            # The type stubs leave out that a memory map is a file too.
            for instruction, argument, _ in pickletools.genops(cast(IO[bytes], stream)):
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
                        f"holds more than tensors (its pickle has the instruction {name}); "
                        f"nothing in it was executed: {ADVICE}"
                    )

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.below_mark.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below_mark.pop()
        return items

    def pop(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"a {kind.__name__} was expected")
        return self.stack[-1]

    def append(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples are refused too: hashing a deeply nested one would overflow the C stack.
            if type(key) not in (str, int, float, bool):
                raise InputError(f"holds a dict with a {type(key).__name__} as key: {ADVICE}")
            target[key] = value

    def symbol(self, name: str) -> None:
        if name not in _CALLS and name not in _STORAGES:
            raise InputError(
                f"holds {name[:200]!r}, which no tensor needs; nothing in it was executed: {ADVICE}"
            )
        self.push(_Symbol(name))

    def call(self, _: Any) -> None:
        symbol, arguments = self.pop(2)
        if type(symbol) is not _Symbol or type(arguments) is not tuple:
            raise TypeError("a call of something other than a name")
        self.push(_CALLS[symbol.name](*arguments))

    def set_attributes(self, _: Any) -> None:
        # Modules give their OrderedDict an attribute `_metadata` with format versions.
        self.pop(1)
        self.top(dict)

    def persistent(self, _: Any) -> None:
        # The last entry, a view of another storage, has been None since PyTorch 0.4.
        kind, symbol, key, _device, size, *view = self.stack.pop()
        if kind != "storage" or view not in ([], [None]):
            raise ValueError("a persistent object other than a storage")
        if type(symbol) is not _Symbol:
            raise TypeError("a storage whose type is not a name")
        storage = Storage(key, _STORAGES[symbol.name], size)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage with two types or sizes")
        self.push(storage)

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]


# Instructions that push their argument, push a new value, and all others that are known.
_PUSHES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CREATES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_EXECUTES: dict[str, Callable[[Pickle, Any], None]] = {
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
