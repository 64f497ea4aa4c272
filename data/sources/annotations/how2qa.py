"""Annotations of How2QA as they are published."""

import functools

from data.schema import RawQuery
from data.sources.annotations.base import (
    Annotation,
    AnnotationForm,
    csv_rows,
    moment_in_brackets,
)
from data.sources.json_files import required_text
from data.sources.windows import PUBLISHED_CLIP_SECONDS

_COLUMNS = ("video", "moment", "wrong 1", "wrong 2", "wrong 3", "question", "right")


def _parse(row: dict[str, str], where: str) -> Annotation:
    """Returns an annotation; its window is the published clip in which its moment starts."""
    moment = moment_in_brackets(row, "moment")
    start = max(moment[0], 0.0) // PUBLISHED_CLIP_SECONDS * PUBLISHED_CLIP_SECONDS
    answers = row["wrong 1"], row["wrong 2"], row["wrong 3"], required_text(row, "right")
    query = RawQuery(
        query_id=row["id"],
        clip_id=required_text(row, "video"),
        text=required_text(row, "question"),
        moments=(moment,),
        answers=answers,
        label=len(answers) - 1,
    )
    window = start, start + PUBLISHED_CLIP_SECONDS
    return Annotation(query, where, in_video=True, window=window)


FORM = AnnotationForm(
    name="how2qa",
    help="How2QA",
    query_type="question",
    rows=functools.partial(csv_rows, columns=_COLUMNS),
    parse=_parse,
    whole_video=True,
)
