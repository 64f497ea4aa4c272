"""Annotations of MSR-VTT as they are published."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.schema import RawQuery
from data.sources.annotations.base import Annotation, AnnotationForm, list_rows, optional_split
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    as_positive,
    as_span,
    identifier,
    read_json,
    required_text,
)

# A sentence, and all videos by id.
Row = tuple[object, dict[str, list[dict[str, Any]]]]


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    content = read_json(path)
    try:
        content = as_object(content, "it")
        videos = as_list(content.get("videos"), "videos")
        sentences = as_list(content.get("sentences"), "sentences")
    except Mistake as mistake:
        raise InputError(
            f"{path} is not as MSR-VTT is published, {mistake}: correct it or name another form"
        ) from mistake
    by_id: dict[str, list[dict[str, Any]]] = {}
    for video in videos:
        if isinstance(video, dict) and isinstance(video.get("video_id"), str):
            by_id.setdefault(video["video_id"], []).append(video)
    for where, sentence in list_rows(path, sentences, "sen_id"):
        yield where, (sentence, by_id)


def _parse(row: Row, where: str) -> Annotation:
    """Returns the annotation of a sentence, with the split and the duration of its video."""
    sentence, by_id = as_object(row[0], "it"), row[1]
    video_id = required_text(sentence, "video_id")
    videos = by_id.get(video_id, [])
    if len(videos) != 1:
        raise Mistake(f"video_id {video_id!r} is {len(videos)} times among the videos, not once")
    video = videos[0]
    times = [video.get("start time"), video.get("end time")]
    duration = None
    if None not in times:
        start, end = as_span(times, "start time to end time")
        duration = as_positive(end - start, "end time - start time")
    query = RawQuery(
        query_id=identifier(sentence, "sen_id"),
        clip_id=video_id,
        text=required_text(sentence, "caption"),
    )
    return Annotation(query, where, split=optional_split(video), duration=duration)


FORM = AnnotationForm(
    name="msrvtt",
    help="MSR-VTT",
    query_type="query",
    rows=_rows,
    parse=_parse,
    fields=("sen_id", "video_id", "caption"),
)
