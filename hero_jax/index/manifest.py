"""The folder of an index: a manifest that names all other files, and a lock.

  index.json    the manifest: settings of the index, and its segments
  NAME.frames   `[clips, max_frames, width]` of a segment; what lies beyond a clip's own frames is
                zero, and a hole of the file
  NAME.norms    `[clips, max_frames]` float32, the length of each frame's vector, by which a cosine
                is divided; zero beyond a clip's own frames
  NAME.clips    text of its clips, their ids, and a `segment.ROW` of each, one after another
  NAME.words    the words of its clips' subtitles, see `hero_jax.index.words`
  NAME.deleted  a bit for each clip of a segment, 1 where it is deleted
  lock          the file that the one writer locks

A file is written once, is on disk before a manifest names it, and is removed when no manifest names
it any more. The manifest is replaced in one step. So a change that is interrupted in any way leaves
the index as it was. A reader maps its files when it opens, and keeps them when they are removed.
"""

import contextlib
import dataclasses
import errno
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data import files
from data.arguments import user_path
from data.errors import InputError, reason
from data.files import passed_over
from data.text import parse_json

FORMAT_VERSION = 3
# In version 2 no segment has a file of words.
READ_VERSIONS = (2, FORMAT_VERSION)
DTYPES = ("float16", "bfloat16", "float32")
# No size is as large.
_LARGEST = 1 << 53
AS_IT_WAS = "the index is as it was; fix that and try again"
NOT_FLUSHED = "the change is made, but would be lost if the machine lost power now"
_MANIFEST = "index.json"
_NEW_MANIFEST = "index.json.new"
_LOCK = "lock"
# Folder of the table of the other store, also while it is made.
TABLE, NEW_TABLE = "clips.lance", "clips.lance.new"
_SEGMENT_FILE = re.compile(r"(\d{6,})\.(frames|norms|clips|words|deleted)")
# Error numbers of every failure of the system.
_ALL_ERRORS = tuple(errno.errorcode)


@dataclasses.dataclass(frozen=True)
class StoredSegment:
    """A segment as the manifest describes it.

    name: name of its files.
    clips: number of clips that it was written with.
    text_bytes, id_bytes: sizes of all texts and of all ids.
    deleted: name of the file with the deleted clips; None if no clip is deleted.
    checksums: CRC-32 of each of its files, by extension; earlier versions have none.
    word_bytes: size of its file of words; 0 if it is of an earlier version, without one.
    """

    name: str
    clips: int
    text_bytes: int
    id_bytes: int
    deleted: str | None = None
    checksums: dict[str, int] = dataclasses.field(default_factory=dict)
    word_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Settings of an index, see `hero_jax.index.writer.create`, and its segments.

    names: number of file names that were used so far.
    """

    width: int
    dtype: str
    max_frames: int
    seconds_per_feature: float
    model: dict[str, Any]
    names: int = 0
    segments: tuple[StoredSegment, ...] = ()

    def files(self) -> set[str]:
        """Returns the names of all files of the segments."""
        names = set()
        for segment in self.segments:
            names |= {f"{segment.name}.{part}" for part in ("frames", "norms", "clips")}
            if segment.word_bytes:
                names.add(f"{segment.name}.words")
            if segment.deleted:
                names.add(f"{segment.deleted}.deleted")
        return names


def writing_to(path: Path, advice: str = AS_IT_WAS) -> contextlib.AbstractContextManager[None]:
    """Raises any failure of the system, as a full disk, as an InputError about the folder."""
    return files.writing_to(path, advice, _ALL_ERRORS)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of an index; the system releases it when a program ends in any way.

    Raises:
      InputError: another program holds it, or the folder cannot be written to.
    """
    busy, advice = f"{path} is being written to", "wait until that has ended"
    with contextlib.ExitStack() as stack:
        with writing_to(path):
            stack.enter_context(files.locked(path / _LOCK, busy, advice))
        yield


def check_vacant(path: Path) -> None:
    """Raises InputError if a folder holds more than an interrupted creation may leave."""
    names = {file.name for file in path.iterdir() if not passed_over(file.name)}
    if not names <= {_LOCK, _NEW_MANIFEST, NEW_TABLE}:
        raise InputError(f"{path} is not empty: name another folder, or remove it first")


