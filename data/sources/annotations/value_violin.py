"""Annotations of VIOLIN as VALUE publishes them."""

import re
from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm, line_rows
from data.sources.json_files import (
    Mistake,
    identifier,
    optional_text,
    optional_truth,
    required_text,
)


def _parse(row: dict[str, Any], where: str) -> Annotation:
    """Returns the annotation of a statement; those of a pair have a `paired_id` GROUP-N alike."""
    paired = optional_text(row, "paired_id")
    pair = re.fullmatch(r"(.+)-[0-9]+", paired, re.DOTALL)
    if paired and pair is None:
        raise Mistake(f"paired_id has to end in a hyphen and a number, which {paired!r} does not")
    query = RawQuery(
        query_id=identifier(row, "example_id"),
        clip_id=required_text(row, "vid_name"),
        text=required_text(row, "statement"),
        label=optional_truth(row, "answer"),
        group=pair[1] if pair else "",
    )
    return Annotation(query, where)


FORM = AnnotationForm(
    name="value_violin",
    help="VIOLIN as VALUE has it",
    query_type="statement",
    rows=line_rows,
    parse=_parse,
    fields=("example_id", "statement", "vid_name"),
)
