"""Annotations of TVQA and TVQA+ as they are published."""

import functools
from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    AnnotationForm,
    lines_or_list_rows,
    moment_with_dash,
)
from data.sources.json_files import (
    as_moment,
    as_string,
    identifier,
    optional_index,
    required_text,
)

_ANSWERS = ("a0", "a1", "a2", "a3", "a4")
NO_TIME = "questions without a usable time: kept without it"


def _parse(row: dict[str, Any], where: str) -> Annotation:
    """Returns the annotation of a question; the boxes of TVQA+ are not read."""
    answers = tuple(as_string(row.get(name), name) for name in _ANSWERS)
    right = row.get("answer_idx")
    if isinstance(right, str) and right.isdecimal():  # As in TVQA+.
        right = int(right)
    query = RawQuery(
        query_id=identifier(row, "qid"),
        clip_id=required_text(row, "vid_name"),
        text=required_text(row, "q"),
        moments=_moments(row.get("ts")),
        answers=answers,
        label=optional_index({"answer_idx": right}, "answer_idx", len(answers)),
    )
    return Annotation(query, where)


def _moments(value: object) -> tuple[tuple[float, float], ...]:
    """Returns the moment of a string 'START-END' or, in TVQA+, of a list `[start, end]`."""
    # Some published lines have the time 'nan-nan'.
    if value is None or "nan" in str(value).lower():
        return ()
    if isinstance(value, list):
        return (as_moment(value, "ts"),)
    return (moment_with_dash(as_string(value, "ts"), "ts"),)


FORM = AnnotationForm(
    name="tvqa",
    help="TVQA or TVQA+",
    query_type="question",
    rows=functools.partial(lines_or_list_rows, id_name="qid"),
    parse=_parse,
    fields=("qid", "q", *_ANSWERS, "vid_name"),
    without_moment=NO_TIME,
)
