"""Annotations of How2QA as VALUE publishes them: TVQA's form with four answers."""

import functools

from data.sources.annotations.base import AnnotationForm, line_rows
from data.sources.annotations.rows import parse_question

_ANSWERS = ("a0", "a1", "a2", "a3")

FORM = AnnotationForm(
    name="value_how2qa",
    help="How2QA as VALUE has it",
    query_type="question",
    rows=line_rows,
    parse=functools.partial(parse_question, names=_ANSWERS),
    fields=("qid", "q", *_ANSWERS, "vid_name"),
)
