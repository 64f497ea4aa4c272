"""Annotations of TVQA and TVQA+ as they are published; the boxes of TVQA+ are not read."""

import functools

from data.sources.annotations.base import AnnotationForm, lines_or_list_rows
from data.sources.annotations.rows import parse_question

_ANSWERS = ("a0", "a1", "a2", "a3", "a4")
NO_TIME = "questions without a usable time: kept without it"

FORM = AnnotationForm(
    name="tvqa",
    help="TVQA or TVQA+",
    query_type="question",
    rows=functools.partial(lines_or_list_rows, id_name="qid"),
    parse=functools.partial(parse_question, names=_ANSWERS),
    fields=("qid", "q", *_ANSWERS, "vid_name"),
    without_moment=NO_TIME,
)
