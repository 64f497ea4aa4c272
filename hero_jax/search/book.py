"""The films of an index: from which file, of which content, the clips of each video came.

The book is a file in the index's folder, `films.sqlite`, that no index needs: it says what to skip.
It is never believed alone. A film is written into it after the index holds its clips, with a
fingerprint of these clips, and is skipped only while the index still holds clips of this
fingerprint. So whatever else changes the index, and wherever a change ends, a film is at most added
once more.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.arguments import user_path
from data.errors import InputError
from data.files import file_state
from hero_jax.index import Entry, open_index
from hero_jax.inference.windows import clip_of_window

BOOK = "films.sqlite"
_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS films (
  video_id TEXT PRIMARY KEY, folder BLOB NOT NULL, path TEXT NOT NULL, duration REAL NOT NULL,
  bytes INTEGER NOT NULL, modified INTEGER NOT NULL, sha256 TEXT NOT NULL,
  subtitles TEXT NOT NULL, settings TEXT NOT NULL, fingerprint TEXT NOT NULL,
  thumbnails INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS films_of_content ON films (sha256);
"""
# Films that are read at once.
_AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class FileState:
    """A file: its size, its time of change in nanoseconds, and the SHA-256 of its content."""

    bytes: int
    modified: int
    sha256: str

    def is_quickly(self, path: Path) -> bool:
        """Checks size and time of a file, which is not read."""
        return (self.bytes, self.modified) == size_and_time(path)


def size_and_time(path: Path) -> tuple[int, int]:
    """Returns size and time of change (nanoseconds) of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def read_state(path: Path) -> FileState:
    """Reads a file for its state; its size and time are those before it was read."""
    size, modified = size_and_time(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileState(size, modified, digest.hexdigest())


@dataclasses.dataclass(frozen=True)
class KnownFilm:
    """A film whose clips are in the index.

    video_id: of its clips in the index.
    folder: absolute path of the folder that was added.
    path: of the file in this folder, with slashes.
    duration: in seconds.
    state: of the file.
    subtitles: name and state of the file of subtitles beside it, None if there is none.
    settings: text that is equal for films that were treated alike.
    fingerprint: of its clips in the index.
    thumbnails: bytes of its pictures, 0 if there are none.
    """

    video_id: str
    folder: Path
    path: str
    duration: float
    state: FileState
    subtitles: tuple[str, FileState] | None
    settings: str
    fingerprint: str = ""
    thumbnails: int = 0

    @property
    def file(self) -> Path:
        """Absolute path of the file."""
        return self.folder / self.path

    @property
    def content(self) -> tuple[str, str, str]:
        """Everything its clips depend on: contents of the files, and settings."""
        return self.state.sha256, self.subtitles[1].sha256 if self.subtitles else "", self.settings

    def to_row(self) -> tuple:
        """Returns the columns of the table."""
        subtitles = json.dumps(self.subtitles and [self.subtitles[0], vars(self.subtitles[1])])
        return (
            *(self.video_id, os.fsencode(self.folder), self.path, self.duration),
            *(self.state.bytes, self.state.modified, self.state.sha256),
            *(subtitles, self.settings, self.fingerprint, self.thumbnails),
        )

    @classmethod
    def from_row(cls, row: tuple) -> "KnownFilm":
        """Returns the film of columns of the table."""
        video_id, folder, path, duration, size, modified, sha256, subtitles, *others = row
        beside = json.loads(subtitles)
        return cls(
            *(video_id, Path(os.fsdecode(folder)), path, duration),
            FileState(size, modified, sha256),
            beside and (beside[0], FileState(**beside[1])),
            *others,
        )


def exists(index: str | os.PathLike) -> bool:
    """Returns whether an index has a book."""
    return (user_path(index) / BOOK).exists()


def state_of(index: str | os.PathLike) -> object:
    """Returns a value that is another one after the book of an index was changed."""
    return file_state(user_path(index) / BOOK)


class Book:
    """The films of an index, a context manager; what `put` and `remove` are given is on disk then.

    The caller holds the lock of the index to change it.
    """

    def __init__(self, index: str | os.PathLike, *, to_change: bool = False):
        """Opens the book of an index; it is made on the first change, and has no films before.

        Raises:
          InputError: it cannot be read, or another version made it.
        """
        self.file = user_path(index) / BOOK
        self._database: sqlite3.Connection | None = None
        if not to_change and not exists(index):
            return
        with self._told():
            # A name may have any characters; a query string of a URI must not come from it.
            location = f"{self.file.absolute().as_uri()}?mode={'rwc' if to_change else 'ro'}"
            self._database = sqlite3.connect(location, uri=True)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise InputError(
                    f"{self.file} was written by another version of this program (format "
                    f"{version}, and this one reads {_VERSION}): use that version"
                )
            if to_change and not version:
                self._database.executescript(
                    f"BEGIN; {_TABLE} PRAGMA user_version = {_VERSION}; COMMIT;"
                )
            elif not version:  # Its writer is about to make the table.
                self._database.close()
                self._database = None

    def __enter__(self) -> "Book":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._database is not None:
            self._database.close()

    def put(self, films: Iterable[KnownFilm]) -> None:
        """Adds films, or replaces those of the same ids."""
        rows = [film.to_row() for film in films]
        places = ", ".join("?" * len(dataclasses.fields(KnownFilm)) + "??")
        with self._changing() as database:
            database.executemany(f"REPLACE INTO films VALUES ({places})", rows)

    def remove(self, video_ids: Iterable[str]) -> None:
        """Removes films of these ids, if there are such."""
        with self._changing() as database:
            database.executemany(
                "DELETE FROM films WHERE video_id = ?", [(one,) for one in video_ids]
            )

    def get(self, video_id: str) -> KnownFilm | None:
        """Returns a video's film, None if it came from no file."""
        return next(iter(self._films("WHERE video_id = ?", video_id)), None)

    def of_content(self, sha256: str) -> list[KnownFilm]:
        """Returns the films whose files have this content."""
        return self._films("WHERE sha256 = ? ORDER BY video_id", sha256)

    def __iter__(self) -> Iterator[KnownFilm]:
        """Yields all films by their ids; the book may be changed in the meantime."""
        films = self._films(f"ORDER BY video_id LIMIT {_AT_ONCE}")
        while films:
            yield from films
            last = films[-1].video_id
            films = self._films(f"WHERE video_id > ? ORDER BY video_id LIMIT {_AT_ONCE}", last)

    def thumbnail_bytes(self) -> int:
        """Returns the bytes of the pictures of all films; those of equal content are one's."""
        sizes = "SELECT max(thumbnails) AS size FROM films GROUP BY sha256"
        with self._told():
            return sum(size for (size,) in self._select(f"SELECT sum(size) FROM ({sizes})") if size)

    def _films(self, condition: str, *values: str) -> list[KnownFilm]:
        with self._told():
            return [
                *map(KnownFilm.from_row, self._select(f"SELECT * FROM films {condition}", *values))
            ]

    def _select(self, query: str, *values: str) -> list[tuple]:
        """Returns all rows: a reader that held a query open would keep the writer waiting."""
        return self._database.execute(query, values).fetchall() if self._database else []

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        if self._database is None:
            raise ValueError(f"{self.file} was not opened to change it")
        with self._told(), self._database as transaction:
            yield transaction

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns errors of the database, and values that are none of a film's, into InputError."""
        try:
            yield
        except sqlite3.OperationalError as error:  # No room, no permission, a lock.
            raise InputError(
                f"{self.file} cannot be read or written ({error}): fix that and try again"
            ) from error
        except (sqlite3.DatabaseError, ValueError, TypeError, LookupError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.file} is damaged ({error}): remove it, then films are added once more"
            ) from error