def exists(path: str | os.PathLike) -> bool:
    """Returns whether a folder holds an index, of which nothing is read."""
    return (user_path(path) / _MANIFEST).exists()


def file_state(path: Path) -> tuple[int, int, int] | None:
    """Returns what differs between any two manifests of an index, None if there is none."""
    return files.file_state(path / _MANIFEST)


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of the index in a folder.

    Raises:
      InputError: there is no index, it is damaged, or it has another version of the format.
    """
    file = path / _MANIFEST
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        problem = "holds no index" if path.is_dir() else "is no folder with an index"
        raise InputError(f"{path} {problem}: correct the path, or build an index there") from error
    except OSError as error:
        raise InputError(unreadable(file, error)) from error
    try:
        document = parse_json(content)
        version = document["format_version"]
        # Another version may have other fields.
        is_read = version in READ_VERSIONS
        is_intact = not is_read or document["crc32"] == _checksum(document["index"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(damaged(file, f"{type(error).__name__}: {reason(error)}")) from error
    if not is_read:
        versions = " and ".join(map(str, READ_VERSIONS))
        raise InputError(
            f"{path} is an index in version {version!r} of the format, and this program reads "
            f"versions {versions}: build it again"
        )
    if not is_intact:
        raise InputError(damaged(file, "its checksum does not match"))
    try:
        return _checked(document["index"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(damaged(file, f"{type(error).__name__}: {reason(error)}")) from error


def _checked(fields: dict[str, Any]) -> Manifest:
    """Returns the manifest of JSON values; raises an error if they are none of one."""
    segments = tuple(StoredSegment(**segment) for segment in fields["segments"])
    manifest = Manifest(**{**fields, "segments": segments})
    numbers = [manifest.width, manifest.max_frames, manifest.names]
    for segment in segments:
        numbers += [segment.clips, segment.text_bytes, segment.id_bytes, segment.word_bytes]
    if not all(type(number) is int and 0 <= number < _LARGEST for number in numbers):
        raise ValueError("a size is no whole number")
    if not isinstance(manifest.seconds_per_feature, int | float) or manifest.dtype not in DTYPES:
        raise ValueError("its settings have other types")
    if not all(isinstance(segment.checksums, dict) for segment in segments):
        raise ValueError("checksums are no object")
    if not isinstance(manifest.model, dict):
        raise ValueError("its model is no object")
    for name in manifest.files():
        if not _SEGMENT_FILE.fullmatch(name):
            raise ValueError(f"it names {name!r}")
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replaces the manifest; the index is what the new one describes from then on.

    Raises:
      InputError: the folder cannot be written to.
    """
    fields = dataclasses.asdict(manifest)
    document = {"format_version": FORMAT_VERSION, "crc32": _checksum(fields), "index": fields}
    with writing_to(path):
        sync_folder(path)
        with (path / _NEW_MANIFEST).open("w") as file:
            file.write(json.dumps(document))
            sync(file)
        (path / _NEW_MANIFEST).replace(path / _MANIFEST)
    with writing_to(path, NOT_FLUSHED):
        sync_folder(path)


def remove_strays(path: Path) -> None:
    """Removes files that the manifest does not name: replaced ones, or of interrupted changes.

    The caller holds the lock. What cannot be removed is left for the next writer.
    """
    with contextlib.suppress(OSError, InputError):
        named = read_manifest(path).files()
        for file in path.iterdir():
            if file.name not in named and (
                _SEGMENT_FILE.fullmatch(file.name) or file.name == _NEW_MANIFEST
            ):
                file.unlink()


def damaged(file: Path, problem: str) -> str:
    """Returns the message about a damaged file."""
    return f"{file} is damaged ({problem}): restore the index from a copy, or build it again"


def unreadable(file: Path, error: OSError) -> str:
    """Returns the message about a file that the system does not read."""
    return f"{file} cannot be read ({error.strerror}): fix that and try again"


def sync(file: IO) -> None:
    """Brings what was written to a file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Brings the names in a folder to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _checksum(fields: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(fields).encode())
