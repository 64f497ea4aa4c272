"""Annotations of TVQA as they are published."""

from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    AnnotationForm,
    line_rows,
    span_with_dash,
)
from data.sources.json_files import as_string, identifier, optional_index, required_text

_ANSWERS = ("a0", "a1", "a2", "a3", "a4")
NO_TIME = "questions without a usable time: kept without it"


def _parse(row: dict[str, Any], where: str) -> Annotation:
    answers = tuple(as_string(row.get(name), name) for name in _ANSWERS)
    span = row.get("ts")
    # Some published lines have the time 'nan-nan'.
    has_time = span is not None and "nan" not in str(span).lower()
    query = RawQuery(
        query_id=identifier(row, "qid"),
        clip_id=required_text(row, "vid_name"),
        text=required_text(row, "q"),
        moments=(span_with_dash(as_string(span, "ts"), "ts"),) if has_time else (),
        answers=answers,
        label=optional_index(row, "answer_idx", len(answers)),
    )
    return Annotation(query, where)


FORM = AnnotationForm(
    name="tvqa",
    help="TVQA",
    query_type="question",
    rows=line_rows,
    parse=_parse,
    without_moment=NO_TIME,
)
