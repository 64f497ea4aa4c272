"""Random access to TFRecord files: where the records are, and whether their bytes are intact.

A record is its length (8 bytes), a masked CRC-32C of those, the data, a masked CRC-32C of the data,
all little-endian (TensorFlow's `record_writer.h`).
"""

import contextlib
import os
import struct
from pathlib import Path

import google_crc32c
import numpy as np

from data.files import replacing

HEADER_BYTES = 12
FOOTER_BYTES = 4
INDEX_SUFFIX = ".index.npy"


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated right by 15 bits and shifted by a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A record that holds `data`, as it stands in a file."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        [
            length,
            struct.pack("<I", masked_crc(length)),
            data,
            struct.pack("<I", masked_crc(data)),
        ]
    )


def read_record(path: Path, start: int, stop: int) -> bytes | None:
    """The data of the record in bytes `start` to `stop` of a file, None if it is damaged.

    The file is opened anew: a corpus can have more shards than a process may have open files, and
    nothing has to be shared between threads or processes.
    """
    size = stop - start - HEADER_BYTES - FOOTER_BYTES
    file = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(file, size, start + HEADER_BYTES)
        footer = os.pread(file, FOOTER_BYTES, stop - FOOTER_BYTES)
    finally:
        os.close(file)
    return data if footer == struct.pack("<I", masked_crc(data)) else None


def offsets(path: Path) -> np.ndarray:
    """Where the records of a file begin and the last one ends: `[records + 1]` int64.

    Read from the index beside the file. If that is absent, older than the file or does not end
    where the file ends, the file's headers are read and the index is written again. Of a damaged
    file only the records before the damage are found, and no index is written.
    """
    index_path = path.with_name(path.name + INDEX_SUFFIX)
    size = path.stat().st_size
    found = _read_index(index_path, path)
    if found is None or found[-1] != size:
        found = scan(path)
        if found[-1] == size:
            _write_index(index_path, found)
    return found


def scan(path: Path) -> np.ndarray:
    """`offsets` by reading the header of every record, up to the first that is damaged or cut."""
    found = [0]
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        while found[-1] < size:
            header = os.pread(file, HEADER_BYTES, found[-1])
            if len(header) < HEADER_BYTES:
                break
            length, crc = struct.unpack("<QI", header)
            end = found[-1] + HEADER_BYTES + length + FOOTER_BYTES
            if crc != masked_crc(header[:8]) or end > size:
                break
            found.append(end)
    finally:
        os.close(file)
    return np.array(found, np.int64)


def _read_index(index_path: Path, path: Path) -> np.ndarray | None:
    try:
        if index_path.stat().st_mtime_ns < path.stat().st_mtime_ns:
            return None
        found = np.load(index_path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if found.dtype != np.int64 or found.ndim != 1 or not found.size or found[0] != 0:
        return None
    return found if (np.diff(found) >= HEADER_BYTES + FOOTER_BYTES).all() else None


def _write_index(index_path: Path, found: np.ndarray) -> None:
    # A read-only or full disk: the index only saves the next reader some time.
    with contextlib.suppress(OSError), replacing(index_path) as temporary:
        np.save(temporary, found)
