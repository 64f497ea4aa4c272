"""Annotations of How2R as they are published."""

import functools

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    AnnotationForm,
    csv_rows,
    moment_in_brackets,
)
from data.sources.json_files import check_span, required_text

_COLUMNS = ("video", "clip", "moment", "query")


def _parse(row: dict[str, str], where: str) -> Annotation:
    """Returns an annotation; its moment may have no length or end a little after its window."""
    moment = moment_in_brackets(row, "moment")
    window = check_span(*moment_in_brackets(row, "clip"), "clip")
    query = RawQuery(
        query_id=row["id"],
        clip_id=required_text(row, "video"),
        text=required_text(row, "query"),
        moments=(moment,),
    )
    return Annotation(query, where, in_video=True, window=window)


FORM = AnnotationForm(
    name="how2r",
    help="How2R",
    query_type="query",
    rows=functools.partial(csv_rows, columns=_COLUMNS),
    parse=_parse,
    whole_video=True,
)
