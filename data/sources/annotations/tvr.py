"""Annotations of TVR, TVC and TVQA as they are published."""

from pathlib import Path

from data.schema import RawQuery
from data.sources.annotations.base import (
    _DASH,
    Annotation,
    Rows,
    _duration,
    _moments,
    _written_span,
    line_rows,
)
from data.sources.json_files import (
    Mistake,
    as_span,
    as_string,
    choice,
    identifier,
    text,
    text_if_any,
)


def tvr(row: dict, where: str) -> Annotation:
    """A line of TVR; `ts` is one moment or, where DiDeMo is written this way, a list of them."""
    moments = _moments(row.get("ts"))
    if moments and row.get("vid_name") is None:
        raise Mistake("vid_name is missing where ts is not")
    query = RawQuery(
        query_id=identifier(row, "desc_id"),
        clip_id=text_if_any(row, "vid_name"),
        text=text(row, "desc"),
        moments=moments,
        kind=text_if_any(row, "type"),
    )
    return Annotation(query, where, duration=_duration(row))


def tvc_rows(path: Path) -> Rows:
    """Pairs of a line of TVC and one of its captions, None where captions are kept back."""
    for where, row in line_rows(path):
        if isinstance(row, Mistake):
            yield where, row
        elif row.get("descs") is None:
            yield where, (row, None)
        elif not isinstance(row["descs"], list) or not row["descs"]:
            yield where, Mistake("descs has to be a list of captions, or left out")
        else:
            for index, caption in enumerate(row["descs"]):
                known = isinstance(caption, dict)
                what = (row, caption) if known else Mistake("descs has to hold objects in braces")
                yield f"{where}, descs {index}", what


def tvc(row: tuple[dict, dict | None], where: str) -> Annotation:
    """A caption of TVC, or a moment without one; captions of a moment are a group."""
    moment, caption = row
    group = identifier(moment, "clip_id")
    if caption is None:
        query_id, words, kind = f"clip-{group}", "", ""
    else:
        query_id = identifier(caption, "desc_id")
        words, kind = text(caption, "desc"), text_if_any(caption, "type")
    query = RawQuery(
        query_id=query_id,
        clip_id=text(moment, "vid_name"),
        text=words,
        moments=(as_span(moment.get("ts"), "ts"),),
        kind=kind,
        group=group,
    )
    return Annotation(query, where, duration=_duration(moment))


def tvqa(row: dict, where: str) -> Annotation:
    """A line of TVQA; `ts` is a string, and in some published lines 'nan-nan'."""
    answers = tuple(as_string(row.get(name), name) for name in ("a0", "a1", "a2", "a3", "a4"))
    span = row.get("ts")
    known = span is not None and "nan" not in str(span).lower()
    query = RawQuery(
        query_id=identifier(row, "qid"),
        clip_id=text(row, "vid_name"),
        text=text(row, "q"),
        moments=(_written_span(as_string(span, "ts"), _DASH, "ts"),) if known else (),
        answers=answers,
        label=choice(row, "answer_idx", len(answers)),
    )
    return Annotation(query, where)
