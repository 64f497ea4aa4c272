"""Segments of an index: files that hold some of its clips, written once and then mapped.

The files are described in `hero_jax.index.manifest`.
"""

import contextlib
import dataclasses
import functools
import itertools
import mmap
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import ml_dtypes  # noqa: F401 - registers bfloat16 with NumPy
import numpy as np

from data.errors import InputError, reason
from hero_jax.index.manifest import (
    Manifest,
    StoredSegment,
    damaged,
    read_manifest,
    sync,
    unreadable,
    writing_to,
)
from hero_jax.index.words import SegmentWords, WordCollector

# Of a clip: the ends of its id and of its text, which begin at the ends of the clip before it; the
# number of its frames.
ROW = np.dtype([("id_end", "<i8"), ("text_end", "<i8"), ("num_frames", "<i4")])
NORM = np.dtype("<f4")
# Extensions of the files that are written with a segment.
_PARTS = ("frames", "norms", "clips", "words")


class Record(NamedTuple):
    """A clip as it is stored: id, other text, and frames `[F, width]` in the index's dtype."""

    clip_id: bytes
    text: bytes
    frames: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class IndexSegment:
    """A segment; its files are mapped and not read, except for `deleted`.

    stored: its part of the manifest; its `deleted` is None while a deletion is not written yet.
    frames: `[clips, max_frames, width]`.
    norms: `[clips, max_frames]` float32.
    texts, ids: `[bytes]` uint8.
    rows: `[clips]` of `ROW`.
    deleted: `[clips]` bool.
    word_file: `[bytes]` uint8, none in a segment of an earlier version.
    """

    stored: StoredSegment
    frames: np.ndarray
    norms: np.ndarray
    texts: np.ndarray
    ids: np.ndarray
    rows: np.ndarray
    deleted: np.ndarray
    word_file: np.ndarray

    def __len__(self) -> int:
        """Returns the number of clips that are not deleted."""
        return len(self.deleted) - int(self.deleted.sum())

    @functools.cached_property
    def words(self) -> SegmentWords:
        """The words of its clips, deleted ones included; see `undamaged`."""
        clips = len(self.deleted)
        if self.stored.word_bytes:
            return SegmentWords.from_bytes(self.word_file, clips)
        collector = WordCollector()
        for row in range(clips):
            collector.add(self.record(row).text)
        return collector.finished()

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Yields row and id of each clip that is not deleted; see `undamaged`."""
        ids, ends = self.ids.tobytes(), self.rows["id_end"].tolist()
        if ends != sorted(ends) or (ends and (ends[0] < 0 or ends[-1] != len(ids))):
            raise ValueError("its ids do not follow one another")
        places = enumerate(itertools.pairwise([0, *ends]))
        for row, (begin, end) in itertools.compress(places, (~self.deleted).tolist()):
            yield row, ids[begin:end].decode()

    def record(self, row: int) -> Record:
        """Returns the clip in a row, deleted or not."""
        id_begin, text_begin, _ = self.rows[row - 1].item() if row else (0, 0, 0)
        id_end, text_end, num_frames = self.rows[row].item()
        return Record(
            self.ids[id_begin:id_end].tobytes(),
            self.texts[text_begin:text_end].tobytes(),
            self.frames[row, :num_frames],
        )

    def records(self) -> Iterator[Record]:
        """Yields all clips that are not deleted."""
        return map(self.record, np.flatnonzero(~self.deleted).tolist())

    def without(self, rows: list[int]) -> "IndexSegment":
        """Returns the segment with more of its clips deleted."""
        deleted = self.deleted.copy()
        deleted[rows] = True
        stored = dataclasses.replace(self.stored, deleted=None)
        return dataclasses.replace(self, stored=stored, deleted=deleted)


@contextlib.contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turns errors of decoding clips into an InputError about the index in a folder."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(damaged(path, f"its clips cannot be read: {reason(error)}")) from error


def open_segments(path: Path) -> tuple[Manifest, list[IndexSegment]]:
    """Opens the manifest and its segments, all of the same state of the index.

    Raises:
      InputError: there is no index, or one of its files is damaged or missing.
    """
    manifest = read_manifest(path)
    while True:
        try:
            return manifest, [open_segment(path, s, manifest) for s in manifest.segments]
        except FileNotFoundError as error:
            # A writer may have removed it since the manifest was read; then there is a newer one.
            newer = read_manifest(path)
            if newer == manifest:
                raise InputError(damaged(Path(error.filename), "it is missing")) from error
            manifest = newer


def open_segment(path: Path, stored: StoredSegment, manifest: Manifest) -> IndexSegment:
    """Maps the files of a segment.

    Raises:
      FileNotFoundError: a file is missing.
      InputError: a file has another size, or cannot be read.
    """
    shape = (stored.clips, manifest.max_frames, manifest.width)
    dtype = np.dtype(manifest.dtype)
    sections = np.cumsum([stored.text_bytes, stored.id_bytes, stored.clips * ROW.itemsize])
    clips = _mapped(path / f"{stored.name}.clips", int(sections[-1]))
    texts, ids, rows = np.split(clips, sections[:-1])
    frames = _mapped(path / f"{stored.name}.frames", int(np.prod(shape)) * dtype.itemsize)
    norms = _mapped(path / f"{stored.name}.norms", int(np.prod(shape[:2])) * NORM.itemsize)
    if stored.deleted is None:
        deleted = np.zeros(stored.clips, bool)
    else:
        bits = _mapped(path / f"{stored.deleted}.deleted", -(-stored.clips // 8))
        deleted = np.unpackbits(bits, count=stored.clips).astype(bool)
    words = np.zeros(0, np.uint8)
    if stored.word_bytes:
        words = _mapped(path / f"{stored.name}.words", stored.word_bytes)
    frames, norms = frames.view(dtype).reshape(shape), norms.view(NORM).reshape(shape[:2])
    return IndexSegment(stored, frames, norms, texts, ids, rows.view(ROW), deleted, words)


def _mapped(path: Path, size: int) -> np.ndarray:
    """Maps a file as uint8 `[size]`; its bytes are read where and when they are used."""
    try:
        with path.open("rb") as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != size:
                raise InputError(damaged(path, f"it has {actual} bytes instead of {size}"))
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(unreadable(path, error)) from error


def write_segment(
    path: Path, name: str, manifest: Manifest, records: Iterable[Record]
) -> StoredSegment:
    """Writes the files of a segment, one clip at a time.

    Raises:
      InputError: the folder cannot be written to.
    """
    frame_bytes = manifest.width * np.dtype(manifest.dtype).itemsize
    ids, rows, clips, text_bytes = bytearray(), bytearray(), 0, 0
    words = WordCollector()
    with (
        _new_file(path / f"{name}.frames") as new_frames,
        _new_file(path / f"{name}.norms") as new_norms,
        _new_file(path / f"{name}.clips") as new_clips,
        _new_file(path / f"{name}.words") as new_words,
    ):
        written = tuple(map(_Summed, (new_frames, new_norms, new_clips, new_words)))
        frames_file, norms_file, clips_file, words_file = written
        for clip_id, text, frames in records:
            clips += 1
            ids += clip_id
            text_bytes += len(text)
            rows += np.array((len(ids), text_bytes, len(frames)), ROW).tobytes()
            words.add(text)
            with writing_to(path):
                clips_file.write(text)
                frames_file.write(frames.tobytes())
                norms_file.write(norms_of(frames).tobytes())
                missing = manifest.max_frames - len(frames)
                frames_file.skip(missing * frame_bytes)
                norms_file.skip(missing * NORM.itemsize)
        with writing_to(path):
            frames_file.file.truncate(clips * manifest.max_frames * frame_bytes)
            norms_file.file.truncate(clips * manifest.max_frames * NORM.itemsize)
            clips_file.write(ids)
            clips_file.write(rows)
            words_file.write(word_bytes := words.finished().to_bytes())
            for file in written:
                sync(file.file)
    checksums = dict(zip(_PARTS, [file.checksum for file in written], strict=True))
    return StoredSegment(
        *(name, clips, text_bytes, len(ids)), checksums=checksums, word_bytes=len(word_bytes)
    )


@dataclasses.dataclass
class _Summed:
    """A new file, and the checksum of what was written to it."""

    file: BinaryIO
    checksum: int = 0

    def write(self, content: bytes | bytearray) -> None:
        self.file.write(content)
        self.checksum = zlib.crc32(content, self.checksum)

    def skip(self, count: int) -> None:
        """Leaves out bytes, which are zeros."""
        self.file.seek(count, os.SEEK_CUR)
        self.checksum = zlib.crc32(bytes(count), self.checksum)


def check(path: Path, segment: IndexSegment) -> None:
    """Reads all of a segment's files and compares them with their checksums, if it has any.

    Raises:
      InputError: a file is not as it was written.
    """
    stored, deleted = segment.stored, np.packbits(segment.deleted)
    parts: dict[str, tuple[str | None, list[np.ndarray]]] = {
        "frames": (stored.name, [segment.frames]),
        "norms": (stored.name, [segment.norms]),
        "clips": (stored.name, [segment.texts, segment.ids, segment.rows]),
        "words": (stored.name, [segment.word_file]),
        "deleted": (stored.deleted, [deleted]),
    }
    for part, (name, arrays) in parts.items():
        checksum = 0
        for array in arrays:
            checksum = zlib.crc32(array.reshape(-1).view(np.uint8).data, checksum)
        if name and stored.checksums.get(part, checksum) != checksum:
            raise InputError(damaged(path / f"{name}.{part}", "its checksum does not match"))


def norms_of(frames: np.ndarray) -> np.ndarray:
    """Returns the lengths of vectors, `[F, width]` to `[F]`."""
    with np.errstate(over="ignore"):  # Infinite, as the sum of squares in the model would be.
        return np.linalg.norm(frames.astype(NORM), axis=1)


def write_deleted(path: Path, name: str, deleted: np.ndarray) -> int:
    """Writes which clips are deleted; returns the file's checksum.

    Args:
      deleted: `[clips]` bool.

    Raises:
      InputError: the folder cannot be written to.
    """
    with _new_file(path / f"{name}.deleted") as file, writing_to(path):
        summed = _Summed(file)
        summed.write(np.packbits(deleted).tobytes())
        sync(file)
    return summed.checksum


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with writing_to(path.parent):
        file = path.open("wb")
    try:
        yield file
    finally:
        # Closing writes what is buffered; what has to be on disk was synced before.
        with contextlib.suppress(OSError):
            file.close()
