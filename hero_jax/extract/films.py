"""The films to read, each with the file of its subtitles."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.video.films import FilmFile, find_films, subtitle_file


@dataclasses.dataclass(frozen=True)
class Beside:
    """The file of a film's subtitles that lies beside it, or why none of several is taken."""

    file: Path | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class FoundFilm:
    """A film, with the id that its features have."""

    video_id: str
    path: Path
    beside: Beside = Beside()


def find(places: Iterable[str | os.PathLike], language: str, report: Report) -> list[FoundFilm]:
    """Finds films, and the file of subtitles beside each.

    Args:
      places, report: see `find_films`.
      language: of the subtitles, see `subtitle_file`.

    Raises:
      InputError: see `find_films`.
    """
    return with_subtitles(find_films(places, report), language, report)


def with_subtitles(
    found_films: Iterable[FilmFile], language: str, report: Report
) -> list[FoundFilm]:
    """Returns films with the file of subtitles beside each; see `find`."""
    films = []
    for found in found_films:
        try:
            beside = Beside(subtitle_file(found, language, report))
        except InputError as error:
            beside = Beside(problem=str(error))
        films.append(FoundFilm(found.video_id, found.path, beside))
    return films
