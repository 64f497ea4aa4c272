"""Annotations of How2R and How2QA as they are published."""

from data.schema import RawQuery
from data.sources.annotations.base import _BRACKETS, Annotation, _written_span
from data.sources.json_files import text
from data.sources.windows import PUBLISHED_CLIP_SECONDS

HOW2R_COLUMNS = ("video", "clip", "moment", "query")
HOW2QA_COLUMNS = ("video", "moment", "wrong 1", "wrong 2", "wrong 3", "question", "right")


def how2r(row: dict, where: str) -> Annotation:
    """A row of How2R; moments may end a little after the clip that was shown, or have no length."""
    moment = _written_span(row["moment"], _BRACKETS, "moment")
    window = _written_span(row["clip"], _BRACKETS, "clip")
    query = RawQuery(
        query_id=row["id"],
        clip_id=text(row, "video"),
        text=text(row, "query"),
        moments=(moment,),
    )
    return Annotation(query, where, in_video=True, window=window)


def how2qa(row: dict, where: str) -> Annotation:
    """A row of How2QA; its right answer is the last, its clip the one that its moment begins in."""
    moment = _written_span(row["moment"], _BRACKETS, "moment")
    begins = moment[0] // PUBLISHED_CLIP_SECONDS * PUBLISHED_CLIP_SECONDS
    answers = row["wrong 1"], row["wrong 2"], row["wrong 3"], text(row, "right")
    query = RawQuery(
        query_id=row["id"],
        clip_id=text(row, "video"),
        text=text(row, "question"),
        moments=(moment,),
        answers=answers,
        label=len(answers) - 1,
    )
    window = begins, begins + PUBLISHED_CLIP_SECONDS
    return Annotation(query, where, in_video=True, window=window)
