"""Annotations of TVR as they are published, and of How2R as VALUE publishes them."""

from data.sources.annotations.base import AnnotationForm, line_rows
from data.sources.annotations.rows import parse_query

FORM = AnnotationForm(
    name="tvr",
    help="TVR, DiDeMo written like it, or VALUE's How2R",
    query_type="query",
    rows=line_rows,
    parse=parse_query,
    fields=("desc_id", "desc"),
)
