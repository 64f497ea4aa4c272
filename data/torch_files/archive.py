"""Reads PyTorch's two file formats, and pickles of NumPy's arrays, without executing anything.

A file consists of a pickle of its content, in which each tensor names the storage that it is a view
of, and of the raw values of the storages. These are members of a zip archive (since PyTorch 1.6),
or follow the pickle one after another (before). The values of NumPy's arrays lie in the pickle
itself. The pickle is interpreted by `data.torch_files.unpickle`, never executed.
"""

import contextlib
import io
import mmap
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from data.errors import InputError
from data.torch_files.inert import ADVICE, Storage, Tensor, raw_bytes
from data.torch_files.unpickle import Pickle, damage_named
from data.zip_files import open_zip

# The first two values of a file in the format before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

# Reads the bytes of a storage.
ReadStorage = Callable[[Storage], bytes | bytearray]


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[tuple[Any, ReadStorage]]:
    """Yields the content of a file, with tensors in place, and the reader of their storages.

    Raises:
      InputError: the file is cut short, damaged, of another kind, or holds more than tensors. The
        message lacks the file's name, with which it has to begin.
    """
    with path.open("rb") as file:
        start = file.read(512)
        if not start:
            raise InputError("is empty: copy or download it again")
        if start.startswith(b"PK\x03\x04"):
            content, read = _open_zip(file)
        elif start.startswith(b"\x80"):
            content, read = _open_pickles(file)
        elif start[257:262] == b"ustar":
            raise InputError(f"is in PyTorch's first format (tar), which cannot be read: {ADVICE}")
        else:
            raise InputError(
                f"is no PyTorch file (it starts with {start[:16]!r}): use the file that "
                "torch.save wrote"
            )
        yield content, lambda storage: _values(storage, read)


def _values(storage: Storage, read: ReadStorage) -> bytes | bytearray:
    return read(storage) if storage.raw is None else raw_bytes(storage.raw)


def arrays(tensors: Mapping[str, Tensor], read: ReadStorage) -> dict[str, np.ndarray]:
    """Returns the tensors as views of their storages, each of which is read once.

    bfloat16 becomes float32; the other byte order becomes the machine's.

    Raises:
      InputError: a tensor does not lie in its storage, or the storage is damaged; see `opened`.
    """
    values: dict[tuple[str, int, np.dtype], np.ndarray] = {}
    views = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        with damage_named(f"tensor {name[:200]!r}"):
            key = storage.key, id(storage.raw), storage.dtype
            if key not in values:
                raw = read(storage)
                if len(raw) != storage.nbytes:
                    raise EOFError("a storage whose length differs from its pickle's")
                values[key] = widened(np.frombuffer(raw, storage.dtype))
            buffer = values[key]
            views[name] = np.ndarray(
                tensor.shape,
                buffer.dtype,
                buffer,
                tensor.offset * buffer.itemsize,
                [stride * buffer.itemsize for stride in tensor.strides],
            )
    return views


def widened(array: np.ndarray) -> np.ndarray:
    """Converts bfloat16, which NumPy itself lacks, to float32, and bytes to the machine's order."""
    if array.dtype == ml_dtypes.bfloat16:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _open_zip(file: BinaryIO) -> tuple[Any, ReadStorage]:
    """Opens a file in PyTorch's zip format; returns its pickle's content and a storage reader."""
    with damage_named("the zip archive"):
        archive = open_zip(file)
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(
            "is a zip archive, but no PyTorch file (it has no data.pkl in its one folder): use the "
            "file that torch.save wrote"
        )
    root = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        with damage_named(f"its member {name[:200]!r}"):
            info = members[root + name]
            if info.compress_type != zipfile.ZIP_STORED:
                raise InputError(f"was packed again with compression: {ADVICE}")
            return archive.read(info)

    if root + "byteorder" in members and member("byteorder") != b"little":
        raise InputError(f"was written by a big-endian machine: {ADVICE}")
    content = Pickle().load(io.BytesIO(member("data.pkl")))
    return content, lambda storage: member(f"data/{storage.key}")


def _open_pickles(file: BinaryIO) -> tuple[Any, ReadStorage]:
    """Opens a file that starts with a pickle; returns the same as `_open_zip`.

    A file of PyTorch before 1.6 consists of five pickles (magic number, protocol, machine, content,
    storage keys) and, for each key, the number of values as an int64 and the values. Any other is
    one pickle of NumPy's arrays.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        pickle = Pickle()
        content = pickle.load(stream)
        if content != _LEGACY_MAGIC:
            if type(content) is not dict or pickle.storages:
                raise InputError(
                    "is a pickle, but no PyTorch file: use the file that torch.save wrote"
                )
            return content, _no_storage
        if Pickle().load(stream) != _LEGACY_PROTOCOL:
            raise InputError(f"has an unknown version of PyTorch's format: {ADVICE}")
        with damage_named("its description of the machine"):
            if Pickle().load(stream)["little_endian"] is not True:
                raise InputError(f"was written by a big-endian machine: {ADVICE}")
        pickle = Pickle()
        content = pickle.load(stream)
        positions = {}
        with damage_named("its list of storages"):
            for key in Pickle().load(stream):
                if type(key) is not str:
                    raise TypeError("a storage whose key is not a string")
                storage = pickle.storages[key]
                if int.from_bytes(stream.read(8), "little") != storage.size:
                    raise ValueError("a storage whose size differs from its tensors'")
                positions[key] = stream.tell()
                stream.seek(storage.nbytes, os.SEEK_CUR)
            if positions.keys() != pickle.storages.keys():
                raise ValueError("a storage that is missing")

    def read(storage: Storage) -> bytes | bytearray:
        file.seek(positions[storage.key])
        return file.read(storage.nbytes)

    return content, read


def _no_storage(storage: Storage) -> bytes | bytearray:
    raise LookupError(f"storage {storage.key}, which a pickle of arrays does not have")
