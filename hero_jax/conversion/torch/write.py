"""State dicts written in PyTorch's zip format, without PyTorch; `read` reads them.

The formats: `torch/serialization.py`, `torch/_utils.py` and `caffe2/serialize/inline_container.cc`
of PyTorch; `pickletools` of Python for the instructions.
"""

import math
import os
import pathlib
import pickle
import struct
import zipfile
from typing import BinaryIO

import numpy as np

from data.errors import InputError
from data.files import replacing, writing_to
from hero_jax.conversion.torch.read import TORCH_SUFFIXES

_FOLDER = "archive"
# The version of the format since PyTorch 1.6.
_VERSION = b"3\n"
# Values start at a multiple of this in the file, so that they can be used where they are mapped.
_ALIGNMENT = 64
# Before a member's name in the file.
_HEADER_BYTES = 30
# PyTorch's number for an extra field that is only there for its length.
_PADDING_FIELD = 0x4246


def write_state_dict(path: str | os.PathLike, arrays: dict[str, np.ndarray]):
    """Writes a file that `torch.load`, with `weights_only` too, reads as a dict of tensors.

    The same arrays give the same bytes. Names with the same memory share a storage, as PyTorch has
    it for tied weights. What is at the path stays until the new file is complete.

    Args:
      path: ends in `.pt`, `.pth` or `.bin`.
      arrays: float32, by name; comes back in this order.

    Raises:
      InputError: the path is named otherwise or cannot be written to, or the disk is full.
      TypeError: an array is not float32.
    """
    path = pathlib.Path(path)
    if path.suffix not in TORCH_SUFFIXES:
        raise InputError(f"{path} does not end in one of {', '.join(TORCH_SUFFIXES)}; rename it.")
    with (
        writing_to(path, "make room or choose another place"),
        replacing(path) as temporary,
        temporary.open("xb") as file,
    ):
        _write(file, arrays)


def _write(file: BinaryIO, arrays: dict[str, np.ndarray]):
    keys, storages, instructions = {}, {}, []
    for name, value in arrays.items():
        array = np.asarray(value)
        if array.dtype != np.float32:
            raise TypeError(f"{name} is {array.dtype}, not float32")
        memory = array.__array_interface__["data"][0], array.shape, array.strides
        key = keys.setdefault(memory, str(len(keys)))
        storages[key] = array
        instructions += [_plain(name), _tensor(key, array.shape)]
    program = _program(instructions)
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", program)
        _add(archive, file, "byteorder", b"little")
        for key, array in storages.items():
            _add(archive, file, f"data/{key}", array.astype("<f4", copy=False).tobytes())
        _add(archive, file, "version", _VERSION)


def _add(archive, file, name, content):
    """Adds a member whose content is aligned, by an extra field before it."""
    # With the date that zip counts from: the bytes depend on the content alone.
    info = zipfile.ZipInfo(f"{_FOLDER}/{name}")
    field = struct.Struct("<HH")
    start = file.tell() + _HEADER_BYTES + len(info.filename) + field.size
    length = -start % _ALIGNMENT
    info.extra = field.pack(_PADDING_FIELD, length) + bytes(length)
    archive.writestr(info, content)


# What a pickle does. By hand: Python's pickler only refers to what can be imported.


def _program(items: list[bytes]) -> bytes:
    """A pickle of the dict with these names and values in turn."""
    start = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
    return start + b"".join(items) + pickle.SETITEMS + pickle.STOP


def _tensor(key: str, shape: tuple[int, ...]) -> bytes:
    """Rebuilds a tensor that fills its storage."""
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    kind = _named("torch", "FloatStorage")
    storage = _tuple(_plain("storage"), kind, _plain(key), _plain("cpu"), _plain(math.prod(shape)))
    no_hooks = _named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _plain(0),  # where in the storage it starts
        _plain(shape),
        _plain(strides),
        _plain(False),  # whether it requires a gradient
        no_hooks,
    )
    return _named("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _plain(value) -> bytes:
    """A number, a string or a tuple of them: a pickle of it without its first and last line."""
    return pickle.dumps(value, protocol=2)[len(pickle.PROTO) + 1 : -len(pickle.STOP)]
