"""Films that the server decodes: those that are added, and those that questions are about.

It needs packages that the rest of the server does not.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from data.report import Report
from data.schema import Clip
from hero_jax.inference.model import Model
from hero_jax.search.adding import add_films, find
from hero_jax.search.reading import Reading, decode
from hero_jax.search.server.catalog import ListedFilm
from hero_jax.search.server.contents import Read
from hero_jax.search.server.intake import Add


def to_index(model: Model, videos: Path, index: Path, reading: Reading) -> Add:
    """Returns a function that adds films of a folder to an index."""

    def add(place: Path, watch: Callable[[float, str], None]) -> dict[str, object]:
        done = add_films(model, videos, index, reading, only=place, watch=watch)
        names = ("added", "replaced", "renamed", "unchanged")
        counts: dict[str, object] = {name: getattr(done, name) for name in names}
        return {**counts, "notes": done.report.lines()}

    return add


def of_films(model: Model, videos: Path, reading: Reading) -> Read:
    """Returns a function that decodes a film again, as it was added."""
    without_pictures = dataclasses.replace(reading, thumbnail_bytes=0)

    def read(film: ListedFilm, name: str) -> Clip | None:
        _, films = find(videos, reading.subtitles.language, Report())
        for found in films:
            if found.video_id == name:
                return decode(model, found, without_pictures, Report(), _unwatched).clip
        return None

    return read


def _unwatched(seconds: float, length: float) -> None:
    """Takes the progress of a film that is read again."""
