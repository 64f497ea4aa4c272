"""Annotations of TVC as they are published."""

from collections.abc import Iterator
from pathlib import Path
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

# A line, which is a moment, and one of its captions; None where captions are hidden.
Row = tuple[dict[str, Any], dict[str, Any] | None]


def _rows(path: Path) -> Iterator[tuple[str, Row | Mistake]]:
    """Yields each line with each of its captions."""
    for where, row in line_rows(path):
        if isinstance(row, Mistake):
            yield where, row
        elif row.get("descs") is None:
            yield where, (row, None)
        elif not isinstance(row["descs"], list) or not row["descs"]:
            yield where, Mistake("descs has to be a list of captions, or left out")
        else:
            for index, caption in enumerate(row["descs"]):
                if isinstance(caption, dict):
                    yield f"{where}, descs {index}", (row, caption)
                else:
                    mistake = Mistake("descs has to hold objects in braces")
                    yield f"{where}, descs {index}", mistake


def _parse(row: Row, where: str) -> Annotation:
    moment, caption = row
    group = identifier(moment, "clip_id")
    if caption is None:
        query_id, text, kind = f"clip-{group}", "", ""
    else:
        query_id = identifier(caption, "desc_id")
        text, kind = required_text(caption, "desc"), optional_text(caption, "type")
    query = RawQuery(
        query_id=query_id,
        clip_id=required_text(moment, "vid_name"),
        text=text,
        moments=(as_moment(moment.get("ts"), "ts"),),
        kind=kind,
        group=group,
    )
    return Annotation(query, where, duration=optional_duration(moment))


FORM = AnnotationForm(
    name="tvc",
    help="TVC",
    query_type="caption",
    rows=_rows,
    parse=_parse,
    fields=("clip_id", "vid_name", "ts"),
)
