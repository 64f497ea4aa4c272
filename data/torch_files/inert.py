"""Inert values for what a pickle of tensors or arrays names, and the few calls that build them.

The formats are defined by PyTorch's `torch/serialization.py`, `torch/_utils.py` and
`torch/jit/_pickle.py` (storages, tensors, values of TorchScript) and by NumPy's
`numpy/_core/multiarray.py` and `numpy/_core/src/multiarray/descriptor.c` (arrays).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from data.errors import InputError

ADVICE = "save tensors alone with torch.save, as those of model.state_dict(), and use that file"

STORAGES = {
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
# Names of the classes of a TorchScript file begin with this.
TORCHSCRIPT = "__torch__."
# NumPy's names of the types whose arrays are read.
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
# Axes of an array that NumPy takes.
_MOST_AXES = 64


@dataclasses.dataclass(frozen=True)
class Symbol:
    """The name of a Python object that a pickle refers to."""

    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """A sequence of `size` values that tensors are views of.

    raw: the values if they lie in the pickle itself, as those of NumPy's arrays do; Python 2 wrote
      bytes as strings of one character each.
    """

    key: str
    dtype: np.dtype
    size: int
    raw: bytes | bytearray | str | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if type(self.key) is not str or type(self.size) is not int or self.size < 0:
            raise ValueError("invalid key or size of a storage")
        if self.raw is not None and len(self.raw) != self.nbytes:
            raise EOFError("an array whose values differ in length from its shape's")

    @property
    def nbytes(self) -> int:
        """Number of bytes in the file."""
        return self.size * self.dtype.itemsize


@dataclasses.dataclass
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

    def build(self, state: Any) -> None:
        """Gives an array of NumPy, which was made empty, its shape and values."""
        if self.storage.raw is None:
            raise TypeError("attributes of a tensor")
        _version, shape, dtype, is_fortran, raw = state
        built = _array(raw, dtype, shape, "F" if is_fortran else "C")
        self.storage, self.shape, self.strides = built.storage, built.shape, built.strides


@dataclasses.dataclass
class NumberType:
    """A NumPy type of numbers; the byte order comes after the name."""

    code: str
    order: str = "<"

    def __post_init__(self) -> None:
        if type(self.code) is not str or self.code not in _NUMBERS:
            raise InputError(
                f"holds an array of NumPy's type {str(self.code)[:50]!r}, which is not of numbers; "
                "nothing in it was executed: save arrays of numbers alone"
            )

    def build(self, state: Any) -> None:
        """Takes the byte order from the rest of the type's description."""
        _version, order, *details = state[:5]
        if order not in ("<", ">", "|") or details != [None, None, None]:
            raise ValueError("an unknown byte order, or a type of several fields")
        self.order = order

    @property
    def numpy(self) -> np.dtype:
        """Returns NumPy's own object for the type."""
        return np.dtype(self.order + self.code)


@dataclasses.dataclass
class Module:
    """An object of a TorchScript file: the values of its attributes by name."""

    attributes: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Takes the attributes, uncopied: a pickle may name one dict many times."""
        if type(state) is not dict or self.attributes:
            raise TypeError("an object whose attributes are no dict, or are set twice")
        self.attributes = state


def _ordered_dict(items: Any = None) -> dict:
    if items is None:
        return {}
    # Python 2 makes a list for this call. If it could be copied again and again, memory would not
    # be bounded by the pickle.
    if type(items) is not list:
        raise TypeError("a dict of something other than a list")
    made = {dict_key(key): value for key, value in items}
    items.clear()
    return made


def dict_key(key: Any) -> Any:
    """Returns the key of a dict.

    Raises:
      InputError: it is no string or number. Tuples too: hashing a deeply nested one would overflow
        the C stack.
    """
    if type(key) not in (str, int, float, bool):
        raise InputError(f"holds a dict with a {type(key).__name__} as key: {ADVICE}")
    return key


def _size(lengths: Any) -> tuple:
    # All lengths are looked at, and a pickle may name a long tuple many times.
    if type(lengths) not in (list, tuple) or len(lengths) > _MOST_AXES:
        raise TypeError(f"a shape that is no tuple of at most {_MOST_AXES} lengths")
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
    return Tensor(storage, offset, _size(shape), _size(strides))


def _parameter(tensor: Tensor, requires_grad: Any = True, backward_hooks: Any = None) -> Tensor:
    return tensor


def _value(value: Any, kind: Any = None) -> Any:
    """Returns a value of TorchScript without its type."""
    return value


def _array(raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Tensor:
    """Returns an array of NumPy, whose values lie in the pickle.

    Args:
      order: "C" if the last axis' values lie side by side, "F" if the first axis', "K" if the array
        is one of order "C" and this shape whose axes were then put into the order of `axes`.
    """
    if type(dtype) is not NumberType or order not in ("C", "F", "K"):
        raise TypeError("an array without a type or an order")
    if type(raw) not in (bytes, bytearray, str):
        raise TypeError("an array without values")
    if any(type(n) is not int or n < 0 for n in _size(shape)):
        raise ValueError("invalid shape of an array")
    strides = tuple(
        math.prod(shape[:i]) if order == "F" else math.prod(shape[i + 1 :])
        for i in range(len(shape))
    )
    if order == "K":
        if len(axes) != len(shape) or sorted(axes) != list(range(len(shape))):
            raise ValueError("an array whose axes are in no order")
        shape, strides = tuple(shape[i] for i in axes), tuple(strides[i] for i in axes)
    return Tensor(Storage("", dtype.numpy, math.prod(shape), raw), 0, shape, strides)


def _empty_array(kind: Any, shape: Any, code: Any) -> Tensor:
    return _array(b"", NumberType("i1"), (0,), "C")


def _number_type(code: Any, align: Any = False, copy: Any = True) -> NumberType:
    return NumberType(code)


def _scalar(dtype: Any, raw: Any = "") -> Any:
    array = _array(raw, dtype, (), "C")
    return np.frombuffer(raw_bytes(array.storage.raw), array.storage.dtype)[0].item()


def _encoded(text: Any, encoding: Any) -> str:
    """Returns the string itself: bytes and strings of one byte a character are the same here."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in another encoding")
    return text


def _bytes() -> bytes:
    return b""


def raw_bytes(raw: bytes | bytearray | str | None) -> bytes | bytearray:
    """Returns the values of an array in a pickle as bytes.

    Raises:
      UnicodeEncodeError: a character is none of Python 2's.
    """
    return raw.encode("latin-1") if isinstance(raw, str) else raw or b""


# The functions that a pickle of tensors calls, and their inert stand-ins.
CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    **{
        f"torch.jit._pickle.{name}": _value
        for name in (
            *("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist"),
            "restore_type_tag",
        )
    },
    "numpy.dtype": _number_type,
    # NumPy 2 renamed its modules.
    **{
        f"numpy.{core}.{name}": call
        for core in ("core", "_core")
        for name, call in (
            ("multiarray._reconstruct", _empty_array),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _array),
        )
    },
    "_codecs.encode": _encoded,
    "__builtin__.bytes": _bytes,
}
# Names that are only arguments of these calls.
ARGUMENTS = frozenset(("numpy.ndarray",))
