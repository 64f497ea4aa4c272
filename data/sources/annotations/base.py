"""Annotation forms: their type, and the row readers and checks that several of them share."""

import csv
import dataclasses
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from data.errors import InputError
from data.schema import SPLIT_NAMES, RawQuery
from data.sources.json_files import (
    Mistake,
    as_object,
    as_positive,
    check_moment,
    optional_text,
    parse_json,
    read_json_lines,
)
from data.text import open_text

Row = TypeVar("Row")

# A number of seconds in text, as a group of a regular expression.
NUMBER = r"\s*(-?[0-9]+\.?[0-9]*)\s*"


@dataclasses.dataclass(frozen=True)
class Annotation:
    """A row of an annotation file, before it is known which clips the dataset has.

    query: the query; its `clip_id` is the clip or video as the file names it, '' if unknown.
    where: place of the row for messages, such as 'FILE line 7' or 'FILE entry 3'.
    split: 'train', 'validation' or 'test', '' if the file does not say.
    duration: seconds of the clip or video, None if the file does not say.
    in_video: True if `clip_id` is a video that may be cut into clips, and moments count from the
      start of that video.
    window: start and end in seconds of the part of the video that annotators saw, None if they saw
      all of it or the file does not say.
    """

    query: RawQuery
    where: str
    split: str = ""
    duration: float | None = None
    in_video: bool = False
    window: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class AnnotationForm(Generic[Row]):
    """A form of annotation files: everything that the program knows about it.

    In all forms a null field counts as a missing one.

    name: the form's name in commands.
    help: a few words on the files, for the command's help.
    query_type: one of `data.schema.QUERY_TYPES`, or a function that returns the one of a row if the
      form has rows of several types.
    rows: returns the place of each row of a file for messages, and the row or the `Mistake` in it.
      It raises InputError for a file that is not of this form.
    parse: returns the annotation of a row and its place, or raises `Mistake`.
    fields: fields that every row has to have, for messages; empty if rows have no named fields.
    whole_video: True if the rows are about whole videos, which are cut into clips by default.
    without_moment: reason under which rows without a moment are counted; '' if these are ordinary.
    """

    name: str
    help: str
    query_type: str | Callable[[Row], str]
    rows: Callable[[Path], Iterator[tuple[str, Row | Mistake]]]
    parse: Callable[[Row, str], Annotation]
    fields: Sequence[str] = ()
    whole_video: bool = False
    without_moment: str = ""

    def type_of(self, row: Row) -> str:
        """Returns the query type of a row."""
        return self.query_type if isinstance(self.query_type, str) else self.query_type(row)


def line_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Mistake]]:
    """Yields the place and the object of each line of a file of JSON lines."""
    for number, row in read_json_lines(path):
        yield f"{path} line {number}", row


def lines_or_list_rows(path: Path, id_name: str) -> Iterator[tuple[str, dict[str, Any] | Mistake]]:
    """Yields the place and the object of each JSON line or, in a file of one list, of each entry.

    Args:
      id_name: see `list_rows`.
    """
    with open_text(path) as file:
        first = next(filter(str.strip, file), "").lstrip()
        content = first + file.read() if first.startswith("[") else ""
    try:
        entries = parse_json(content) if content else None
    except Mistake:  # The file has more than one line.
        entries = None
    if not isinstance(entries, list):
        yield from line_rows(path)
        return
    for where, entry in list_rows(path, entries, id_name):
        try:
            yield where, as_object(entry, "it")
        except Mistake as mistake:
            yield where, mistake


def list_rows(path: Path, entries: Sequence[object], id_name: str) -> Iterator[tuple[str, object]]:
    """Yields the place and the value of each entry of a list.

    Args:
      id_name: the field with an entry's id, which its place includes.
    """
    for index, entry in enumerate(entries):
        entry_id = entry.get(id_name) if isinstance(entry, dict) else None
        label = f" ({entry_id!r})" if isinstance(entry_id, int | str) else ""
        yield f"{path} entry {index}{label}", entry


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str] | Mistake]]:
    """Yields the place and the values by column of each row of a CSV file without a header.

    The values include an `id` made of the file's name and the line.

    Raises:
      InputError: a quote is not closed, so the following lines are read as part of its text.
    """
    with open_text(path, newline="") as file:
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
                message = f"it has {len(values)} columns instead of {len(columns)}"
                yield f"{path} line {line}", Mistake(message)


def moment_in_brackets(row: Mapping[str, str], name: str) -> tuple[float, float]:
    """Returns the moment in seconds of a field `[start:end]`."""
    return _moment_in(row[name], name, rf"\[{NUMBER}:{NUMBER}\]", "[start:end]")


def moment_with_dash(value: str, name: str) -> tuple[float, float]:
    """Returns the moment in seconds of a string `start-end`."""
    return _moment_in(value, name, f"{NUMBER}-{NUMBER}", "start-end")


def _moment_in(value: str, name: str, pattern: str, description: str) -> tuple[float, float]:
    match = re.fullmatch(pattern, value)
    if match is None:
        raise Mistake(f"{name} has to be {description} in seconds, not {reprlib.repr(value)}")
    return check_moment(float(match[1]), float(match[2]), name)


def optional_duration(row: Mapping[str, Any]) -> float | None:
    """Returns the field `duration` in seconds, None if it is missing."""
    seconds = row.get("duration")
    return None if seconds is None else as_positive(seconds, "duration")


def optional_split(row: Mapping[str, Any]) -> str:
    """Returns our name of the split in the field `split`, '' if it is missing."""
    name = optional_text(row, "split")
    if name and name not in SPLIT_NAMES:
        raise Mistake(f"split has to be one of {', '.join(SPLIT_NAMES)}, not {reprlib.repr(name)}")
    return SPLIT_NAMES.get(name, "")
