"""Annotations of DiDeMo as they are published."""

from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError
from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm, list_rows
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    as_span,
    check_span,
    identifier,
    read_json,
    required_text,
)

# Seconds of each segment; annotators chose the first and the last segment of a moment.
_SEGMENT_SECONDS = 5.0


def _rows(path: Path) -> Iterator[tuple[str, object]]:
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(
            f"{path} is no list, which is how DiDeMo is published: correct it or name another form"
        )
    return list_rows(path, content, "annotation_id")


def _parse(row: object, where: str) -> Annotation:
    entry = as_object(row, "it")
    times = as_list(entry.get("times"), "times")
    if not times:
        raise Mistake("times is empty")
    query = RawQuery(
        query_id=identifier(entry, "annotation_id"),
        clip_id=required_text(entry, "video"),
        text=required_text(entry, "description"),
        moments=tuple(map(_moment, times)),
    )
    return Annotation(query, where)


def _moment(value: object) -> tuple[float, float]:
    """Returns start and end in seconds of a pair of segments `[first, last]`."""
    first, last = as_span(value, "times")
    if not first.is_integer() or not last.is_integer():
        raise Mistake(f"times has to hold whole numbers of segments, not {value!r}")
    return check_span(first * _SEGMENT_SECONDS, (last + 1) * _SEGMENT_SECONDS, "times")


FORM = AnnotationForm(
    name="didemo",
    help="DiDeMo",
    query_type="query",
    rows=_rows,
    parse=_parse,
    fields=("annotation_id", "video", "description", "times"),
)
