"""Annotations of QVHighlights as they are published, and others in their form.

Charades-STA and others are also distributed in these JSON lines. A query may have several windows;
the labels of highlights are not read.
"""

import functools
from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    AnnotationForm,
    lines_or_list_rows,
    optional_duration,
)
from data.sources.json_files import as_list, as_moment, identifier, required_text

NO_WINDOWS = "queries without windows: kept without them"


def _parse(row: dict[str, Any], where: str) -> Annotation:
    windows = row.get("relevant_windows")
    query = RawQuery(
        query_id=identifier(row, "qid"),
        clip_id=required_text(row, "vid"),
        text=required_text(row, "query"),
        moments=tuple(
            as_moment(window, "relevant_windows")
            for window in ([] if windows is None else as_list(windows, "relevant_windows"))
        ),
    )
    return Annotation(query, where, duration=optional_duration(row))


FORM = AnnotationForm(
    name="qvhighlights",
    help="QVHighlights, or Charades-STA in its JSON lines",
    query_type="query",
    rows=functools.partial(lines_or_list_rows, id_name="qid"),
    parse=_parse,
    fields=("qid", "query", "vid"),
    without_moment=NO_WINDOWS,
)
