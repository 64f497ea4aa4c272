"""Finds films by files, folders, patterns and lists, and the files of subtitles beside them."""

import collections
import dataclasses
import glob
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.arguments import several, user_path
from data.errors import InputError
from data.files import passed_over
from data.report import Report
from data.sources.json_files import check_file_name
from data.sources.names import VIDEO_EXTENSIONS
from data.sources.subtitle_formats.registry import is_subtitles
from data.sources.subtitle_names import choose_file, language_of, video_of
from data.text import read_text
from data.video.languages import same_language

# The extension of text files that list films, one path a line.
LIST = ".txt"
_OTHERS = "files beside the films, of other kinds: not read"
_MISSING = "films of a list that do not exist: left out"
NO_NAME = "films whose names are no text: left out"
_PATTERN = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class FilmFile:
    """A film: its id, which is the file's name without extension, and the files about it.

    subtitles: the files of subtitles beside it, in all languages.
    """

    video_id: str
    path: Path
    subtitles: tuple[Path, ...] = ()


def find_films(places: Iterable[str | os.PathLike], report: Report) -> list[FilmFile]:
    """Finds films, and orders them by id.

    Args:
      places: each a film; a folder, of which all films are taken, those in its folders too; a
        pattern with `*`, `?`, `[...]` or `**`; or a `.txt` file with the path of a film or folder
        in each line, from the list's own folder if it is relative. Blank lines and those with `#`
        are no paths.
      report: counts the files in folders that are neither films nor subtitles, and films of lists
        that do not exist.

    Raises:
      InputError: a place does not exist or holds no film, or two films would have the same id.
    """
    paths: dict[Path, Path] = {}
    for place in several(places, "films", "paths"):
        for path in _films_at(user_path(place, "films"), report):
            # A film that is found twice, by its own name and in its folder, is one film.
            paths.setdefault(path.resolve(), path)
    ids: dict[str, list[Path]] = {}
    for path in sorted(paths.values()):
        check_file_name(path.name, path.parent)
        ids.setdefault(_id(path), []).append(path)
    _check_ids(ids)
    beside = _subtitles(paths.values(), ids)
    return [
        FilmFile(video_id, path, tuple(beside.get((path.parent, video_id), ())))
        for video_id, (path,) in sorted(ids.items())
    ]


def films_in(folder: Path, report: Report) -> list[FilmFile]:
    """Finds the films of a folder, ordered by ids, which are paths in it: no two are alike.

    An id has the file's extension only where another film's path is the same but for that.

    Args:
      report: counts the files that are neither films nor subtitles, and films whose names are no
        text, which are left out.

    Raises:
      InputError: the folder cannot be read or holds no film.
    """
    paths = []
    for path in _films_at(folder, report):
        try:
            check_file_name(str(path.relative_to(folder)), folder)
            paths.append(path)
        except InputError as error:
            report.add(NO_NAME, str(error), is_listed=True)
    names = {path: _names(path.relative_to(folder)) for path in paths}
    uses = collections.Counter(name for of_film in names.values() for name in {*of_film})
    beside = _subtitles(paths, {_id(path) for path in paths})
    films = [
        FilmFile(
            next((name for name in names[path] if uses[name] == 1), names[path][-1]),
            path,
            tuple(beside.get((path.parent, _id(path)), ())),
        )
        for path in paths
    ]
    return sorted(films, key=lambda film: film.video_id)


def _names(path: Path) -> tuple[str, str, str]:
    """Returns what a film may be called: without and with extension, and letter by letter."""
    name = unicodedata.normalize("NFC", path.as_posix())
    return os.path.splitext(name)[0], name, path.as_posix()


