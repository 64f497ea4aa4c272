"""Reads the arrays of `.npy` files and of `.npz` members, damaged ones too."""

import io
import math
import os
import tokenize
import zipfile
from typing import IO

import numpy as np

MAGIC = np.lib.format.MAGIC_PREFIX
# Errors that NumPy raises for headers that are damaged.
_DAMAGED = (
    *(tokenize.TokenError, SyntaxError, TypeError, LookupError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
# Bytes before the header's text at most; NumPy refuses texts of more than 10,000 bytes.
_BEGINNING = 12
_LONGEST_HEADER = _BEGINNING + 10_000


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Returns shape and type of the array whose values follow in a stream.

    Raises:
      ValueError: there is no header, or it is damaged.
    """
    # Reading as many bytes as a header says would take as much memory, even if there are none.
    content = stream.read(_BEGINNING)
    end = 10 if content[6:8] == b"\1\0" else _BEGINNING
    length = end + int.from_bytes(content[8:end], "little")
    content += stream.read(max(0, min(length, _LONGEST_HEADER) - _BEGINNING))
    head = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(head)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(head)
        else:
            # Version 3 is for arrays with named fields, which are refused in either version.
            shape, _, dtype = np.lib.format.read_array_header_2_0(head)
    except _DAMAGED as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if any(size < 0 for size in shape):
        raise ValueError(f"its header is damaged: its shape is {shape}")
    return shape, dtype


def read_array(stream: IO[bytes]) -> np.ndarray:
    """Reads an array without Python objects from the start of a file or of a member of an archive.

    Raises:
      ValueError: the array is damaged or cut short, or holds objects.
    """
    if isinstance(stream, zipfile.ZipExtFile):
        stream = io.BytesIO(stream.read())
    begin = stream.tell()
    shape, dtype = read_header(stream)
    # NumPy takes the memory that a header asks for before it reads.
    length = -stream.tell() + stream.seek(0, os.SEEK_END)
    needed = math.prod(shape) * dtype.itemsize
    if needed > length and not dtype.hasobject:
        raise ValueError(f"it has {length} bytes of values instead of {needed}")
    stream.seek(begin)
    return np.lib.format.read_array(stream, allow_pickle=False)
