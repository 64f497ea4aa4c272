"""The table of an index in the store `lance`: its columns, its creation, and how it is opened.

The table is the folder `clips.lance` of the index, in the format of Lance, which other programs
read as well. A row is a clip:

  clip_id, video_id, num_frames
  text         as `hero_jax.index.segment.Record` has it
  words        of the subtitles, see `hero_jax.index.words`, with spaces between them
  norms        the length of each frame's vector
  frames       `[frames, width]`
  text_crc32   of id and text
  frames_crc32 of norms and frames

The settings of the index are in the schema's metadata. Lance flushes nothing to the disk and has no
checksums of what it stores: here new files are flushed before a version of the table names them,
the version after that, and each row is compared with its checksums when it is read.
"""

import contextlib
import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lance
import numpy as np
import pyarrow as pa

from data.errors import InputError, reason
from hero_jax.index.creation import vacant
from hero_jax.index.manifest import (
    NEW_TABLE,
    TABLE,
    Manifest,
    damaged,
    sync_folder,
    writing_to,
)
from hero_jax.index.segment import Record, norms_of
from hero_jax.index.words import words_of

VERSION = 1
# Pages, files and indexes of the table are in this version of Lance's format.
_STORAGE: Literal["2.1"] = "2.1"
_SETTINGS = b"hero_index"
_SETTING_NAMES = ("width", "dtype", "max_frames", "seconds_per_feature", "model")
_READERS = "readers"
# What Lance raises, besides errors of the system, for files that it cannot read.
_ERRORS = (OSError, ValueError, RuntimeError, LookupError, TypeError, NotImplementedError)
_VALUES = {"float16": pa.float16(), "float32": pa.float32()}


def schema(settings: Manifest) -> pa.Schema:
    """Returns the table's columns, and its settings as their metadata."""
    vector = pa.list_(_VALUES[settings.dtype], settings.width)
    columns = {
        **{"clip_id": pa.string(), "video_id": pa.string(), "num_frames": pa.int32()},
        **{"text": pa.string(), "words": pa.string(), "norms": pa.list_(pa.float32())},
        **{"frames": pa.list_(vector), "text_crc32": pa.int64(), "frames_crc32": pa.int64()},
    }
    fields = {name: getattr(settings, name) for name in _SETTING_NAMES} | {"version": VERSION}
    metadata = {_SETTINGS: json.dumps(fields)}
    return pa.schema([pa.field(*column) for column in columns.items()], metadata)


def batch(records: Sequence[Record], settings: Manifest) -> pa.RecordBatch:
    """Returns clips as rows of the table."""
    texts = [json.loads(record.text) for record in records]
    norms = [norms_of(record.frames) for record in records]
    lengths = [len(record.frames) for record in records]
    ends = pa.array(np.cumsum([0, *lengths]), pa.int32())
    joined = np.concatenate([record.frames for record in records])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(joined.reshape(-1)), settings.width)
    columns = {
        "clip_id": [record.clip_id.decode() for record in records],
        "video_id": [video_id for video_id, _, _ in texts],
        "num_frames": pa.array(lengths, pa.int32()),
        "text": [record.text.decode() for record in records],
        "words": [
            " ".join(word for *_, line in lines for word in words_of(line)) for *_, lines in texts
        ],
        "norms": pa.ListArray.from_arrays(ends, pa.array(np.concatenate(norms))),
        "frames": pa.ListArray.from_arrays(ends, vectors),
        "text_crc32": [text_checksum(record.clip_id, record.text) for record in records],
        "frames_crc32": [
            frames_checksum(norm, record.frames)
            for norm, record in zip(norms, records, strict=True)
        ],
    }
    return pa.RecordBatch.from_pydict(columns, schema(settings))


def text_checksum(clip_id: bytes, text: bytes) -> int:
    """Returns the checksum of a clip's id and text."""
    return zlib.crc32(text, zlib.crc32(clip_id))


def frames_checksum(norms: np.ndarray, frames: np.ndarray) -> int:
    """Returns the checksum of a clip's norms `[F]` and frames `[F, width]`."""
    return zlib.crc32(np.ascontiguousarray(frames).data.cast("B"), zlib.crc32(norms.tobytes()))


def create(path: Path, settings: Manifest) -> None:
    """Makes a table without clips; see `hero_jax.index.create`."""
    if settings.dtype not in _VALUES:
        raise InputError(
            f"the store lance has no {settings.dtype}: choose one of {', '.join(_VALUES)}"
        )
    with vacant(path), writing_to(path):
        shutil.rmtree(path / NEW_TABLE, ignore_errors=True)
        empty = schema(settings).empty_table()
        lance.write_dataset(empty, str(path / NEW_TABLE), data_storage_version=_STORAGE)
        (path / _READERS).touch()
        sync_files(path / NEW_TABLE, known=set())
        (path / NEW_TABLE).replace(path / TABLE)
        sync_folder(path)


def open_table(path: Path) -> tuple[Any, Manifest]:
    """Opens the newest version of an index's table.

    A newest version whose file is empty, as a loss of power may leave it, is set aside.

    Raises:
      InputError: it is damaged, or of another version.
    """
    _set_aside_empty(path)
    with reading(path):
        table = lance.dataset(str(path / TABLE))
        fields = json.loads(table.schema.metadata[_SETTINGS])
        if (version := fields.pop("version")) != VERSION:
            raise InputError(
                f"{path} is a table in version {version!r} of the format, and this program reads "
                f"version {VERSION}: build it again"
            )
        settings = Manifest(**fields)
        if not table.schema.equals(schema(settings)):
            raise ValueError("its columns are others")
    return table, settings


def _set_aside_empty(path: Path) -> None:
    versions = path / TABLE / "_versions"
    with writing_to(path):
        # The number of a version falls as versions are made, so that the newest is the first.
        newest = min(versions.glob("*.manifest"), default=None, key=lambda file: file.name)
        if newest is not None and not newest.stat().st_size:
            newest.replace(newest.with_suffix(".empty"))


def files_of(folder: Path) -> set[Path]:
    """Returns all files of a table."""
    return {Path(root, name) for root, _, names in os.walk(folder) for name in names}


def sync_files(folder: Path, known: set[Path]) -> None:
    """Brings the files of a table to the disk that are not known, and the names in its folders."""
    for file in files_of(folder) - known:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    for root, _, _ in os.walk(folder):
        sync_folder(Path(root))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns errors of reading the table into an InputError about the index in a folder."""
    try:
        yield
    except InputError:
        raise
    except _ERRORS as error:
        raise InputError(damaged(path / TABLE, f"it cannot be read: {reason(error)}")) from error
    except BaseException as error:
        # A damaged page may end the code that reads it in a way of its own.
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(damaged(path / TABLE, "it cannot be read")) from error


def hold(path: Path) -> int:
    """Takes a share of the readers' lock; closing the descriptor that it returns releases it."""
    with reading(path):
        descriptor = os.open(path / _READERS, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


@contextlib.contextmanager
def without_readers(path: Path) -> Iterator[bool]:
    """Tries to hold the readers' lock alone; yields whether nobody reads."""
    with reading(path):
        descriptor = os.open(path / _READERS, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
