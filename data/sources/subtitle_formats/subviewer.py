"""Reads SBV and SubViewer, whose times are on one line with a comma: .sbv and .sub files."""

import re
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import FORMATS, STRAY, Cue, CueLine, Cues, numbered_lines
from data.sources.subtitle_formats.clock import seconds

_CLOCK = r"(\d+:\d+:\d+[.:]\d+)"
TIMES = re.compile(rf"\s*{_CLOCK}\s*,\s*{_CLOCK}\s*")
_BREAK = re.compile(r"\[br\]", re.IGNORECASE)


def read_subviewer(file: Path, text: str, report: Report) -> Cues:
    """Reads blocks of a line `0:00:01.000,0:00:03.000` and of text, with empty lines between.

    Raises:
      InputError: there are no such blocks.
    """
    where, span, lines = "", None, list[CueLine]()
    stray = any_cue = False
    # The empty line ends the last block.
    for number, line in [*numbered_lines(text), (0, "")]:
        found = TIMES.fullmatch(line)
        if span is not None and (found or not line.strip()):
            yield where, _cue(span, lines)
            span = None
        if found:
            where, span, lines, any_cue = f"{file} line {number}", found.group(1, 2), [], True
        elif span is not None:
            lines += [CueLine(part.strip()) for part in _BREAK.split(line) if part.strip()]
        # SubViewer's header is in brackets.
        elif line.strip() and not stray and not line.lstrip().startswith("["):
            report.add(STRAY, f"{file} line {number}")
        stray = bool(line.strip())
    if not any_cue:
        raise InputError(
            f"{file} has no line of times as 0:01:02.500,0:01:04.000: add them, or save it in a "
            f"format that is read: {FORMATS}"
        )


def _cue(span: tuple[str, ...], lines: list[CueLine]) -> Cue | Mistake:
    try:
        start, end = map(seconds, span)
    except Mistake as mistake:
        return mistake
    return Cue(start, end, tuple(lines))
