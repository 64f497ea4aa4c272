"""Reads the subtitles of one video from a SubRip, WebVTT or CSV file."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import webvtt

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake, open_text

COLUMNS = ("start", "end", "text")
_STRAY = "text outside of subtitles: left out"
# Some programs turn the `\r\n` of a file into `\r\r\n`.
_LINE_BREAK = re.compile(r"\r*\n|\r")
_ARROW = "-->"
# Beginnings of the blocks of a WebVTT file that are not shown to viewers.
_HIDDEN_BLOCKS = ("NOTE", "STYLE", "REGION")
# `<i>`, `</c.red>`, `<v Name>`, the times of single words `<00:00:01.000>`, and SubRip's `{\an8}`.
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")


def csv_rows(file: Path) -> Iterator[tuple[str, object]]:
    """Yields the place and the fields of each row of a CSV file, or the Mistake in it.

    Raises:
      InputError: the file is not CSV, or lacks a column.
    """
    with open_text(file, newline="") as lines:
        # Without strict, a quote that is never closed would take all following lines.
        reader = csv.DictReader(lines, strict=True)
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
                    yield where, row | {name: _number(row[name]) for name in ("start", "end")}
        except csv.Error as error:
            raise InputError(f"{file} line {reader.line_num}: {error}: correct it") from error


def _number(field: str | None) -> float | str | None:
    """Returns the number in a field, or the field if it is no number."""
    try:
        return float(field or "")
    except ValueError:
        return field


def cue_rows(file: Path, report: Report) -> Iterator[tuple[str, object]]:
    """Yields the cues of a WebVTT file or, if it does not begin like one, of a SubRip file.

    The parser does not report the cues that it skips, so each cue's identifier is replaced by the
    number of its line.

    Args:
      report: counts text outside of cues, which is left out.

    Raises:
      InputError: the file has text but no cues.
    """
    with open_text(file, newline="") as content:
        lines, first = _LINE_BREAK.split(content.read()), 1
    if not any(line.strip() for line in lines):
        return
    if lines[0].startswith("WEBVTT"):
        lines[0] = "WEBVTT"  # Without the title.
    else:
        lines, first = ["WEBVTT", "", *_subrip_as_webvtt(lines)], -1
    numbered: list[str] = []
    timings: dict[int, str] = {}
    neighbours = zip([lines[0], *lines[:-1]], lines, [*lines[1:], ""], strict=True)
    for number, (before, line, after) in enumerate(neighbours, first):
        if _ARROW in line:
            timings[number] = line.strip()
            # SubRip has a comma before the milliseconds.
            numbered += ["", str(number), line.replace(",", ".")]
            continue
        starts_block = line.strip() and not before and _ARROW not in after
        if starts_block and not line.startswith(_HIDDEN_BLOCKS):
            report.add(_STRAY, f"{file} line {number}")
        numbered.append(line)
    captions = webvtt.from_string("\n".join(numbered)).captions
    cues = {int(cue.identifier or 0): cue for cue in captions}
    if not cues and (timings or first < 1):
        raise InputError(f"{file} has text but no subtitles: save it as SubRip or WebVTT")
    for number, timing in timings.items():
        row = _row(cues[number]) if number in cues else Mistake(f"its times are {timing!r}")
        yield f"{file} line {number}", row


def _subrip_as_webvtt(lines: list[str]) -> Iterator[str]:
    """Yields lines of WebVTT, in which an empty line ends a subtitle.

    In SubRip a subtitle may have empty lines, and ends where the number of the next one is.
    """
    within = False
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        within |= _ARROW in line
        if line.strip().isdigit() and _ARROW in after:
            yield ""
        else:
            yield line or (" " if within else "")


def _row(cue: webvtt.Caption) -> dict[str, str | float]:
    """Returns the fields of a cue, its lines joined.

    Character references such as `&amp;` are kept, and replaced when the text is tokenized.
    """
    lines = (line.strip() for line in _TAG.sub("", cue.raw_text).split("\n"))
    return {
        "text": " ".join(line for line in lines if line),
        "start": cue.start_time.in_milliseconds() / 1000,
        "end": cue.end_time.in_milliseconds() / 1000,
    }
