"""Rows that several annotation forms have alike: queries, questions, and captions of clips."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    line_rows,
    moment_with_dash,
    optional_duration,
)
from data.sources.json_files import (
    Mistake,
    as_moment,
    as_string,
    identifier,
    optional_index,
    optional_text,
    required_text,
)

# A line, which is a moment or a clip, and one of its captions; None where captions are hidden.
CaptionRow = tuple[dict[str, Any], dict[str, Any] | None]


def parse_query(row: dict[str, Any], where: str) -> Annotation:
    """Returns the annotation of a query in TVR's form."""
    moments = _query_moments(row.get("ts"))
    if moments and row.get("vid_name") is None:
        raise Mistake("vid_name is missing where ts is not")
    query = RawQuery(
        query_id=identifier(row, "desc_id"),
        clip_id=optional_text(row, "vid_name"),
        text=required_text(row, "desc"),
        moments=moments,
        kind=optional_text(row, "type"),
    )
    return Annotation(query, where, duration=optional_duration(row))


def parse_clip_query(row: dict[str, Any], where: str) -> Annotation:
    """Returns the annotation of a query about a whole clip, in TVR's form without a moment."""
    _check_whole_clip(row)
    return parse_query(row, where)


def _check_whole_clip(row: dict[str, Any]) -> None:
    if row.get("ts") is not None:
        raise Mistake("ts is the time of a moment, where whole clips are described")


def _query_moments(value: object) -> tuple[tuple[float, float], ...]:
    """Returns one moment or none or, where DiDeMo is written like TVR, a list of moments."""
    match value:
        case None:
            return ()
        case [[*_], *_]:
            return tuple(as_moment(span, "ts") for span in value)
    return (as_moment(value, "ts"),)


def parse_question(row: dict[str, Any], where: str, names: Sequence[str]) -> Annotation:
    """Returns the annotation of a question in the form of TVQA or TVQA+.

    Args:
      row: the row.
      where: its place.
      names: fields of the answers, `a0` and so on.
    """
    if row.get(f"a{len(names)}") is not None:
        raise Mistake(f"a{len(names)} is one answer more than {len(names)}")
    answers = tuple(as_string(row.get(name), name) for name in names)
    right = row.get("answer_idx")
    if isinstance(right, str) and right.isdecimal():  # As in TVQA+.
        right = int(right)
    query = RawQuery(
        query_id=identifier(row, "qid"),
        clip_id=required_text(row, "vid_name"),
        text=required_text(row, "q"),
        moments=_question_moments(row.get("ts")),
        answers=answers,
        label=optional_index({"answer_idx": right}, "answer_idx", len(answers)),
    )
    return Annotation(query, where)


def _question_moments(value: object) -> tuple[tuple[float, float], ...]:
    """Returns the moment of a string 'START-END' or, in TVQA+, of a list `[start, end]`."""
    # Some published lines have the time 'nan-nan'.
    if value is None or "nan" in str(value).lower():
        return ()
    if isinstance(value, list):
        return (as_moment(value, "ts"),)
    return (moment_with_dash(as_string(value, "ts"), "ts"),)


def caption_rows(path: Path) -> Iterator[tuple[str, CaptionRow | Mistake]]:
    """Yields each line with each of its captions, in the list `descs`."""
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


def parse_caption(row: CaptionRow, where: str) -> Annotation:
    """Returns the annotation of a caption of a moment, in TVC's form."""
    return _caption(row, where, has_moment=True)


def parse_clip_caption(row: CaptionRow, where: str) -> Annotation:
    """Returns the annotation of a caption of a whole clip.

    A line is in TVC's form without a moment, or a query about the clip (`parse_clip_query`), which
    describes it as well.
    """
    clip, caption = row
    _check_whole_clip(clip)
    if caption is None and clip.get("desc") is not None:
        clip_id = required_text(clip, "vid_name")
        row = {"clip_id": clip_id} | clip, clip
    return _caption(row, where, has_moment=False)


def _caption(row: CaptionRow, where: str, *, has_moment: bool) -> Annotation:
    place, caption = row
    group = identifier(place, "clip_id")
    if caption is None:
        query_id, text, kind = f"clip-{group}", "", ""
    else:
        query_id = identifier(caption, "desc_id")
        text, kind = required_text(caption, "desc"), optional_text(caption, "type")
    query = RawQuery(
        query_id=query_id,
        clip_id=required_text(place, "vid_name"),
        text=text,
        moments=(as_moment(place.get("ts"), "ts"),) if has_moment else (),
        kind=kind,
        group=group,
    )
    return Annotation(query, where, duration=optional_duration(place))
