"""Reads MicroDVD, whose times are numbers of frames: .sub files."""

import math
import re
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import STRAY, Cue, CueLine, Cues, numbered_lines

_EVENT = re.compile(r"\s*\{(\d{1,15})\}\{(\d{0,15})\}(.*)", re.DOTALL)
_DEFAULT = re.compile(r"\s*\{DEFAULT\}", re.IGNORECASE)
# `{y:i}`, `{C:$0000ff}`, and the slash of lines in italics.
_STYLE = re.compile(r"\{[A-Za-z]:[^{}]*\}|^\s*/", re.MULTILINE)


def read_microdvd(file: Path, text: str, report: Report) -> Cues:
    """Reads lines `{first frame}{last frame}text`, with `|` between lines of the text.

    The first of them says how many frames a second has, as `{1}{1}25`.

    Raises:
      InputError: the file does not say how many frames a second has.
    """
    rate = 0.0
    for number, line in numbered_lines(text):
        where = f"{file} line {number}"
        event = _EVENT.fullmatch(line)
        if event is None:
            if line.strip() and not _DEFAULT.match(line):
                report.add(STRAY, where)
            continue
        first, last, said = event.groups()
        if not rate:
            rate = _rate(said)
            if not rate:
                raise InputError(
                    f"{where} does not say how many frames a second has, which MicroDVD's times "
                    "are counted in: put a line {1}{1}25 before it, with the video's number"
                )
            continue
        if not last:
            yield where, Mistake("it has no last frame")
            continue
        lines = [part.strip() for part in _STYLE.sub("", said.replace("|", "\n")).split("\n")]
        shown = tuple(CueLine(part) for part in lines if part)
        yield where, Cue(int(first) / rate, int(last) / rate, shown)


def _rate(said: str) -> float:
    """Returns the frames of a second, 0 if the text is no such number."""
    try:
        rate = float(said.strip().replace(",", "."))
    except ValueError:
        return 0.0
    return rate if 1 <= rate < math.inf else 0.0
