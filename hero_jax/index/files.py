"""Files of an index: a manifest that names all others, and segments that hold the clips.

  index.json    the manifest: what the index is for, and its segments
  NAME.frames   `[clips, max_frames, width]` of a segment; what lies beyond a clip's own frames is
                zero, and a hole of the file
  NAME.norms    `[clips, max_frames]` float32, the length of each frame's vector, by which a cosine
                is divided; zero beyond a clip's own frames
  NAME.clips    text of its clips, their ids, and a `ROW` of each, one after another
  NAME.deleted  a bit for each clip of a segment, 1 where it is deleted
  lock          what the one writer holds

A file is written once, is on disk before a manifest names it, and is removed when none does. The
manifest is replaced in one step. So a change that is broken off, by whatever, leaves the index as
it was. A reader maps its files when it opens, and keeps them when they are removed.
"""

import contextlib
import dataclasses
import itertools
import json
import mmap
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import ml_dtypes  # noqa: F401 - NumPy knows bfloat16 by its name from then on
import numpy as np

from data import files
from data.errors import InputError

FORMAT_VERSION = 2
DTYPES = ("float16", "bfloat16", "float32")
# Of a clip: where its id and its text end, the one before it ends where they begin; its frames.
ROW = np.dtype([("id_end", "<i8"), ("text_end", "<i8"), ("num_frames", "<i4")])
NORM = np.dtype("<f4")
AS_IT_WAS = "the index is as it was; put that right and try again"
_MANIFEST = "index.json"
_NEW_MANIFEST = "index.json.new"
_LOCK = "lock"
_NAMED = re.compile(r"(\d{6,})\.(frames|norms|clips|deleted)")


class Record(NamedTuple):
    """A clip as it is stored: id, other text, and frames `[F, width]` in the index's dtype."""

    clip_id: bytes
    text: bytes
    frames: np.ndarray


@dataclasses.dataclass(frozen=True)
class Stored:
    """A segment in the manifest.

    name: of its files.
    clips: that it was written with.
    text_bytes, id_bytes: of all of them.
    deleted: name of the file that tells which are deleted; None if none is.
    """

    name: str
    clips: int
    text_bytes: int
    id_bytes: int
    deleted: str | None = None


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What an index is for, see `hero_jax.index.index.create`, and its segments.

    names: how many names of files are used up.
    """

    width: int
    dtype: str
    max_frames: int
    seconds_per_feature: float
    model: dict
    names: int = 0
    segments: tuple[Stored, ...] = ()

    def files(self) -> set[str]:
        """The names of all files that it names."""
        names = set()
        for segment in self.segments:
            names |= {f"{segment.name}.{part}" for part in ("frames", "norms", "clips")}
            if segment.deleted:
                names.add(f"{segment.deleted}.deleted")
        return names


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """A segment, its files mapped and not read, but for `deleted`.

    stored: its part of the manifest; has no `deleted` yet if clips were deleted just now.
    frames: `[clips, max_frames, width]`.
    norms: `[clips, max_frames]` float32.
    texts, ids: `[bytes]` uint8.
    rows: `[clips]` of `ROW`.
    deleted: `[clips]` bool.
    """

    stored: Stored
    frames: np.ndarray
    norms: np.ndarray
    texts: np.ndarray
    ids: np.ndarray
    rows: np.ndarray
    deleted: np.ndarray

    def __len__(self) -> int:
        """How many clips are there."""
        return len(self.deleted) - int(self.deleted.sum())

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Row and id of each clip that is there."""
        ids, ends = self.ids.tobytes(), self.rows["id_end"].tolist()
        places = enumerate(itertools.pairwise([0, *ends]))
        for row, (begin, end) in itertools.compress(places, (~self.deleted).tolist()):
            yield row, ids[begin:end].decode()

    def record(self, row: int) -> Record:
        id_begin, text_begin, _ = self.rows[row - 1].item() if row else (0, 0, 0)
        id_end, text_end, num_frames = self.rows[row].item()
        return Record(
            self.ids[id_begin:id_end].tobytes(),
            self.texts[text_begin:text_end].tobytes(),
            self.frames[row, :num_frames],
        )

    def records(self) -> Iterator[Record]:
        """All clips that are there."""
        return map(self.record, np.flatnonzero(~self.deleted).tolist())

    def without(self, rows: list[int]) -> "Segment":
        """The segment with more of its clips deleted."""
        deleted = self.deleted.copy()
        deleted[rows] = True
        stored = dataclasses.replace(self.stored, deleted=None)
        return dataclasses.replace(self, stored=stored, deleted=deleted)


