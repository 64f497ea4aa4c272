"""Subtitles of videos: JSON lines, one JSON object, or a folder with a file for each video."""

import abc
import io
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Generic, Self, TypeVar

from data.arguments import user_path
from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.base import SubtitleReader
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    identifier,
    parse_json,
)
from data.sources.rolling import without_repeats
from data.sources.subtitle_formats.base import LATEST, Cue, Cues, cue_or_mistake
from data.sources.subtitle_formats.registry import reader_of
from data.sources.subtitle_formats.table import COLUMNS
from data.sources.subtitle_names import list_files
from data.sources.subtitle_text import check_encoding, decode_subtitles
from data.text import decode, marked_encoding, reading_text, without_marks

MISTAKE = "subtitles with a mistake: left out"
_NO_TEXT = "subtitles without text: left out"
_UNREADABLE = "files of subtitles that cannot be read: their videos are kept without subtitles"
_DETECTED = "files of subtitles that are not UTF-8: read in the encoding that they seem to have"
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

    def settings(self) -> list[str | None]:
        """Returns nothing that reading depends on."""
        return []

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns the same reader."""
        return self


def sound_subtitles(cues: Cues, report: Report) -> tuple[RawSubtitle, ...]:
    """Returns subtitles that have text and sound times, without what rolling captions repeat.

    All that is left out is counted.
    """
    sound = []
    for where, cue in cues:
        if isinstance(cue, Cue) and not -LATEST < cue.start <= cue.end < LATEST:
            cue = Mistake(f"start and end are {cue.start} and {cue.end} seconds")
        if isinstance(cue, Mistake):
            report.add(MISTAKE, f"{where}: {cue}")
        elif cue.text.strip():
            sound.append((where, cue))
        else:
            report.add(_NO_TEXT, where)
    kept = without_repeats(sound, report)
    return tuple(RawSubtitle(cue.text, cue.start, cue.end) for cue in kept)


class _Subtitles(abc.ABC, Generic[Location]):
    """A `SubtitleReader` of a file or a folder.

    Nothing stays open: a reader can be pickled and used by any process.
    """

    def __init__(self, path: Path, locations: Mapping[str, Location], encoding: str | None):
        """Takes the location in `path` of each video's subtitles, and the encoding of files."""
        self._path = path
        self._locations = locations
        self._encoding = encoding

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have subtitles."""
        return set(self._locations)

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns the subtitles of a video, in the file's order, and none if it has none.

        Times are kept as in the file, even those before 0 and after the end of the video. Subtitles
        without text or without sound times (finite numbers, the end not before the start) are left
        out, and so is what rolling captions repeat; all of it is counted.

        Raises:
          InputError: the file cannot be used.
        """
        if video_id not in self._locations:
            return ()
        return sound_subtitles(self._rows(video_id, report), report)

    def files(self, video_id: str) -> list[Path]:
        """Returns the files of a video's subtitles, without opening them."""
        return [self._path] if video_id in self._locations else []

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these videos only."""
        locations = {i: self._locations[i] for i in ids if i in self._locations}
        return type(self)(self._path, locations, self._encoding)

    def settings(self) -> list[str | None]:
        """Returns the encoding, on which reading depends."""
        return [self._encoding]

    @abc.abstractmethod
    def _rows(self, video_id: str, report: Report) -> Cues:
        """Yields the place of each subtitle, and the subtitle or the mistake in it."""


def open_subtitles(
    path: Path | None,
    known: Collection[str] = (),
    encoding: str | None = None,
    report: Report | None = None,
) -> SubtitleReader:
    """Finds the videos that have subtitles.

    Args:
      path: one of

        a folder      with a file for each video, as `ID.srt`, in one of the formats of
                      `data.sources.subtitle_formats`; a language may follow the id, as in
                      `ID.en.vtt`
        a .json file  `{ID: {"start": [...], "end": [...], "text": [...]}, ...}`, as HowTo100M's
                      captions are published; all of it is kept in memory
        another file  of JSON lines, one for each video:
                      `{"vid_name": ID, "sub": [{"text", "start", "end"}, ...]}`; only the offset of
                      each line is kept in memory
        None          for no subtitles

      known: ids of videos. A file name that ends with a language but is one of these is an id.
      encoding: the encoding of files that are neither UTF-8 nor have a byte order mark. If it is
        None, that of files in a folder is detected.
      report: counts the files in the folder that are not read.

    Raises:
      InputError: the subtitles cannot be used.
    """
    if encoding is not None:
        check_encoding(encoding)
    if path is None:
        return NoSubtitles()
    path = user_path(path)
    if path.is_dir():
        return _Folder(path, list_files(path, known, report or Report()), encoding)
    if path.suffix == ".json":
        return _Captions(path, _load_captions(path, encoding), encoding)
    return _Lines(path, _index_lines(path, encoding), encoding)


def read_subtitle_file(
    file: Path, report: Report, encoding: str | None = None
) -> tuple[RawSubtitle, ...]:
    """Returns the subtitles of a file for one video, in one of the formats that folders may hold.

    What is left out is counted, and so is a file that cannot be used, which has no subtitles then.
    """
    return _Folder(file.parent, {file.name: file.name}, encoding).read(file.name, report)


class _Lines(_Subtitles[tuple[int, int]]):
    """Reader of JSON lines; a location is the number of a line and the offset of its first byte."""

    def _rows(self, video_id: str, report: Report) -> Cues:
        number, offset = self._locations[video_id]
        where = f"{self._path} line {number}"
        with reading_text(self._path), self._path.open("rb") as file:
            name = _encoding_of(file, self._encoding)
            file.seek(offset)
            line = io.TextIOWrapper(file, name, newline="\n").readline()
        id_of_line, subtitles = _parse_line(without_marks(line), where)
        if id_of_line != video_id:
            raise InputError(f"{self._path} was changed while it was in use: start again")
        for index, subtitle in enumerate(subtitles):
            yield f"{where}, subtitle {index}", cue_or_mistake(subtitle)


def _encoding_of(file: IO[bytes], encoding: str | None) -> str:
    """Returns the encoding of an open file, the one that is given if no mark names another."""
    return marked_encoding(file.read(4)) or encoding or "utf-8"


def _index_lines(path: Path, encoding: str | None) -> dict[str, tuple[int, int]]:
    locations: dict[str, tuple[int, int]] = {}
    offset = 0
    with reading_text(path), path.open("rb") as file:
        name = _encoding_of(file, encoding)
        file.seek(0)
        for number, line in enumerate(io.TextIOWrapper(file, name, newline="\n"), 1):
            text = without_marks(line)
            if text.strip():
                video_id, _ = _parse_line(text, f"{path} line {number}")
                if video_id in locations:
                    raise InputError(
                        f"{path} line {number}: {video_id} has line {locations[video_id][0]} "
                        "already: join the two"
                    )
                locations[video_id] = number, offset
            offset += len(line.encode(name))
    if offset != path.stat().st_size:
        raise InputError(f"{path} is in {name}, whose lines cannot be found: convert it to UTF-8")
    return locations


def _parse_line(line: str, where: str) -> tuple[str, list[Any]]:
    """Returns the id and the unchecked subtitles of a video."""
    try:
        record = as_object(parse_json(line), "it")
        return identifier(record, "vid_name"), as_list(record.get("sub"), "sub")
    except Mistake as mistake:
        raise InputError(f"{where}: {mistake}: correct the line") from mistake


class _Captions(_Subtitles[dict[str, list[Any]]]):
    """Reader of one JSON object; a location is the value for a video."""

    def _rows(self, video_id: str, report: Report) -> Cues:
        captions = self._locations[video_id]
        columns = (captions[name] for name in COLUMNS)
        for index, row in enumerate(zip(*columns, strict=True)):
            where = f"{self._path} video {video_id}, subtitle {index}"
            yield where, cue_or_mistake(dict(zip(COLUMNS, row, strict=True)))


def _load_captions(path: Path, encoding: str | None) -> dict[str, dict[str, list[Any]]]:
    with reading_text(path):
        text = decode(path.read_bytes(), encoding or "utf-8")
    try:
        content = as_object(parse_json(text), "it")
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

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns the subtitles of a video, none if their file cannot be used, which is counted."""
        of_file = Report()
        try:
            subtitles = super().read(video_id, of_file)
        except InputError as error:
            report.add(_UNREADABLE, str(error), is_listed=True)
            return ()
        report.merge([of_file])
        return subtitles

    def files(self, video_id: str) -> list[Path]:
        """Returns the file of a video's subtitles, without opening it."""
        return [self._path / self._locations[video_id]] if video_id in self._locations else []

    def _rows(self, video_id: str, report: Report) -> Cues:
        (file,) = self.files(video_id)
        with reading_text(file):
            content = file.read_bytes()
            try:
                text, detected = decode_subtitles(content, self._encoding)
            except InputError as error:
                raise InputError(f"{file}: {error}") from error
        if detected:
            report.add(_DETECTED, f"{file}: {detected}", is_listed=True)
        if b"\0" in content and not content.strip(b"\0 \t\r\n"):
            raise InputError(f"{file} holds nothing but NULs: copy it again")
        if text.strip():
            yield from reader_of(file, text)(file, text, report)
