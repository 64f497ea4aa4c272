"""The films of an index as the server shows them, and where their files are."""

import bisect
import dataclasses
import datetime
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.report import Report
from data.video.films import films_in
from hero_jax.index import IndexedClip, Line, Snapshot
from hero_jax.index.filters import SEPARATOR
from hero_jax.search.book import Book

# Films of which is kept what they are like.
_FILMS_KEPT = 10_000


@dataclasses.dataclass(frozen=True)
class ListedFilm:
    """A film, or a video of a dataset, of an index.

    numbers: of its clips in the index, in their order in time.
    start, duration: the seconds at which its first clip begins and at which it ends.
    file: in the folder of films, None without one.
    day: on which its file was changed last, None without a file.
    sha256: of the file, by which its thumbnails are found; '' if that is not known.
    """

    video_id: str
    numbers: tuple[int, ...]
    start: float
    duration: float
    file: Path | None
    day: datetime.date | None
    sha256: str


class Catalog:
    """The films of an index; what one is like is found out when it is asked for."""

    def __init__(self, index: Snapshot, videos: Path | None):
        """Reads the ids of all videos, and where their files are.

        Args:
          videos: folder of the films, without symbolic links; None for none.

        Raises:
          InputError: the index or its book is damaged.
        """
        self._index, self._videos = index, videos
        self.names, video_of = index.videos()
        self._numbers = np.argsort(video_of, kind="stable")
        self._firsts = np.searchsorted(video_of[self._numbers], range(len(self.names) + 1))
        with Book(index.path) as book:
            self._known = {film.video_id: film for film in book}
        others = videos and {*self.names} - self._known.keys()
        self._others = _files(videos) if videos and others else {}
        self._film = functools.lru_cache(_FILMS_KEPT)(self._listed)

    def film(self, video_id: str) -> ListedFilm | None:
        """Returns a film by its id, None if there is none."""
        place = bisect.bisect_left(self.names, video_id)
        return self._film(place) if self.names[place : place + 1] == [video_id] else None

    def _listed(self, place: int) -> ListedFilm:
        """Returns the film at a place in the order of ids."""
        name, index = self.names[place], self._index
        numbers = self._numbers[self._firsts[place] : self._firsts[place + 1]].tolist()
        clips = sorted((index.describe(number).start, number) for number in numbers)
        film = self._known.get(name)
        lengths = index.num_frames()
        ends = (start + lengths[number] * index.seconds_per_feature for start, number in clips)
        return ListedFilm(
            name,
            tuple(number for _, number in clips),
            clips[0][0],
            film.duration if film else float(max(ends)),
            self._file(name),
            self.day(name),
            film.state.sha256 if film else "",
        )

    def _file(self, video_id: str) -> Path | None:
        film = self._known.get(video_id)
        # A film may have been added from another folder.
        return self._videos / film.path if film and self._videos else self._others.get(video_id)

    def day(self, video_id: str) -> datetime.date | None:
        """Returns the day on which the file of a film was changed last, None without a file."""
        film, file = self._known.get(video_id), self._others.get(video_id)
        try:
            seconds = film.state.modified / 1e9 if film else file.stat().st_mtime if file else None
        except OSError:
            return None
        return None if seconds is None else datetime.date.fromtimestamp(seconds)

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers of the clips by their ids."""
        return {clip_id: number for number, clip_id in self._index.clip_ids()}

    def window_at(self, film: ListedFilm, second: float) -> IndexedClip:
        """Returns the clip of a film whose middle is nearest to a second."""

        def distance(number: int) -> float:
            clip = self._index.describe(number)
            length = clip.num_frames * self._index.seconds_per_feature
            return abs(clip.start + length / 2 - second)

        return self._index.describe(min(film.numbers, key=distance))

    def lines(self, film: ListedFilm) -> list[Line]:
        """Returns the subtitles of a film, each once, in their order in time."""
        lines = {line for n in film.numbers for line in self._index.describe(n).lines}
        return sorted(lines, key=lambda line: (line.start, line.end, line.text))

    @functools.cached_property
    def folders(self) -> list[str]:
        """The folders that films are in, by their ids."""
        return sorted({name.rpartition(SEPARATOR)[0] for name in self.names} - {""})

    def after(self, video_id: str, containing: str) -> Iterator[ListedFilm]:
        """Yields films whose ids come after one and contain a text, whatever its case."""
        wanted = containing.casefold()
        for place in range(bisect.bisect_right(self.names, video_id), len(self.names)):
            if wanted in self.names[place].casefold():
                yield self._film(place)


def _files(videos: Path) -> Mapping[str, Path]:
    """Returns the films of a folder by their ids, as videos of a dataset may be called."""
    try:
        return {film.video_id: film.path for film in films_in(videos, Report())}
    except InputError:  # There are none.
        return {}


def is_inside(folder: Path, path: Path) -> bool:
    """Returns whether what lies at a path exists in a folder, and is no link that leads outside.

    Args:
      folder: without symbolic links.
    """
    try:
        return path.resolve(strict=True).is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):
        return False
