"""Interprets a pickle of tensors without executing anything.

A pickle is a program that may call anything that can be imported. `Pickle` interprets the few
instructions that tensors and NumPy's arrays need and refuses the rest. Its stack never holds a
callable: a Python object that a pickle names is represented by its name, and the few known names
build the values of `data.torch_files.inert`. Instructions are defined by Python's `pickletools`.
"""

import contextlib
import mmap
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from data.errors import InputError
from data.torch_files.inert import (
    ADVICE,
    ARGUMENTS,
    CALLS,
    STORAGES,
    TORCHSCRIPT,
    Module,
    NumberType,
    Storage,
    Symbol,
    Tensor,
    dict_key,
)


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


class Pickle:
    """Interprets one pickle.

    The stack holds only None, booleans, numbers, strings, bytes, tuples, lists, dicts, and the
    classes of `data.torch_files.inert`.

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
            target[dict_key(key)] = value

    def symbol(self, name: str) -> None:
        known = name in CALLS or name in STORAGES or name in ARGUMENTS
        if not known and not name.startswith(TORCHSCRIPT):
            raise InputError(
                f"holds {name[:200]!r}, which no tensor needs; nothing in it was executed: {ADVICE}"
            )
        self.push(Symbol(name))

    def call(self, _: Any) -> None:
        symbol, arguments = self.pop(2)
        if type(symbol) is not Symbol or type(arguments) is not tuple:
            raise TypeError("a call of something other than a name")
        self.push(CALLS[symbol.name](*arguments))

    def new(self, _: Any) -> None:
        symbol, arguments = self.pop(2)
        if type(symbol) is not Symbol or not symbol.name.startswith(TORCHSCRIPT) or arguments != ():
            raise InputError(
                "holds more than tensors (its pickle has the instruction NEWOBJ); nothing in it "
                f"was executed: {ADVICE}"
            )
        self.push(Module())

    def set_attributes(self, _: Any) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if type(target) in (Module, NumberType, Tensor):
            target.build(state)
        else:
            # Modules give their OrderedDict an attribute `_metadata` with format versions.
            self.top(dict)

    def persistent(self, _: Any) -> None:
        # The last entry, a view of another storage, has been None since PyTorch 0.4.
        kind, symbol, key, _device, size, *view = self.stack.pop()
        if kind != "storage" or view not in ([], [None]):
            raise ValueError("a persistent object other than a storage")
        if type(symbol) is not Symbol:
            raise TypeError("a storage whose type is not a name")
        storage = Storage(key, STORAGES[symbol.name], size)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage with two types or sizes")
        self.push(storage)

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]


# Instructions that push their argument, push a new value, and all others that are known.
_PUSHES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
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
    "NEWOBJ": Pickle.new,
    "BUILD": Pickle.set_attributes,
    "BINPERSID": Pickle.persistent,
    "MEMOIZE": Pickle.remember,
    "BINPUT": Pickle.remember,
    "LONG_BINPUT": Pickle.remember,
    "BINGET": lambda self, index: self.push(self.memo[index]),
    "LONG_BINGET": lambda self, index: self.push(self.memo[index]),
}
