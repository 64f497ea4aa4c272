"""Annotations of YC2R as VALUE publishes them: sentences about whole clips."""

from data.sources.annotations.base import AnnotationForm, line_rows
from data.sources.annotations.rows import parse_clip_query

FORM = AnnotationForm(
    name="yc2r",
    help="YC2R",
    query_type="query",
    rows=line_rows,
    parse=parse_clip_query,
    fields=("desc_id", "desc"),
)
