"""Opens HDF5 files and reads their datasets, damaged ones too.

The library takes the memory that a file asks for, and fills what was never written.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The signature is at 0, or at a multiple of 512 that is a power of two.
_FIRST_PLACE = 512
_UNDEFINED = b"\xff" * 8
# Where the address of the driver's description is, by version of the format's first block; the
# later versions have a checksum instead.
_DRIVER = {b"\0": 48, b"\1": 52}
# deflate makes no more of a byte.
_MOST_INFLATED = 1032


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Opens a file for reading.

    Raises:
      OSError, ValueError: it is no such file, or is damaged. Those of h5py are of more types.
    """
    _check_driver(path)
    with h5py.File(path) as file:
        yield file


def read_dataset(dataset: h5py.Dataset) -> np.ndarray:
    """Returns the values of a dataset.

    Raises:
      ValueError: the file does not hold as many as the dataset's shape says.
    """
    _check_stored(dataset)
    return np.asarray(dataset[()])


def _check_driver(path: Path) -> None:
    """Refuses a description of a driver, for which the library takes as much memory as it says.

    Files that consist of one file have none.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        place = 0
        while place < size:
            file.seek(place)
            head = file.read(max(_DRIVER.values()) + len(_UNDEFINED))
            if head.startswith(_SIGNATURE):
                driver = _DRIVER.get(head[len(_SIGNATURE) :][:1])
                if driver and head[driver : driver + len(_UNDEFINED)] != _UNDEFINED:
                    raise ValueError("its first block is damaged, or it is one of several files")
                return
            place = max(2 * place, _FIRST_PLACE)


def _check_stored(dataset: h5py.Dataset) -> None:
    if dataset.shape is None or dataset.is_virtual or dataset.external:
        return
    size = os.stat(dataset.file.filename).st_size
    needed, itemsize = dataset.size * dataset.dtype.itemsize, dataset.dtype.itemsize
    if dataset.chunks is None:
        stored = min(dataset.id.get_storage_size(), size)
    else:
        blocks = math.prod(-(-n // m) for n, m in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
        if written < blocks:
            raise ValueError(f"{blocks - written} of its {blocks} blocks of values are missing")
        is_packed = dataset.id.get_create_plist().get_nfilters() > 0
        stored = size * (_MOST_INFLATED if is_packed else 1)
        needed = max(needed, math.prod(dataset.chunks) * itemsize)
    if stored < needed:
        raise ValueError(f"it has {stored} bytes of values instead of {needed}")
