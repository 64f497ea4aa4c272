"""Annotations in the plain form: JSON lines with the fields of `data.schema.RawQuery`."""

import difflib
from pathlib import Path

from data.schema import RawQuery
from data.sources.annotations.base import Annotation, Rows
from data.sources.json_files import (
    Mistake,
    as_list,
    as_number,
    as_string,
    check_span,
    choice,
    identifier,
    json_lines,
    text,
    text_if_any,
    truth,
)

# Fields of the plain form: of every row, and of a row of each type.
_COMMON_FIELDS = ("id", "video", "start", "end", "kind")
_TYPE_FIELDS = {
    "query": ("text",),
    "question": ("text", "answers", "answer"),
    "statement": ("text", "true", "group"),
    "caption": ("caption", "group"),
}
_FIELDS = {*_COMMON_FIELDS}.union(*_TYPE_FIELDS.values())


def _plain_rows(path: Path) -> Rows:
    """JSON lines of our own form, each with an id."""
    for number, row in json_lines(path):
        if isinstance(row, dict) and row.get("id") is None:
            row["id"] = f"{path.stem}-{number}"
        yield f"{path} line {number}", row


def _plain_type(row: dict) -> str:
    """The query type of a line of our own form, by the fields it has."""
    by_field = {"answers": "question", "true": "statement", "caption": "caption"}
    return next((name for field, name in by_field.items() if field in row), "query")


def _plain(row: dict, where: str) -> Annotation:
    row_type = _plain_type(row)
    for name in row:
        if name not in _FIELDS:
            # A misspelt field would be lost without a word.
            nearest = difflib.get_close_matches(name, sorted(_FIELDS), 1, cutoff=0)
            raise Mistake(f"{name!r} is no field (did you mean {nearest[0]!r}?)")
        if name not in _COMMON_FIELDS + _TYPE_FIELDS[row_type]:
            raise Mistake(f"{name} is no field of a {row_type}")
    moments = ()
    if row.get("start") is not None or row.get("end") is not None:
        if row.get("video") is None:
            raise Mistake("video is missing where start and end are not")
        start, end = (as_number(row.get(name), name) for name in ("start", "end"))
        moments = (check_span(start, end, "start to end"),)
    answers = ()
    if row_type == "question":
        answers = tuple(as_string(a, "answers") for a in as_list(row["answers"], "answers"))
        if len(answers) < 2:
            raise Mistake("answers has to hold two or more")
    query = RawQuery(
        query_id=identifier(row, "id"),
        clip_id=text_if_any(row, "video"),
        text=text_if_any(row, "caption") if row_type == "caption" else text(row, "text"),
        moments=moments,
        kind=text_if_any(row, "kind"),
        answers=answers,
        label=choice(row, "answer", len(answers)) if answers else truth(row, "true"),
        group="" if row.get("group") is None else identifier(row, "group"),
    )
    return Annotation(query, where, in_video=True)
