"""Annotations of VIOLIN as they are published."""

from pathlib import Path

from data.schema import RawQuery
from data.sources.annotations.base import Annotation, Rows, _split, line_rows
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    decode,
    identifier,
    opened,
    text,
    truth,
)


def violin_rows(path: Path) -> Rows:
    """The statements of VIOLIN from JSON lines, or in that form from its one object of clips."""
    with opened(path) as file:
        content = file.read()
    try:
        clips = decode(content)
    except Mistake:  # More than one line.
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
            here = f"{where}, statement {number}"
            if not isinstance(pair, list) or len(pair) != 2 or None in pair:
                yield here, Mistake("statement has to be a pair of a true and a false one")
                continue
            row = {"vid_name": clip_id, "split": clip.get("split")}
            for label, words in zip((1, 0), pair, strict=True):
                query_id = f"{clip_id}_{number}-{label}"
                yield here, row | {"desc_id": query_id, "desc": words, "label": label}


def violin(row: dict, where: str) -> Annotation:
    """A statement of VIOLIN; the last part of its id tells it from the other one of its pair."""
    query_id = identifier(row, "desc_id")
    group, _, which = query_id.rpartition("-")
    if not group or which not in ("0", "1"):
        raise Mistake(f"desc_id has to end in -0 or -1, which {query_id!r} does not")
    query = RawQuery(
        query_id=query_id,
        clip_id=text(row, "vid_name"),
        text=text(row, "desc"),
        label=truth(row, "label"),
        group=group,
    )
    return Annotation(query, where, split=_split(row))
