"""Subtitles of videos: JSON lines, one JSON object, or a folder of SubRip, WebVTT and CSV files."""

import csv
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import webvtt

from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources import json_files
from data.sources.json_files import Mistake, check_name

MISTAKE = "subtitles with a mistake: left out"
_NO_TEXT = "subtitles without text: left out"
_STRAY = "text outside of subtitles: left out"
_COLUMNS = ("start", "end", "text")
# Seconds, some thirty years: a larger number is no time in a video, and float32 may not hold it.
LATEST = 1e9
# `ID.en`, `ID.pt-BR`, `ID.zh_Hans`: a file's name without its extension, where it tells a language.
_LANGUAGE = re.compile(r"(.+)\.[a-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
# Some programs turn the `\r\n` of a file into `\r\r\n`.
_LINE_BREAK = re.compile(r"\r*\n|\r")
_ARROW = "-->"
# Blocks of a WebVTT file that are not meant to be read by those who watch.
_UNSEEN = ("NOTE", "STYLE", "REGION")
# `<i>`, `</c.red>`, `<v Name>`, the times of single words `<00:00:01.000>`, and SubRip's `{\an8}`.
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")


class Subtitles:
    """Timed sentences of videos; `open_subtitles` makes them.

    Nothing is kept open: an object can be pickled and used by any process.
    """

    def __init__(self, path: Path | None, places: Mapping[str, object]):
        """places: where in `path` each video's subtitles are, in the way of each subclass."""
        self._path = path
        self._places = places

    def ids(self) -> set[str]:
        """Of the videos that have subtitles."""
        return set(self._places)

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """The subtitles of a video, in the file's order; none if it has none.

        Times are kept as the file has them, before 0 and after the end of the video, too. One that
        has no text, or no sound times (finite numbers, the end not before the start), is left out.

        Raises:
          InputError: the file cannot be used.
        """
        if video_id not in self._places:
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
        """The files that a video's subtitles are in; they are not opened."""
        return [self._path] if video_id in self._places else []

    def narrowed(self, ids: Iterable[str]) -> "Subtitles":
        """The same subtitles, of these videos."""
        return type(self)(self._path, {i: self._places[i] for i in ids if i in self._places})

    def _rows(self, video_id: str, report: Report) -> Iterator[tuple[str, object]]:
        """Where each subtitle is, and `{"text", "start", "end"}` or the Mistake in its place."""
        raise NotImplementedError


def open_subtitles(path: Path | None, known: Collection[str] = ()) -> Subtitles:
    """Finds out which videos have subtitles; InputError if these cannot be used.

    Args:
      path: one of

        a folder      with `ID.srt`, `ID.vtt` or `ID.csv` for each video; a language may follow the
                      id, as in `ID.en.vtt`. The columns of a CSV file are start, end and text.
        a .json file  `{ID: {"start": [...], "end": [...], "text": [...]}, ...}`, as HowTo100M's
                      captions are published; all of it is kept in memory
        another file  of JSON lines: `{"vid_name": ID, "sub": [{"text", "start", "end"}, ...]}`, a
                      line for each video; which line is what is kept in memory
        None          nobody speaks

        Times are in seconds. All is in UTF-8.
      known: ids of videos. A file name that ends as with a language, and is one of them, is an id.
    """
    if path is None:
        return Subtitles(None, {})
    if path.is_dir():
        return _Folder(path, _list_files(path, known))
    if path.suffix == ".json":
        return _Captions(path, _load_captions(path))
    return _Lines(path, _index_lines(path))


def _parse(row: object) -> RawSubtitle:
    if isinstance(row, Mistake):
        raise row
    row = json_files.as_object(row, "it")
    text = json_files.as_string(row.get("text"), "text")
    start, end = (json_files.as_number(row.get(name), name) for name in ("start", "end"))
    if not -LATEST < start <= end < LATEST:
        raise Mistake(f"start and end are {start} and {end} seconds")
    return RawSubtitle(text, start, end)


class _Lines(Subtitles):
    """JSON lines; a place is the number of a line and the byte that it begins with."""

    def _rows(self, video_id, report):
        number, offset = self._places[video_id]
        where = f"{self._path} line {number}"
        with json_files.opened(self._path) as file:
            file.buffer.seek(offset)
            found, subtitles = _parse_line(_decode(file.buffer.readline()), where)
        if found != video_id:
            raise InputError(f"{self._path} was changed while it was in use: start again")
        for index, subtitle in enumerate(subtitles):
            yield f"{where}, subtitle {index}", subtitle


def _index_lines(path: Path) -> dict[str, tuple[int, int]]:
    places, offset = {}, 0
    with json_files.opened(path) as file:
        for number, line in enumerate(file.buffer, 1):
            text = _decode(line)
            if text.strip():
                video_id, _ = _parse_line(text, f"{path} line {number}")
                if video_id in places:
                    raise InputError(
                        f"{path} line {number}: {video_id} has line {places[video_id][0]} already: "
                        "join the two"
                    )
                places[video_id] = number, offset
            offset += len(line)
    return places


def _decode(line: bytes) -> str:
    return line.decode("utf-8-sig")


def _parse_line(line: str, where: str) -> tuple[str, list]:
    """Id and subtitles of a video, these as they are."""
    try:
        record = json_files.as_object(json_files.decode(line), "it")
        video_id = json_files.identifier(record, "vid_name")
        return video_id, json_files.as_list(record.get("sub"), "sub")
    except Mistake as mistake:
        raise InputError(f"{where}: {mistake}: correct the line") from mistake


class _Captions(Subtitles):
    """One JSON object; a place is what that has of a video."""

    def _rows(self, video_id, report):
        captions = self._places[video_id]
        columns = (captions[name] for name in _COLUMNS)
        for index, row in enumerate(zip(*columns, strict=True)):
            where = f"{self._path} video {video_id}, subtitle {index}"
            yield where, dict(zip(_COLUMNS, row, strict=True))


def _load_captions(path: Path) -> dict[str, dict[str, list]]:
    with json_files.opened(path) as file:
        try:
            content = json_files.as_object(json_files.decode(file.read()), "it")
        except Mistake as mistake:
            raise InputError(
                f"{path} cannot be used, {mistake}: it has to be one object of captions; call it "
                ".jsonl if it holds JSON lines"
            ) from mistake
    for video_id, captions in content.items():
        try:
            captions = json_files.as_object(captions, "it")
            columns = [json_files.as_list(captions.get(name), name) for name in _COLUMNS]
        except Mistake as mistake:
            raise InputError(f"{path} video {video_id}: {mistake}: correct it") from mistake
        if len({len(column) for column in columns}) > 1:
            raise InputError(
                f"{path} video {video_id}: start, end and text have {[*map(len, columns)]} entries "
                "where they need as many as each other: correct it"
            )
    return content


class _Folder(Subtitles):
    """A folder; a place is the name of a file."""

    def files(self, video_id: str) -> list[Path]:
        return [self._path / self._places[video_id]] if video_id in self._places else []

    def _rows(self, video_id, report):
        (file,) = self.files(video_id)
        return _csv_rows(file) if file.suffix.lower() == ".csv" else _cue_rows(file, report)


def _list_files(folder: Path, known: Collection[str]) -> dict[str, str]:
    names = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, extension = os.path.splitext(entry.name)
            if extension.lower() not in (".srt", ".vtt", ".csv"):
                continue
            check_name(entry.name, folder)
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


def _csv_rows(file: Path) -> Iterator[tuple[str, object]]:
    with json_files.opened(file, newline="") as lines:
        # Strict: a quotation mark that is never closed would swallow all that follows.
        reader = csv.DictReader(lines, strict=True)
        try:
            if not set(_COLUMNS) <= set(reader.fieldnames or _COLUMNS):
                raise InputError(f"{file} line 1 has to name the columns start, end and text")
            for row in reader:
                where = f"{file} line {reader.line_num}"
                if None in row:
                    yield where, Mistake("it has more fields than line 1: put text in quotes")
                else:
                    yield where, row | {name: _number(row[name]) for name in ("start", "end")}
        except csv.Error as error:
            raise InputError(f"{file} line {reader.line_num}: {error}: correct it") from error


def _number(field: str | None) -> float | str | None:
    """The number in a field, or the field if there is none."""
    try:
        return float(field or "")
    except ValueError:
        return field


def _cue_rows(file: Path, report: Report) -> Iterator[tuple[str, object]]:
    """The cues of a WebVTT file or, if it does not begin like one, of a SubRip file.

    The parser does not tell which cues it passes over. So each is given the number of its line for
    a name, in place of any that it has.
    """
    with json_files.opened(file, newline="") as content:
        lines, first = _LINE_BREAK.split(content.read()), 1
    if not any(line.strip() for line in lines):
        return
    if lines[0].startswith("WEBVTT"):
        lines[0] = "WEBVTT"  # Whatever its title is.
    else:
        lines, first = ["WEBVTT", "", *_subrip_as_webvtt(lines)], -1
    named, timings = [], {}
    neighbours = zip([lines[0], *lines[:-1]], lines, [*lines[1:], ""], strict=True)
    for number, (before, line, after) in enumerate(neighbours, first):
        if _ARROW in line:
            timings[number] = line.strip()
            # SubRip has a comma before the milliseconds.
            named += ["", str(number), line.replace(",", ".")]
            continue
        if line.strip() and not before and _ARROW not in after and not line.startswith(_UNSEEN):
            report.add(_STRAY, f"{file} line {number}")
        named.append(line)
    cues = {int(cue.identifier): cue for cue in webvtt.from_string("\n".join(named)).captions}
    if not cues and (timings or first < 1):
        raise InputError(f"{file} has text but no subtitles: save it as SubRip or WebVTT")
    for number, timing in timings.items():
        row = _row(cues[number]) if number in cues else Mistake(f"its times are {timing!r}")
        yield f"{file} line {number}", row


def _subrip_as_webvtt(lines: list[str]) -> Iterator[str]:
    """Line by line: in SubRip not an empty line ends a subtitle but the number of the next."""
    within = False
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        within |= _ARROW in line
        if line.strip().isdigit() and _ARROW in after:
            yield ""
        else:
            yield line or (" " if within else "")


def _row(cue: webvtt.Caption) -> dict[str, str | float]:
    """Lines are joined; character references like `&amp;` stay, the tokenizer knows them."""
    lines = (line.strip() for line in _TAG.sub("", cue.raw_text).split("\n"))
    return {
        "text": " ".join(line for line in lines if line),
        "start": cue.start_time.in_milliseconds() / 1000,
        "end": cue.end_time.in_milliseconds() / 1000,
    }
