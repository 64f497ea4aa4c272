"""Annotations of VIOLIN, as they are published and as the original implementation has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm, line_rows, optional_split
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    identifier,
    optional_truth,
    parse_json,
    required_text,
)
from data.text import read_text


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Mistake]]:
    """Yields statements from JSON lines of them, or from the published object of clips."""
    try:
        clips = parse_json(read_text(path))
    except Mistake:  # The file has more than one line.
        clips = None
    if not isinstance(clips, dict) or "desc_id" in clips:
        yield from line_rows(path)
        return
    for index, (clip_id, clip) in enumerate(clips.items()):
        where = f"{path} entry {index} ({clip_id!r})"
        try:
            pairs = as_list(as_object(clip, "it").get("statement"), "statement")
        except Mistake as mistake:
            yield where, mistake
            continue
        for number, pair in enumerate(pairs):
            where_pair = f"{where}, statement {number}"
            if not isinstance(pair, list) or len(pair) != 2 or None in pair:
                yield where_pair, Mistake("statement has to be a pair of a true and a false one")
                continue
            row = {"vid_name": clip_id, "split": clip.get("split")}
            for label, statement in zip((1, 0), pair, strict=True):
                query_id = f"{clip_id}_{number}-{label}"
                yield where_pair, row | {"desc_id": query_id, "desc": statement, "label": label}


def _parse(row: dict[str, Any], where: str) -> Annotation:
    """Returns the annotation of a statement; ids of a pair are `GROUP-0` and `GROUP-1`."""
    query_id = identifier(row, "desc_id")
    group, _, number = query_id.rpartition("-")
    if not group or number not in ("0", "1"):
        raise Mistake(f"desc_id has to end in -0 or -1, which {query_id!r} does not")
    query = RawQuery(
        query_id=query_id,
        clip_id=required_text(row, "vid_name"),
        text=required_text(row, "desc"),
        label=optional_truth(row, "label"),
        group=group,
    )
    return Annotation(query, where, split=optional_split(row))


FORM = AnnotationForm(
    name="violin",
    help="VIOLIN, as published or as HERO has it",
    query_type="statement",
    rows=_rows,
    parse=_parse,
    fields=("desc_id", "desc", "vid_name"),
)