@contextlib.contextmanager
def writing(path: Path, then: str = AS_IT_WAS) -> Iterator[None]:
    """Makes a sentence about the folder of what the system says, as that the disk is full."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} could not be written to ({error.strerror}): {then}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """For one program at a time; the system unlocks when a program ends, however it ends."""
    refusal = f"{path} is being written to by another program: wait until that has ended"
    with contextlib.ExitStack() as held:
        with writing(path):
            held.enter_context(files.locked(path / _LOCK, refusal))
        yield


def check_vacant(path: Path) -> None:
    """InputError if a folder holds more than what a creation that was broken off may leave."""
    if not {file.name for file in path.iterdir()} <= {_LOCK, _NEW_MANIFEST}:
        raise InputError(f"{path} is not empty: name another folder, or remove it first")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the index in a folder.

    Raises:
      InputError: there is none, it is damaged, or of another version of the format.
    """
    file = path / _MANIFEST
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "holds no index" if path.is_dir() else "is no folder with an index"
        raise InputError(f"{path} {what}: correct the path, or build an index there") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): put that right") from error
    try:
        document = json.loads(content)
        version = document["format_version"]
        # Another version may have other fields.
        is_whole = version != FORMAT_VERSION or document["crc32"] == _checksum(document["index"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(_damaged(file, f"{type(error).__name__}: {error}")) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} is an index in version {version!r} of the format, and this program reads "
            f"version {FORMAT_VERSION}: build it again"
        )
    if not is_whole:
        raise InputError(_damaged(file, "its checksum is of other content"))
    segments = tuple(Stored(**segment) for segment in document["index"].pop("segments"))
    return Manifest(**document["index"], segments=segments)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replaces the manifest: all that it names counts from then on.

    Raises:
      InputError: the folder cannot be written to.
    """
    fields = dataclasses.asdict(manifest)
    document = {"format_version": FORMAT_VERSION, "crc32": _checksum(fields), "index": fields}
    with writing(path):
        _sync_folder(path)
        with (path / _NEW_MANIFEST).open("w") as file:
            file.write(json.dumps(document))
            _sync(file)
        (path / _NEW_MANIFEST).replace(path / _MANIFEST)
    with writing(path, "the change is made, but would be lost if the machine lost power now"):
        _sync_folder(path)


def _checksum(fields: dict) -> int:
    return zlib.crc32(json.dumps(fields).encode())


def _damaged(file: Path, how: str) -> str:
    return f"{file} is damaged ({how}): restore the index from a copy, or build it again"


def _sync(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_segments(path: Path) -> tuple[Manifest, list[Segment]]:
    """The manifest and its segments, all of one moment.

    Raises:
      InputError: there is no index, or one of its files is damaged or missing.
    """
    manifest = read_manifest(path)
    while True:
        try:
            return manifest, [open_segment(path, s, manifest) for s in manifest.segments]
        except FileNotFoundError as error:
            # A writer may have removed it since the manifest was read; if so, there is a newer one.
            newer = read_manifest(path)
            if newer == manifest:
                raise InputError(_damaged(Path(error.filename), "it is missing")) from error
            manifest = newer


def open_segment(path: Path, stored: Stored, manifest: Manifest) -> Segment:
    """Maps the files of a segment; FileNotFoundError, InputError if one is of another size."""
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
    frames, norms = frames.view(dtype).reshape(shape), norms.view(NORM).reshape(shape[:2])
    return Segment(stored, frames, norms, texts, ids, rows.view(ROW), deleted)


def _mapped(path: Path, size: int) -> np.ndarray:
    """A file's bytes, uint8 `[size]`, read only where and when they are used."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise InputError(_damaged(path, f"it has {found} bytes, {size} are due"))
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put that right") from error


def write_segment(path: Path, name: str, manifest: Manifest, records: Iterable[Record]) -> Stored:
    """Writes the files of a segment, a clip at a time.

    Raises:
      InputError: the folder cannot be written to.
    """
    frame_bytes = manifest.width * np.dtype(manifest.dtype).itemsize
    ids, rows, clips, text_bytes = bytearray(), bytearray(), 0, 0
    with (
        _new_file(path / f"{name}.frames") as frames_file,
        _new_file(path / f"{name}.norms") as norms_file,
        _new_file(path / f"{name}.clips") as clips_file,
    ):
        for clip_id, text, frames in records:
            clips += 1
            ids += clip_id
            text_bytes += len(text)
            rows += np.array((len(ids), text_bytes, len(frames)), ROW).tobytes()
            with writing(path):
                clips_file.write(text)
                frames_file.write(frames.tobytes())
                norms_file.write(_norms(frames).tobytes())
                if len(frames) < manifest.max_frames:
                    missing = manifest.max_frames - len(frames)
                    frames_file.seek(missing * frame_bytes, os.SEEK_CUR)
                    norms_file.seek(missing * NORM.itemsize, os.SEEK_CUR)
        with writing(path):
            frames_file.truncate(clips * manifest.max_frames * frame_bytes)
            norms_file.truncate(clips * manifest.max_frames * NORM.itemsize)
            clips_file.write(ids)
            clips_file.write(rows)
            for file in (frames_file, norms_file, clips_file):
                _sync(file)
    return Stored(name, clips, text_bytes, len(ids))


def _norms(frames: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # Infinity, as the model's own sum of squares.
        return np.linalg.norm(frames.astype(NORM), axis=1)


def write_deleted(path: Path, name: str, deleted: np.ndarray) -> None:
    """Writes which clips are deleted, `[clips]` bool; InputError as `write_segment`."""
    with _new_file(path / f"{name}.deleted") as file, writing(path):
        file.write(np.packbits(deleted).tobytes())
        _sync(file)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with writing(path.parent):
        file = path.open("wb")
    try:
        yield file
    finally:
        # It writes what is still due; what has to be on disk has been brought there before.
        with contextlib.suppress(OSError):
            file.close()


def remove_strays(path: Path) -> None:
    """Removes files of segments that no manifest names: replaced ones, or of a change broken off.

    Only for whoever holds the lock. What cannot be removed is left for the next writer.
    """
    with contextlib.suppress(OSError, InputError):
        named = read_manifest(path).files()
        for file in path.iterdir():
            if file.name not in named and (
                _NAMED.fullmatch(file.name) or file.name == _NEW_MANIFEST
            ):
                file.unlink()
