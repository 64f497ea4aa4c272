"""Readers of annotation forms: for each, what its rows are and what a row says.

`NAME_rows(path)` finds where each row is and what it holds, or the Mistake in it.
`NAME(row, where)` makes an annotation of that, or raises Mistake. A null field is a missing one.
"""

import csv
import dataclasses
import re
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.errors import InputError
from data.schema import SPLIT_NAMES, RawQuery
from data.sources.json_files import (
    Mistake,
    as_number,
    as_span,
    check_span,
    json_lines,
    opened,
    text_if_any,
)

Rows = Iterator[tuple[str, object]]

_NUMBER = r"\s*([0-9]+\.?[0-9]*)\s*"
_BRACKETS = re.compile(rf"\[{_NUMBER}:{_NUMBER}\]")
_DASH = re.compile(f"{_NUMBER}-{_NUMBER}")


@dataclasses.dataclass(frozen=True)
class Annotation:
    """A query as a file of annotations has it, before it is known which clips there are.

    query: `clip_id` is the clip or video as the file calls it, '' if it does not tell.
    where: it stands, for messages: 'FILE line 7' or 'FILE entry 3'.
    split: 'train', 'validation' or 'test' if the file tells, else ''.
    duration: seconds of the clip or video, None if the file does not tell.
    in_video: `clip_id` is a whole video and moments count from its start, where a dataset's clips
      may be parts of it.
    window: first and last second of the part of that video that was shown to annotators, None if
      they saw all of it or the file does not tell.
    """

    query: RawQuery
    where: str
    split: str = ""
    duration: float | None = None
    in_video: bool = False
    window: tuple[float, float] | None = None


def line_rows(path: Path) -> Rows:
    """JSON lines, an object each."""
    for number, row in json_lines(path):
        yield f"{path} line {number}", row


def _moments(value: object) -> tuple[tuple[float, float], ...]:
    """One `[start, end]`, a list of them, or none."""
    if value is None:
        return ()
    several = isinstance(value, list) and value and isinstance(value[0], list)
    return tuple(as_span(span, "ts") for span in (value if several else [value]))


def _written_span(value: str, pattern: re.Pattern, name: str) -> tuple[float, float]:
    """A span written as `_BRACKETS` or `_DASH`."""
    match = pattern.fullmatch(value)
    if match is None:
        form = "[start:end]" if pattern is _BRACKETS else "start-end"
        raise Mistake(f"{name} has to be {form} in seconds, not {reprlib.repr(value)}")
    return check_span(float(match[1]), float(match[2]), name)


def _duration(row: dict) -> float | None:
    seconds = row.get("duration")
    return None if seconds is None else _positive(as_number(seconds, "duration"), "duration")


def _positive(seconds: float, name: str) -> float:
    if seconds <= 0:
        raise Mistake(f"{name} is {seconds}")
    return seconds


def _split(row: dict) -> str:
    """Our name of the split; '' where the field is missing."""
    name = text_if_any(row, "split")
    if name and name not in SPLIT_NAMES:
        raise Mistake(f"split has to be one of {', '.join(SPLIT_NAMES)}, not {reprlib.repr(name)}")
    return SPLIT_NAMES.get(name, "")


def _entries(path: Path, content: list, id_name: str) -> Rows:
    """The entries of a list; messages give the place of each from 0, and its id if it has one."""
    for index, entry in enumerate(content):
        entry_id = entry.get(id_name) if isinstance(entry, dict) else None
        known = isinstance(entry_id, int | str)
        yield f"{path} entry {index}" + (f" ({entry_id!r})" if known else ""), entry


def csv_rows(path: Path, columns: Sequence[str]) -> Rows:
    """Rows by `columns`, and an `id` from the file's name and the line: a CSV without a header.

    Raises:
      InputError: a quote that is not closed, and so takes the lines that follow for text.
    """
    with opened(path, newline="") as file:
        reader = csv.reader(file, strict=True)
        while True:
            first_line = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                if reader.line_num > first_line:
                    raise InputError(
                        f"{path} line {first_line} has a quote that is not closed where it should "
                        f"be (at line {reader.line_num}: {error}): correct it"
                    ) from error
                yield f"{path} line {first_line}", Mistake(f"it is not CSV ({error})")
                continue
            if values is None:
                return
            line = reader.line_num
            if len(values) == len(columns):
                row = dict(zip(columns, values, strict=True))
                yield f"{path} line {line}", row | {"id": f"{path.stem}-{line}"}
            elif values:
                what = f"it has {len(values)} columns instead of {len(columns)}"
                yield f"{path} line {line}", Mistake(what)