def _id(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _check_ids(ids: dict[str, list[Path]]) -> None:
    same = {video_id: paths for video_id, paths in ids.items() if len(paths) > 1}
    if same:
        video_id, (one, other, *_) = min(same.items())
        more = f", and so for {len(same) - 1:,} more ids" * (len(same) > 1)
        advice = "rename one of them" + (
            ", or take each folder by itself, to an output of its own"
            if one.parent != other.parent
            else ", or give the other alone"
        )
        raise InputError(f"{one} and {other} would both have the id {video_id!r}{more}: {advice}")


def _films_at(place: Path, report: Report) -> list[Path]:
    """Returns the films at one place that a user gave.

    Raises:
      InputError: there are none.
    """
    is_list = place.is_file() and place.suffix.lower() == LIST
    if place.is_dir():
        films = list(_films_in(place, report))
    elif place.is_file():
        films = _listed(place, report) if is_list else [place]
    elif _PATTERN.search(str(place)):
        films = [*_matching(place, report)]
    else:
        raise InputError(f"{place} does not exist: check its name")
    if not films and is_list:
        raise InputError(
            f"{place} names no film that exists: write the path of a film in each line, from the "
            "folder of the list if it is relative"
        )
    if not films:
        raise InputError(
            f"{place} holds no films: give files {', '.join(VIDEO_EXTENSIONS[:5])} and the like"
        )
    return films


def _matching(pattern: Path, report: Report) -> Iterator[Path]:
    for name in sorted(glob.glob(str(pattern), recursive=True)):
        path = Path(name)
        if path.is_file() and _is_film(path, report):
            yield path


def _films_in(folder: Path, report: Report) -> Iterator[Path]:
    seen = set[tuple[int, int]]()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        # A link may lead back to a folder above.
        status = os.stat(place)
        identity = status.st_dev, status.st_ino
        folders[:] = [] if identity in seen else sorted(n for n in folders if not passed_over(n))
        if identity not in seen:
            paths = (Path(place, name) for name in sorted(names) if not passed_over(name))
            yield from (path for path in paths if _is_film(path, report))
        seen.add(identity)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read ({error.strerror}): leave it out") from error


def _is_film(path: Path, report: Report) -> bool:
    """Returns whether a file is a film by its name; counts those that are no subtitles either."""
    is_film = path.suffix.lower().removeprefix(".") in VIDEO_EXTENSIONS
    if not is_film and not is_subtitles(path.name):
        report.add(_OTHERS, str(path))
    return is_film


def _listed(file: Path, report: Report) -> list[Path]:
    """Returns the films that a list names."""
    films: list[Path] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        path = file.parent / user_path(name, f"{file} line {number}")
        if path.is_dir():
            films += _films_in(path, report)
        elif path.is_file():
            films.append(path)
        else:
            report.add(_MISSING, f"{file} line {number}: {name}", is_listed=True)
    return films


def _subtitles(films: Iterable[Path], ids: Iterable[str]) -> dict[tuple[Path, str], list[Path]]:
    """Returns the files of subtitles beside films, by folder and id."""
    found: dict[tuple[Path, str], list[Path]] = {}
    known = set(ids)
    for folder in {film.parent for film in films}:
        for name in sorted(os.listdir(folder)):
            if is_subtitles(name) and not passed_over(name) and (folder / name).is_file():
                video_id = video_of(unicodedata.normalize("NFC", name), known)
                found.setdefault((folder, video_id), []).append(folder / name)
    return found


def subtitle_file(film: FilmFile, language: str, report: Report) -> Path | None:
    """Returns the file of subtitles to read of those beside a film, None if there is none.

    Args:
      language: a code of ISO 639 in two or three letters, '' for any. A file that names no language
        is in the one that is wanted.
      report: counts the files that are not read.

    Raises:
      InputError: it is not clear which it is.
    """
    files = {path.name: path for path in film.subtitles}
    own = _id(film.path)
    stated = {name: language_of(unicodedata.normalize("NFC", name), (own,)) for name in files}
    if language:
        named = [name for name in files if stated[name] and same_language(stated[name], language)]
        names = named or [name for name in files if not stated[name]]
    else:
        names = [*files]
    return files[choose_file(film.path.parent, own, names, report)] if names else None
