"""Subtitles of videos: JSON lines, one JSON object, or a folder of SubRip, WebVTT and CSV files."""

import abc
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from data.arguments import user_path
from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.base import SubtitleReader
from data.sources.json_files import (
    Mistake,
    as_list,
    as_number,
    as_object,
    as_string,
    check_file_name,
    identifier,
    open_text,
    parse_json,
    reading_text,
)
from data.sources.subtitle_files import COLUMNS, csv_rows, cue_rows

MISTAKE = "subtitles with a mistake: left out"
_NO_TEXT = "subtitles without text: left out"
# Seconds, about thirty years: larger numbers are no times in videos, and may not fit float32.
LATEST = 1e9
# File names without their extension that end with a language: `ID.en`, `ID.pt-BR`, `ID.zh_Hans`.
_LANGUAGE = re.compile(r"(.+)\.[a-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
Location = TypeVar("Location")


class NoSubtitles:
    """A `SubtitleReader` of videos in which nobody speaks."""

    def ids(self) -> set[str]:
        """Returns no ids."""
        return set()

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns no subtitles."""
        return ()

    def files(self, video_id: str) -> list[Path]:
        """Returns no files."""
        return []

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns the same reader."""
        return self


class _Subtitles(abc.ABC, Generic[Location]):
    """A `SubtitleReader` of a file or a folder.

    Nothing stays open: a reader can be pickled and used by any process.
    """

    def __init__(self, path: Path, locations: Mapping[str, Location]):
        """Takes the location in `path` of each video's subtitles."""
        self._path = path
        self._locations = locations

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have subtitles."""
        return set(self._locations)

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns the subtitles of a video, in the file's order, and none if it has none.

        Times are kept as in the file, even those before 0 and after the end of the video. Subtitles
        without text or without sound times (finite numbers, the end not before the start) are left
        out and counted.

        Raises:
          InputError: the file cannot be used.
        """
        if video_id not in self._locations:
            return ()
        subtitles = []
        for where, row in self._rows(video_id, report):
            try:
                subtitle = _parse(row)
            except Mistake as mistake:
                report.add(MISTAKE, f"{where}: {mistake}")
                continue
            if subtitle.text.strip():
                subtitles.append(subtitle)
            else:
                report.add(_NO_TEXT, where)
        return tuple(subtitles)

    def files(self, video_id: str) -> list[Path]:
        """Returns the files of a video's subtitles, without opening them."""
        return [self._path] if video_id in self._locations else []

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these videos only."""
        locations = {i: self._locations[i] for i in ids if i in self._locations}
        return type(self)(self._path, locations)

    @abc.abstractmethod
    def _rows(self, video_id: str, report: Report) -> Iterator[tuple[str, object]]:
        """Yields the place of each subtitle, and `{"text", "start", "end"}` or its Mistake."""


def open_subtitles(path: Path | None, known: Collection[str] = ()) -> SubtitleReader:
    """Finds the videos that have subtitles.

    Args:
      path: one of

        a folder      with `ID.srt`, `ID.vtt` or `ID.csv` for each video; a language may follow the
                      id, as in `ID.en.vtt`. The columns of a CSV file are start, end and text.
        a .json file  `{ID: {"start": [...], "end": [...], "text": [...]}, ...}`, as HowTo100M's
                      captions are published; all of it is kept in memory
        another file  of JSON lines, one for each video:
                      `{"vid_name": ID, "sub": [{"text", "start", "end"}, ...]}`; only the offset of
                      each line is kept in memory
        None          for no subtitles

        Times are in seconds. Everything is in UTF-8.
      known: ids of videos. A file name that ends with a language but is one of these is an id.

    Raises:
      InputError: the subtitles cannot be used.
    """
    if path is None:
        return NoSubtitles()
    path = user_path(path)
    if path.is_dir():
        return _Folder(path, _list_files(path, known))
    if path.suffix == ".json":
        return _Captions(path, _load_captions(path))
    return _Lines(path, _index_lines(path))


def _parse(row: object) -> RawSubtitle:
    if isinstance(row, Mistake):
        raise row
    fields = as_object(row, "it")
    text = as_string(fields.get("text"), "text")
    start, end = (as_number(fields.get(name), name) for name in ("start", "end"))
    if not -LATEST < start <= end < LATEST:
        raise Mistake(f"start and end are {start} and {end} seconds")
    return RawSubtitle(text, start, end)


class _Lines(_Subtitles[tuple[int, int]]):
    """Reader of JSON lines; a location is the number of a line and the offset of its first byte."""

    def _rows(self, video_id: str, report: Report) -> Iterator[tuple[str, object]]:
        number, offset = self._locations[video_id]
        where = f"{self._path} line {number}"
        with reading_text(self._path), self._path.open("rb") as file:
            file.seek(offset)
            id_of_line, subtitles = _parse_line(_decode(file.readline()), where)
        if id_of_line != video_id:
            raise InputError(f"{self._path} was changed while it was in use: start again")
        for index, subtitle in enumerate(subtitles):
            yield f"{where}, subtitle {index}", subtitle


def _index_lines(path: Path) -> dict[str, tuple[int, int]]:
    locations: dict[str, tuple[int, int]] = {}
    offset = 0
    with reading_text(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = _decode(line)
            if text.strip():
                video_id, _ = _parse_line(text, f"{path} line {number}")
                if video_id in locations:
                    raise InputError(
                        f"{path} line {number}: {video_id} has line {locations[video_id][0]} "
                        "already: join the two"
                    )
                locations[video_id] = number, offset
            offset += len(line)
    return locations


def _decode(line: bytes) -> str:
    return line.decode("utf-8-sig")


def _parse_line(line: str, where: str) -> tuple[str, list[Any]]:
    """Returns the id and the unchecked subtitles of a video."""
    try:
        record = as_object(parse_json(line), "it")
        return identifier(record, "vid_name"), as_list(record.get("sub"), "sub")
    except Mistake as mistake:
        raise InputError(f"{where}: {mistake}: correct the line") from mistake


class _Captions(_Subtitles[dict[str, list[Any]]]):
    """Reader of one JSON object; a location is the value for a video."""

    def _rows(self, video_id: str, report: Report) -> Iterator[tuple[str, object]]:
        captions = self._locations[video_id]
        columns = (captions[name] for name in COLUMNS)
        for index, row in enumerate(zip(*columns, strict=True)):
            where = f"{self._path} video {video_id}, subtitle {index}"
            yield where, dict(zip(COLUMNS, row, strict=True))


def _load_captions(path: Path) -> dict[str, dict[str, list[Any]]]:
    with open_text(path) as file:
        try:
            content = as_object(parse_json(file.read()), "it")
        except Mistake as mistake:
            raise InputError(
                f"{path} cannot be used, {mistake}: it has to be one object of captions; call it "
                ".jsonl if it holds JSON lines"
            ) from mistake
    for video_id, value in content.items():
        try:
            captions = as_object(value, "it")
            columns = [as_list(captions.get(name), name) for name in COLUMNS]
        except Mistake as mistake:
            raise InputError(f"{path} video {video_id}: {mistake}: correct it") from mistake
        if len({len(column) for column in columns}) > 1:
            raise InputError(
                f"{path} video {video_id}: start, end and text have {[*map(len, columns)]} entries "
                "where they need as many as each other: correct it"
            )
    return content


class _Folder(_Subtitles[str]):
    """Reader of a folder; a location is the name of a file."""

    def files(self, video_id: str) -> list[Path]:
        """Returns the file of a video's subtitles, without opening it."""
        return [self._path / self._locations[video_id]] if video_id in self._locations else []

    def _rows(self, video_id: str, report: Report) -> Iterator[tuple[str, object]]:
        (file,) = self.files(video_id)
        return csv_rows(file) if file.suffix.lower() == ".csv" else cue_rows(file, report)


def _list_files(folder: Path, known: Collection[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, extension = os.path.splitext(entry.name)
            if extension.lower() not in (".srt", ".vtt", ".csv"):
                continue
            check_file_name(entry.name, folder)
            with_language = None if stem in known else _LANGUAGE.fullmatch(stem)
            video_id = with_language[1] if with_language else stem
            if video_id in names:
                raise InputError(
                    f"{folder} has both {names[video_id]} and {entry.name}, which are subtitles of "
                    f"{video_id}: leave one of them"
                )
            names[video_id] = entry.name
    if not names:
        raise InputError(f"{folder} holds no subtitles: it needs ID.srt, ID.vtt or ID.csv files")
    return names
