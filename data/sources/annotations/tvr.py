"""Annotations of TVR as they are published."""

from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    AnnotationForm,
    line_rows,
    optional_duration,
)
from data.sources.json_files import (
    Mistake,
    as_moment,
    identifier,
    optional_text,
    required_text,
)


def _parse(row: dict[str, Any], where: str) -> Annotation:
    moments = _moments(row.get("ts"))
    if moments and row.get("vid_name") is None:
        raise Mistake("vid_name is missing where ts is not")
    query = RawQuery(
        query_id=identifier(row, "desc_id"),
        clip_id=optional_text(row, "vid_name"),
        text=required_text(row, "desc"),
        moments=moments,
        kind=optional_text(row, "type"),
    )
    return Annotation(query, where, duration=optional_duration(row))


def _moments(value: object) -> tuple[tuple[float, float], ...]:
    """Returns one moment or none or, where DiDeMo is written like TVR, a list of moments."""
    match value:
        case None:
            return ()
        case [[*_], *_]:
            return tuple(as_moment(span, "ts") for span in value)
    return (as_moment(value, "ts"),)


FORM = AnnotationForm(
    name="tvr",
    help="TVR, or DiDeMo written like it",
    query_type="query",
    rows=line_rows,
    parse=_parse,
    fields=("desc_id", "desc"),
)
