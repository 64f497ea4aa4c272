"""Reads the array of a video's features from a NumPy, HDF5 or PyTorch file.

Arrays are `[frames, width]`; headers are read without the values.
"""

import contextlib
import dataclasses
import math
import reprlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import h5py
import ml_dtypes
import numpy as np

from data.arrays import read_array, read_header
from data.errors import InputError, reason
from data.files import passed_over
from data.sources.hdf5_files import open_hdf5, read_dataset
from data.torch_files import archive
from data.torch_files.inert import ADVICE, Tensor
from data.zip_files import open_zip

HDF5 = (".h5", ".hdf5")
TORCH = (".pt", ".pth")
EXTENSIONS = (".npz", ".npy", *HDF5, *TORCH)
# Name of the array, dataset or tensor that is read if a file holds several.
_NAME = "features"
# Errors that NumPy, zipfile and h5py raise for truncated, damaged and other files.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file of PyTorch.

    tensor: its shape, and the place of its values.
    read: reads the bytes of its storage.
    """

    tensor: Tensor
    read: archive.ReadStorage

    def __post_init__(self) -> None:
        if math.prod(self.tensor.shape) > self.tensor.storage.size:
            raise InputError("holds a tensor that repeats its values: save a copy of it")


# An open dataset, a stream that starts with the header of a `.npy`, or a tensor.
Stored: TypeAlias = h5py.Dataset | IO[bytes] | StoredTensor


@contextlib.contextmanager
def stored_array(file: Path, key: str | None, name: str) -> Iterator[Stored]:
    """Yields a video's array, whose values are not read yet.

    Args:
      file: the file, of one of EXTENSIONS in any case.
      key: name of the video in an HDF5 file of all videos, None if the file is of one video.
      name: with which messages begin.

    Raises:
      InputError: the file cannot be read, or holds no array; also for errors of reading it within
        the context.
    """
    extension = file.suffix.lower()
    with readable(name), contextlib.ExitStack() as stack:
        if key is not None or extension in HDF5:
            content = stack.enter_context(open_hdf5(file))
            yield _find_dataset(content if key is None else content[key], name)
        elif extension == ".npz":
            members = stack.enter_context(open_zip(file))
            yield stack.enter_context(members.open(_find_array(members.namelist(), name)))
        elif extension in TORCH:
            with _named(name):
                content, read = stack.enter_context(archive.opened(file))
            tensor = _find_tensor(content, name)
            with _named(name):
                stored = StoredTensor(tensor, read)
            yield stored
        else:
            yield stack.enter_context(file.open("rb"))


def header(stored: Stored) -> tuple[tuple[int, ...], np.dtype]:
    """Returns shape and type of the array that `stored_array` yields."""
    if isinstance(stored, h5py.Dataset):
        return stored.shape or (), stored.dtype
    if isinstance(stored, StoredTensor):
        dtype = stored.tensor.storage.dtype
        return stored.tensor.shape, np.dtype(np.float32 if dtype == ml_dtypes.bfloat16 else dtype)
    return read_header(stored)


def values(stored: Stored, name: str) -> np.ndarray:
    """Returns the array that `stored_array` yields; bfloat16 becomes float32.

    Raises:
      InputError: a tensor is damaged; other errors become one in `stored_array`.
    """
    if isinstance(stored, h5py.Dataset):
        return read_dataset(stored)
    if isinstance(stored, StoredTensor):
        with _named(name):
            return archive.arrays({_NAME: stored.tensor}, stored.read)[_NAME]
    return read_array(stored)


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns any error of reading a file into an InputError that begins with `name`."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"{name} cannot be read ({reason(error)}): extract it again") from error


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Begins the message of an InputError with `name`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name} {error}") from error


def _find_dataset(content: h5py.Dataset | h5py.Group, name: str) -> h5py.Dataset:
    """Returns the dataset `features` of a group or its only one, or the dataset itself."""
    if isinstance(content, h5py.Dataset):
        return content
    datasets = [key for key in content if isinstance(content.get(key), h5py.Dataset)]
    return content[_choose(datasets, "dataset", name)]


def _find_array(members: list[str], name: str) -> str:
    """Returns the member `features` of an `.npz` archive, or its only one."""
    # Members without `.npy` count too: their names may be damaged.
    arrays = [
        member.removesuffix(".npy")
        for member in members
        if not any(map(passed_over, member.split("/")))
    ]
    return f"{_choose(arrays, 'array', name)}.npy"


def _find_tensor(content: Any, name: str) -> Tensor:
    """Returns the content of a file of PyTorch, or its tensor `features` or its only one."""
    if isinstance(content, Tensor):
        return content
    if type(content) is not dict:
        kind = type(content).__name__.lower()
        raise InputError(f"{name} holds a value of type {kind}, not a tensor: {ADVICE}")
    tensors = [key for key, value in content.items() if isinstance(value, Tensor)]
    return content[_choose(tensors, "tensor", name)]


def _choose(keys: list[str], kind: str, name: str) -> str:
    if _NAME in keys:
        return _NAME
    if len(keys) != 1:
        raise InputError(
            f"{name} has no {kind} {_NAME} but {reprlib.repr(keys)}: save it under that name"
        )
    return keys[0]
