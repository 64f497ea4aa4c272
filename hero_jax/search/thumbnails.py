"""Small pictures of films for the page, in the index's folder: a zip archive for each film.

`thumbnails/SHA256.zip` is named by the content of the film's file, so that it outlasts a new name.
Its members are JPEG files, not compressed again, each named by its millisecond in the film.
"""

import functools
import os
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from data.arguments import user_path
from data.files import passed_over, replacing, writing_to
from data.zip_files import open_zip
from hero_jax.index.manifest import sync
from hero_jax.search.book import Book
from hero_jax.search.found import FoundMoment
from hero_jax.search.pictures import spread

FOLDER = "thumbnails"
_NAME = re.compile(r"([0-9]{1,12})\.jpg")
_FILMS_KEPT = 64


def path_of(index: Path, sha256: str) -> Path:
    """Returns the path of the pictures of the film whose file has this content."""
    return index / FOLDER / f"{sha256}.zip"


def write(index: Path, sha256: str, archive: bytes) -> None:
    """Writes the pictures of a film, in one step; raises InputError if that is not possible."""
    path = path_of(index, sha256)
    with writing_to(path, "the films so far are in the index; fix that and try again"):
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(archive)
            sync(file)


def copy(index: Path, other: Path) -> None:
    """Copies the pictures of all films of an index to another one."""
    if (index / FOLDER).is_dir():
        with writing_to(other, "remove it, and try again"):
            shutil.copytree(index / FOLDER, other / FOLDER)


def remove_strays(index: Path, book: Book) -> None:
    """Removes pictures of no film: of removed ones, and what was interrupted left.

    The caller holds the lock of the index.
    """
    folder = index / FOLDER
    for file in [*folder.iterdir()] if folder.is_dir() else []:
        is_ours = file.suffix == ".zip" and (len(file.stem) == 64 or passed_over(file.name))
        if is_ours and not any(film.thumbnails for film in book.of_content(file.stem)):
            with writing_to(file, "remove it yourself"):
                file.unlink(missing_ok=True)


def times_of(path: Path) -> list[int]:
    """Returns the milliseconds of a film's pictures in order, none if they cannot be read."""
    try:
        with open_zip(path) as archive:
            names = filter(None, map(_NAME.fullmatch, archive.namelist()))
            return sorted(int(name[1]) for name in names)
    except (OSError, zipfile.BadZipFile, ValueError):
        return []


def read(path: Path, times: Sequence[int]) -> tuple[tuple[float, bytes], ...]:
    """Returns seconds and content of a film's pictures, none if one cannot be read."""
    try:
        with open_zip(path) as archive:
            return tuple((time / 1000, archive.read(f"{time}.jpg")) for time in times)
    except (OSError, zipfile.BadZipFile, ValueError, LookupError):
        return ()


class FilmPictures:
    """Pictures in moments of an index's films; see `hero_jax.search.pictures.Pictures`.

    Attributes:
      durations: by video id, the seconds of the films of which pictures were asked for.
    """

    def __init__(self, index: str | os.PathLike):
        """Opens the book of an index; films whose pictures are damaged have none.

        Raises:
          InputError: the book cannot be read.
        """
        self._index = user_path(index)
        self._book = Book(index)
        self.durations: dict[str, float] = {}
        self._film = functools.lru_cache(_FILMS_KEPT)(self._seconds_and_path)

    def _seconds_and_path(self, video_id: str) -> tuple[list[int], Path | None]:
        """Returns the milliseconds of a film's pictures in order, and their archive."""
        film = self._book.get(video_id)
        if film is None:
            return [], None
        self.durations[video_id] = film.duration
        path = path_of(self._index, film.state.sha256)
        times = times_of(path)
        return times, path if times else None

    def of(self, found: FoundMoment) -> tuple[tuple[float, bytes], ...]:
        """Returns pictures of a moment with their seconds; see `Pictures.of`.

        A moment between two pictures has the nearer one.
        """
        times, path = self._film(found.video_id)
        if path is None or not times:
            return ()
        middle = 500 * (found.start + found.end)
        nearest = min(times, key=lambda time: abs(time - middle))
        inside = [time for time in times if found.start <= time / 1000 <= found.end] or [nearest]
        return read(path, spread(inside))
