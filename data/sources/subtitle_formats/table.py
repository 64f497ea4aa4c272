"""Reads tables: CSV files of seconds, and Whisper's .tsv files of milliseconds."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import (
    LINE_BREAK,
    Cue,
    Cues,
    cue_or_mistake,
    lines_of,
)

COLUMNS = ("start", "end", "text")


def read_csv(file: Path, text: str, report: Report) -> Cues:
    """Reads rows of the columns start, end (in seconds) and text, which the first line names.

    Raises:
      InputError: the file is not CSV, or lacks a column.
    """
    # Without strict, a quote that is never closed would take all following lines.
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not set(COLUMNS) <= set(reader.fieldnames or COLUMNS):
            raise InputError(
                f"{file} line 1 does not name the columns start, end and text: add them"
            )
        for row in reader:
            where = f"{file} line {reader.line_num}"
            if None in row:
                yield where, Mistake("it has more fields than line 1: put text in quotes")
            else:
                numbers = {name: _number(row[name]) for name in ("start", "end")}
                yield where, cue_or_mistake(row | numbers)
    except csv.Error as error:
        raise InputError(f"{file} line {reader.line_num}: {error}: correct it") from error


def _number(field: str | None) -> float | str | None:
    """Returns the number in a field, or the field if it is no number."""
    try:
        return float(field or "")
    except ValueError:
        return field


def read_tsv(file: Path, text: str, report: Report) -> Cues:
    """Reads rows of start, end (in milliseconds) and text with tabs between, as Whisper writes.

    Raises:
      InputError: the first line does not name these columns.
    """
    lines = _lines(text)
    columns = next(lines, (1, "\t".join(COLUMNS)))[1].strip().lower().split("\t")
    if columns != [*COLUMNS]:
        raise InputError(
            f"{file} line 1 does not name the columns start, end and text, with tabs between: "
            "correct it"
        )
    for number, line in lines:
        where = f"{file} line {number}"
        start, end, said = [*line.split("\t", 2), "", ""][:3]
        if not (start.strip().isdecimal() and end.strip().isdecimal()):
            yield where, Mistake(f"its times {start!r} and {end!r} are no milliseconds")
            continue
        begins, ends = (int(time.strip()[:18]) / 1000 for time in (start, end))
        yield where, Cue(begins, ends, lines_of(said))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of each line that is not blank."""
    return ((n, line) for n, line in enumerate(LINE_BREAK.split(text), 1) if line.strip())
