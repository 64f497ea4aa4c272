"""Annotations of DiDeMo as they are published."""

from pathlib import Path

from data.errors import InputError
from data.schema import RawQuery
from data.sources.annotations.base import Annotation, Rows, _entries
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    as_span,
    check_span,
    identifier,
    json_file,
    text,
)

DIDEMO_SECONDS = 5.0  # of each segment that its annotators chose from


def didemo_rows(path: Path) -> Rows:
    content = json_file(path)
    if not isinstance(content, list):
        raise InputError(
            f"{path} is no list, which is how DiDeMo is published: correct it or name another form"
        )
    return _entries(path, content, "annotation_id")


def didemo(row: object, where: str) -> Annotation:
    """An entry of DiDeMo; a moment is its first and its last segment, for each annotator."""
    row = as_object(row, "it")
    times = as_list(row.get("times"), "times")
    if not times:
        raise Mistake("times is empty")
    query = RawQuery(
        query_id=identifier(row, "annotation_id"),
        clip_id=text(row, "video"),
        text=text(row, "description"),
        moments=tuple(map(_segments, times)),
    )
    return Annotation(query, where)


def _segments(value: object) -> tuple[float, float]:
    """Seconds of `[first, last]` segment."""
    first, last = as_span(value, "times")
    if not first.is_integer() or not last.is_integer():
        raise Mistake(f"times has to hold whole numbers of segments, not {value!r}")
    return check_span(first * DIDEMO_SECONDS, (last + 1) * DIDEMO_SECONDS, "times")
