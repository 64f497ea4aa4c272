"""Writes state dicts in PyTorch's zip format without PyTorch; `read` reads them back.

The format is defined by PyTorch's `torch/serialization.py`, `torch/_utils.py` and
`caffe2/serialize/inline_container.cc`, and by Python's `pickletools` (instructions).
"""

import math
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from data.arguments import user_path
from data.errors import InputError
from data.files import replacing, writing_to
from hero_jax.conversion.torch.read import TORCH_SUFFIXES

_FOLDER = "archive"
# The version of the format since PyTorch 1.6.
_VERSION = b"3\n"
# Arrays start at a multiple of this many bytes in the file, so that they can be memory-mapped.
_ALIGNMENT = 64
# Size of a zip member's header up to its name.
_HEADER_BYTES = 30
# PyTorch's number of an extra field that is padding.
_PADDING_FIELD = 0x4246


def write_state_dict(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a file that `torch.load` reads as a dict of tensors, also with `weights_only`.

    The same arrays give the same bytes. Arrays that are the same memory share a storage, as tied
    weights do in PyTorch. A file that is at the path stays until the new one is complete.

    Args:
      path: file name that ends in `.pt`, `.pth` or `.bin`.
      arrays: float32 arrays by name, in the order to write them in.

    Raises:
      InputError: the path has another ending or cannot be written to, or the disk is full.
      TypeError: an array is not float32.
    """
    path = user_path(path)
    if path.suffix not in TORCH_SUFFIXES:
        endings = ", ".join(TORCH_SUFFIXES)
        raise InputError(f"{path} does not end in one of {endings}: choose another name")
    with (
        writing_to(path, "make room or choose another place"),
        replacing(path) as temporary,
        temporary.open("xb") as file,
    ):
        _write(file, arrays)


def _write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    keys: dict[tuple, str] = {}
    storages, instructions = {}, []
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


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: bytes) -> None:
    """Adds a member, with an extra field in front that aligns its content."""
    # Its date is zip's first one, so that the bytes of the file depend on the arrays alone.
    info = zipfile.ZipInfo(f"{_FOLDER}/{name}")
    field = struct.Struct("<HH")
    start = file.tell() + _HEADER_BYTES + len(info.filename) + field.size
    length = -start % _ALIGNMENT
    info.extra = field.pack(_PADDING_FIELD, length) + bytes(length)
    archive.writestr(info, content)


# Pickle instructions. Python's pickler would need to import the names that they refer to.


def _program(items: list[bytes]) -> bytes:
    """Returns a pickle of a dict whose keys and values alternate in `items`."""
    start = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
    return start + b"".join(items) + pickle.SETITEMS + pickle.STOP


def _tensor(key: str, shape: tuple[int, ...]) -> bytes:
    """Returns instructions that rebuild a tensor that fills its storage."""
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    kind = _named("torch", "FloatStorage")
    storage = _tuple(_plain("storage"), kind, _plain(key), _plain("cpu"), _plain(math.prod(shape)))
    no_hooks = _named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _plain(0),  # offset in the storage
        _plain(shape),
        _plain(strides),
        _plain(False),  # requires_grad
        no_hooks,
    )
    return _named("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _plain(value: str | int | tuple[int, ...]) -> bytes:
    """Returns the pickle of a plain value without its first and last instruction."""
    return pickle.dumps(value, protocol=2)[len(pickle.PROTO) + 1 : -len(pickle.STOP)]
