"""Reads subtitles in JSON: YouTube's json3, and what programs that recognise speech write."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.report import Report
from data.sources.json_files import (
    Mistake,
    as_list,
    as_number,
    as_object,
    as_string,
    parse_json,
)
from data.sources.subtitle_formats.base import FORMATS, Cue, Cues, cue_of, lines_of
from data.sources.subtitle_formats.events import ScreenEvent, cues_of_events


def read_json_subtitles(file: Path, text: str, report: Report) -> Cues:
    """Reads subtitles in one of these forms, told apart by their fields:

    `{"events": [{"tStartMs", "dDurationMs", "segs"}, ...]}`  YouTube's json3
    `{"segments": [{"start", "end", "text", "words"}, ...]}`  Whisper, in seconds
    `{"transcription": [{"offsets", "text"}, ...]}`           whisper.cpp, in milliseconds
    `{"chunks": [{"timestamp", "text"}, ...]}`                Transformers, in seconds
    `[{"start", "end" or "duration", "text"}, ...]`           lists, in seconds

    Raises:
      InputError: it is not JSON, or of another form.
    """
    try:
        content = parse_json(text)
        if isinstance(content, list):
            return _rows(file, content, _segment)
        fields = as_object(content, "it")
        for name, read in _FORMS.items():
            if name in fields:
                return read(file, as_list(fields[name], name))
    except Mistake as mistake:
        raise InputError(f"{file} cannot be used, {mistake}: correct it") from mistake
    raise InputError(
        f"{file} is JSON, but no subtitles: it has none of the fields {', '.join(_FORMS)}; "
        f"save it in a format that is read: {FORMATS}"
    )


def _rows(file: Path, rows: list[Any], parse: Any) -> Cues:
    for index, row in enumerate(rows):
        try:
            yield f"{file} entry {index}", parse(as_object(row, "it"))
        except Mistake as mistake:
            yield f"{file} entry {index}", mistake


def _segment(row: Mapping[str, Any]) -> Cue:
    if "end" not in row and "duration" in row:
        start = as_number(row.get("start"), "start")
        row = {**row, "end": start + as_number(row["duration"], "duration")}
    cue = cue_of(row)
    lines = list(lines_of(cue.text))
    words = row.get("words")
    if lines and isinstance(words, list) and words:
        lines = [line._replace(timed=True) for line in lines]
        lines[0] = lines[0]._replace(start=_word_time(words[0], "start"))
        lines[-1] = lines[-1]._replace(end=_word_time(words[-1], "end"))
    return Cue(cue.start, cue.end, tuple(lines))


def _word_time(word: object, name: str) -> float | None:
    """Returns a time of a word, None if it has none: WhisperX does not place numerals."""
    try:
        return as_number(as_object(word, "word").get(name), name)
    except Mistake:
        return None


def _whisper_cpp(row: Mapping[str, Any]) -> Cue:
    offsets = as_object(row.get("offsets"), "offsets")
    start, end = (as_number(offsets.get(name), name) / 1000 for name in ("from", "to"))
    return Cue(start, end, lines_of(as_string(row.get("text"), "text")))


def _chunk(row: Mapping[str, Any]) -> Cue:
    start, end = [*as_list(row.get("timestamp"), "timestamp"), None, None][:2]
    return cue_of({"start": start, "end": end, "text": str(row.get("text", "")).strip()})


def _json3(file: Path, rows: list[Any]) -> Cues:
    return cues_of_events(_events(file, rows))


def _events(file: Path, rows: list[Any]) -> Iterator[tuple[str, ScreenEvent | Mistake]]:
    for index, row in enumerate(rows):
        where = f"{file} event {index}"
        try:
            fields = as_object(row, "it")
            # Events without text describe windows and pens.
            segments = [as_object(s, "segs") for s in as_list(fields.get("segs", []), "segs")]
            text = "".join(as_string(s.get("utf8", ""), "utf8") for s in segments)
            if not text:
                continue
            start = as_number(fields.get("tStartMs"), "tStartMs")
            end = start + as_number(fields.get("dDurationMs"), "dDurationMs")
            yield where, ScreenEvent(start / 1000, end / 1000, text, bool(fields.get("aAppend")))
        except Mistake as mistake:
            yield where, mistake


_FORMS = {
    "events": _json3,
    "segments": lambda file, rows: _rows(file, rows, _segment),
    "transcription": lambda file, rows: _rows(file, rows, _whisper_cpp),
    "chunks": lambda file, rows: _rows(file, rows, _chunk),
}
