"""Reads SubRip and WebVTT, as the formats are defined and as people and programs write them."""

import re
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import FORMATS, STRAY, Cue, CueLine, Cues, numbered_lines
from data.sources.subtitle_formats.clock import seconds, times

_EXAMPLE = "00:01:02,500 --> 00:01:04,000"
# Beginnings of the blocks of a WebVTT file that are not shown to viewers.
_HIDDEN_BLOCKS = ("NOTE", "STYLE", "REGION", "WEBVTT")
# `<i>`, `</c.red>`, `<v Name>`, and SubRip's `{\an8}`.
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}")
# The time at which the word after it is said.
_WORD_TIME = re.compile(r"<([\d:.]+)>")
# The number of a subtitle, before its times: `2`, `2.`, `#2`, `[2]`.
_NUMBER = re.compile(r"\s*(?:[#(\[]\s*)?(\d+)\s*(?:[.):\]]\s*)?")
# The number of a line, its text, and the times or the mistake in them if it has such.
_Read = tuple[int, str, tuple[float, float] | Mistake | None]


def read_webvtt(file: Path, text: str, report: Report) -> Cues:
    """Reads WebVTT, in which an empty line ends a subtitle.

    Raises:
      InputError: none of the subtitles can be read.
    """
    return _cues(file, _webvtt_blocks(file, _with_times(text), report))


def read_subrip(file: Path, text: str, report: Report) -> Cues:
    """Reads SubRip, in which a subtitle may have empty lines and ends where the next one begins.

    Raises:
      InputError: there is text but no subtitle, or none can be read.
    """
    return _cues(file, _subrip_blocks(file, _with_times(text), report))


def _with_times(text: str) -> list[_Read]:
    lines: list[_Read] = []
    before = ""
    for number, line in numbered_lines(text):
        begins = not before.strip() or _NUMBER.fullmatch(before) is not None
        lines.append((number, line, times(line, begins)))
        before = line
    return lines


def _webvtt_blocks(file: Path, lines: Iterable[_Read], report: Report) -> Iterator[list[_Read]]:
    """Yields the lines of each subtitle, the times first."""
    block: list[_Read] = []
    # Lines of a block that may be the identifier of a subtitle, or are outside of subtitles.
    before: list[_Read] = []

    def count_stray(lines: list[_Read]) -> None:
        if lines and not lines[0][1].startswith(_HIDDEN_BLOCKS):
            report.add(STRAY, f"{file} line {lines[0][0]}")

    for read in lines:
        _, line, found = read
        if found is not None:
            if block:
                yield block
            if len(before) > 1:
                count_stray(before)
            block, before = [read], []
        elif not line:
            if block:
                yield block
            count_stray(before)
            block, before = [], []
        elif block:
            block.append(read)
        elif line.strip() or before:
            before.append(read)
    count_stray(before)
    if block:
        yield block


def _subrip_blocks(file: Path, lines: list[_Read], report: Report) -> Iterator[list[_Read]]:
    """Yields the lines of each subtitle, the times first."""
    block: list[_Read] = []
    stray = False
    last_number = 0
    for index, read in enumerate(lines):
        number, line, found = read
        if found is not None:
            if block:
                yield block
            block = [read]
            continue
        counted = _NUMBER.fullmatch(line)
        if counted and _is_number_of_next(lines, index, int(counted[1][:18]) == last_number + 1):
            last_number = int(counted[1][:18])
            continue
        if block:
            block.append(read)
        elif line.strip() and not stray and (index + 1 == len(lines) or not lines[index + 1][2]):
            report.add(STRAY, f"{file} line {number}")
        stray = bool(line.strip())
    if block:
        yield block
    elif first := next((line for _, line, _ in lines if line.strip()), ""):
        raise InputError(
            f"{file} has text but no subtitles (it begins with {reprlib.repr(first.strip())}): "
            f"write times as {_EXAMPLE} before each, or save it in a format that is read: {FORMATS}"
        )


def _is_number_of_next(lines: list[_Read], index: int, is_expected: bool) -> bool:
    """Returns whether a line with a number is the number of the subtitle after it.

    Files in which every line is followed by an empty one have the times two lines below; there, a
    number in the text is told from it by the order of the numbers.
    """
    following = lines[index + 1 : index + 3]
    if following and following[0][2] is not None:
        return True
    is_apart = len(following) == 2 and following[1][2] is not None and not following[0][1].strip()
    return is_apart and is_expected and (index == 0 or not lines[index - 1][1].strip())


def _cues(file: Path, blocks: Iterable[list[_Read]]) -> Cues:
    mistakes: list[tuple[int, Mistake]] = []
    any_sound = False
    for (number, _, found), *text in blocks:
        if isinstance(found, Mistake):
            mistakes.append((number, found))
            if not any_sound:
                continue
        for earlier, mistake in mistakes:
            yield f"{file} line {earlier}", mistake
        mistakes.clear()
        if isinstance(found, tuple):
            any_sound = True
            lines = _text_lines("\n".join(line for _, line, _ in text))
            yield f"{file} line {number}", Cue(*found, lines)
    if mistakes:
        number, mistake = mistakes[0]
        raise InputError(
            f"none of the {len(mistakes)} subtitles of {file} can be read; of the first, in line "
            f"{number}, {mistake}: write times as {_EXAMPLE}"
        )


def _text_lines(raw: str) -> tuple[CueLine, ...]:
    """Returns the lines of a subtitle without tags, and without empty ones.

    Character references such as `&amp;` are kept, and replaced when the text is tokenized.
    """
    lines = []
    for line in _TAG.sub("", raw).split("\n"):
        # Every second part is a time.
        parts = _WORD_TIME.split(line)
        text = "".join(parts[::2]).strip()
        if text:
            first = _word_time(parts[1]) if len(parts) > 1 and not parts[0].strip() else None
            last = _word_time(parts[-2]) if len(parts) > 1 and not parts[-1].strip() else None
            lines.append(CueLine(text, len(parts) > 1, first, last, len(parts[0].split())))
    return tuple(lines)


def _word_time(clock: str) -> float | None:
    try:
        return seconds(clock)
    except Mistake:
        return None
