"""Types that the readers of subtitles return, and the parts that they share."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from data.report import Report
from data.sources.json_files import Mistake, as_number, as_object, as_string
from data.text import MARK

# What is read, for messages.
FORMATS = (
    "SubRip, WebVTT, ASS, SSA, MicroDVD, SubViewer, SBV, TTML, JSON of YouTube or Whisper, CSV, TSV"
)
STRAY = "text outside of subtitles: left out"
# Seconds, about thirty years: larger numbers are no times in videos, and may not fit float32.
LATEST = 1e9
# Some programs turn the `\r\n` of a file into `\r\r\n`.
LINE_BREAK = re.compile(r"(?<!\r)\r*\n|\r")
_JOINT = re.compile(rf"(?<!{MARK}){MARK}+(?=\s*(?:\d+\s*$|\d+:\d|WEBVTT))")


class CueLine(NamedTuple):
    """A line of a subtitle, without tags.

    timed: whether the file has times of the line's words.
    start, end: seconds of its first and last word, None where the file does not say.
    untimed: number of words before the first that has a time.
    """

    text: str
    timed: bool = False
    start: float | None = None
    end: float | None = None
    untimed: int = 0


@dataclasses.dataclass(frozen=True)
class Cue:
    """A subtitle as it is shown: its lines, from `start` to `end` in seconds."""

    start: float
    end: float
    lines: tuple[CueLine, ...]

    @property
    def text(self) -> str:
        """The lines, joined."""
        return " ".join(line.text for line in self.lines)

    def spoken(self) -> "Cue":
        """Returns the same with the times of its first and last word, where they are known."""
        start = _within(self, self.lines[0].start if self.lines else None, self.start)
        end = _within(self, self.lines[-1].end if self.lines else None, self.end)
        return self if start > end else dataclasses.replace(self, start=start, end=end)


# The place of each subtitle, and the subtitle or the mistake in it.
Cues = Iterator[tuple[str, Cue | Mistake]]
# Reads the subtitles in the text of a file; `report` counts text outside of them.
ReadText = Callable[[Path, str, Report], Cues]


def _within(cue: Cue, time: float | None, otherwise: float) -> float:
    return time if time is not None and cue.start <= time <= cue.end else otherwise


def cue_of(row: object) -> Cue:
    """Returns the subtitle of an object `{"text", "start", "end"}`.

    Raises:
      Mistake: a field is missing or of another type.
    """
    fields = as_object(row, "it")
    text = as_string(fields.get("text"), "text").replace(MARK, "")
    start, end = (as_number(fields.get(name), name) for name in ("start", "end"))
    return Cue(start, end, (CueLine(text),))


def cue_or_mistake(row: object) -> Cue | Mistake:
    """Returns the subtitle of an object, or the mistake in it; see `cue_of`."""
    try:
        return cue_of(row)
    except Mistake as mistake:
        return mistake


def lines_of(text: str) -> tuple[CueLine, ...]:
    """Returns the lines of a text that have words, each without spaces around it."""
    return tuple(CueLine(line.strip()) for line in LINE_BREAK.split(text) if line.strip())


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Returns the number and the text of each line.

    A byte order mark before the beginning of a subtitle is where another file was joined to one
    that did not end with a line break: the two lines have one number.
    """
    return [
        (number, part.replace(MARK, ""))
        for number, line in enumerate(LINE_BREAK.split(text), 1)
        for part in (_JOINT.split(line) if MARK in line else [line])
    ]
