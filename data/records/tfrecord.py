"""Random access to TFRecord files, with checksums.

A record is its length (8 bytes), a masked CRC-32C of the length, the data, and a masked CRC-32C of
the data, all little-endian (TensorFlow's `record_writer.h`).
"""

import contextlib
import os
import struct
from pathlib import Path

import google_crc32c
import numpy as np

from data.arrays import read_array
from data.files import replacing

HEADER_BYTES = 12
FOOTER_BYTES = 4
INDEX_SUFFIX = ".index.npy"


def masked_crc(data: bytes) -> int:
    """Returns the CRC-32C rotated right by 15 bits plus a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def shard_name(dataset: str, split: str, index: int, num_shards: int) -> str:
    """Returns the name of a split's shard `index` of `num_shards`, as TFDS has them."""
    return f"{dataset}-{split}.tfrecord-{index:05d}-of-{num_shards:05d}"


def record(data: bytes) -> bytes:
    """Returns the bytes of a record that holds `data`."""
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
    """Reads the data of the record in bytes `start` to `stop` of a file; None if it is damaged.

    Each call opens the file: a corpus can have more shards than a process may have open files, and
    threads and processes share nothing.
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
    """Returns the start of each record of a file and the end of the last: `[records + 1]` int64.

    They come from the index beside the file. If the index is absent, older than the file or does
    not end where the file ends, the headers in the file are read and the index is written again.
    In a damaged file only the records before the damage are found, and no index is written.
    """
    index_path = path.with_name(path.name + INDEX_SUFFIX)
    size = path.stat().st_size
    positions = _read_index(index_path, path)
    if positions is None or positions[-1] != size:
        positions = scan(path)
        if positions[-1] == size:
            _write_index(index_path, positions)
    return positions


def scan(path: Path) -> np.ndarray:
    """Reads the header of every record up to the first damaged one; returns `offsets`."""
    positions = [0]
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        while positions[-1] < size:
            header = os.pread(file, HEADER_BYTES, positions[-1])
            if len(header) < HEADER_BYTES:
                break
            length, crc = struct.unpack("<QI", header)
            end = positions[-1] + HEADER_BYTES + length + FOOTER_BYTES
            if crc != masked_crc(header[:8]) or end > size:
                break
            positions.append(end)
    finally:
        os.close(file)
    return np.array(positions, np.int64)


def _read_index(index_path: Path, path: Path) -> np.ndarray | None:
    try:
        if index_path.stat().st_mtime_ns < path.stat().st_mtime_ns:
            return None
        with index_path.open("rb") as file:
            positions = read_array(file)
    except (OSError, ValueError):
        return None
    if (
        positions.dtype != np.int64
        or positions.ndim != 1
        or not positions.size
        or positions[0] != 0
    ):
        return None
    return positions if (np.diff(positions) >= HEADER_BYTES + FOOTER_BYTES).all() else None


def _write_index(index_path: Path, positions: np.ndarray) -> None:
    # The disk may be full or read-only; the index only saves the next reader some time.
    with contextlib.suppress(OSError), replacing(index_path) as temporary:
        np.save(temporary, positions)