class Indexed:
    """The clips of an index by the video that they are a window of, at one moment."""

    def __init__(self, path: str | os.PathLike):
        """Opens the index; raises InputError if that is not possible."""
        self.index = open_index(path)
        self._numbers: dict[str, list[int]] = collections.defaultdict(list)
        for number, clip_id in self.index.clip_ids():
            self._numbers[clip_of_window(clip_id)].append(number)

    def fingerprint(self, video_id: str) -> str:
        """Returns a hash of all that is stored of a video, '' if that is nothing.

        Of frames it has the lengths of their vectors, so that little is read.
        """
        clips = {self.index.describe(n).clip_id: n for n in self._numbers.get(video_id, ())}
        digest = hashlib.sha256()
        for _, number in sorted(clips.items()):
            clip = self.index.describe(number)
            digest.update(json.dumps(dataclasses.asdict(clip)).encode())
            digest.update(self.index.norms(number, 1)[0, : clip.num_frames].tobytes())
        return digest.hexdigest() if clips else ""

    def clip_ids(self, video_id: str) -> list[str]:
        """Returns the ids of the clips of a video."""
        return [self.index.describe(n).clip_id for n in self._numbers.get(video_id, ())]

    def entries(self, video_id: str, new_id: str) -> Iterator[Entry]:
        """Yields the clips of a video as those of another one."""
        for number in self._numbers[video_id]:
            clip = self.index.describe(number)
            name = new_id + clip.clip_id.removeprefix(video_id)
            frames = self.index.frames([number])[0, : clip.num_frames]
            yield Entry(name, new_id, clip.start, frames, clip.lines)
