"""The plain form of annotations, for videos of one's own.

It is a file of JSON lines, each one of

  {"text": "a dog jumps"}                                          a query
  {"text": "what jumps?", "answers": ["cat", "dog"], "answer": 1}  a question; 0 is the first answer
  {"text": "a dog jumps", "true": true, "group": "pair 7"}         a statement
  {"caption": "a dog jumps", "group": "moment 3"}                  a caption

with those of these fields that are known:

  "video": "film"             the video that it is about; left out in a test set
  "start": 3.2, "end": 7.5    seconds from the start of the whole video
  "id": "q1"                  by default the file's name and the line: queries-12
  "kind": "v"                 needs what is seen (v), what is said (t) or both (vt)

"answer" and "group" may be left out; "true" and "caption" may be null where they are hidden. All
lines of a file are of one type.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm
from data.sources.json_files import (
    Mistake,
    as_list,
    as_number,
    as_string,
    check_moment,
    identifier,
    optional_index,
    optional_text,
    optional_truth,
    read_json_lines,
    required_text,
)

# Fields of every row, and fields of a row of each type.
_COMMON_FIELDS = ("id", "video", "start", "end", "kind")
_TYPE_FIELDS = {
    "query": ("text",),
    "question": ("text", "answers", "answer"),
    "statement": ("text", "true", "group"),
    "caption": ("caption", "group"),
}
_FIELDS = {*_COMMON_FIELDS}.union(*_TYPE_FIELDS.values())


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Mistake]]:
    for number, row in read_json_lines(path):
        if isinstance(row, dict) and row.get("id") is None:
            row["id"] = f"{path.stem}-{number}"
        yield f"{path} line {number}", row


def _type_of(row: dict[str, Any]) -> str:
    """Returns the query type that a row's fields belong to."""
    by_field = {"answers": "question", "true": "statement", "caption": "caption"}
    return next((name for field, name in by_field.items() if field in row), "query")


def _parse(row: dict[str, Any], where: str) -> Annotation:
    row_type = _type_of(row)
    _check_fields(row, row_type)
    answers: tuple[str, ...] = ()
    if row_type == "question":
        answers = tuple(as_string(a, "answers") for a in as_list(row["answers"], "answers"))
        if len(answers) < 2:
            raise Mistake("answers has to hold two or more")
    query = RawQuery(
        query_id=identifier(row, "id"),
        clip_id=optional_text(row, "video"),
        text=(
            optional_text(row, "caption") if row_type == "caption" else required_text(row, "text")
        ),
        moments=_moments(row),
        kind=optional_text(row, "kind"),
        answers=answers,
        label=(
            optional_index(row, "answer", len(answers)) if answers else optional_truth(row, "true")
        ),
        group="" if row.get("group") is None else identifier(row, "group"),
    )
    return Annotation(query, where, in_video=True)


def _check_fields(row: dict[str, Any], row_type: str) -> None:
    """Raises Mistake for a field that is unknown, because a misspelt one would be ignored."""
    for name in row:
        if name not in _FIELDS:
            nearest = difflib.get_close_matches(name, sorted(_FIELDS), 1, cutoff=0)
            raise Mistake(f"{name!r} is no field (did you mean {nearest[0]!r}?)")
        if name not in _COMMON_FIELDS + _TYPE_FIELDS[row_type]:
            raise Mistake(f"{name} is no field of a {row_type}")


def _moments(row: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    if row.get("start") is None and row.get("end") is None:
        return ()
    if row.get("video") is None:
        raise Mistake("video is missing where start and end are not")
    start, end = (as_number(row.get(name), name) for name in ("start", "end"))
    return (check_moment(start, end, "start to end"),)


FORM = AnnotationForm(
    name="plain",
    help="JSON lines of our own",
    query_type=_type_of,
    rows=_rows,
    parse=_parse,
    fields=("text or caption",),
    whole_video=True,
)
