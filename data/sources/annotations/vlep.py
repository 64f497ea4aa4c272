"""Annotations of VLEP as VALUE publishes them: which of two events comes next."""

from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm, line_rows, optional_split
from data.sources.json_files import (
    Mistake,
    as_list,
    as_string,
    identifier,
    optional_index,
    required_text,
)


def _parse(row: dict[str, Any], where: str) -> Annotation:
    """Returns a question without a text, whose answers are the events.

    Its time `ts` is not read: it is that of the premise, and not when an answer is shown.
    """
    events = tuple(as_string(event, "events") for event in as_list(row.get("events"), "events"))
    if len(events) < 2:
        raise Mistake(f"events has to hold two or more, not {len(events)}")
    query = RawQuery(
        query_id=identifier(row, "example_id"),
        clip_id=required_text(row, "vid_name"),
        text="",
        answers=events,
        label=optional_index(row, "answer", len(events)),
    )
    return Annotation(query, where, split=optional_split(row))


FORM = AnnotationForm(
    name="vlep",
    help="VLEP",
    query_type="question",
    rows=line_rows,
    parse=_parse,
    fields=("example_id", "events", "vid_name"),
)
