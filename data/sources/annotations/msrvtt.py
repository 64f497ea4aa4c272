"""Annotations of MSR-VTT as they are published."""

from pathlib import Path

from data.errors import InputError
from data.schema import RawQuery
from data.sources.annotations.base import Annotation, Rows, _entries, _positive, _split
from data.sources.json_files import (
    Mistake,
    as_list,
    as_object,
    as_span,
    identifier,
    json_file,
    text,
)


def msrvtt_rows(path: Path) -> Rows:
    """Pairs of a sentence of MSR-VTT and the videos, by id."""
    content = json_file(path)
    try:
        content = as_object(content, "it")
        videos = as_list(content.get("videos"), "videos")
        sentences = as_list(content.get("sentences"), "sentences")
    except Mistake as mistake:
        raise InputError(
            f"{path} is not as MSR-VTT is published, {mistake}: correct it or name another form"
        ) from mistake
    by_id = {}
    for video in videos:
        if isinstance(video, dict) and isinstance(video.get("video_id"), str):
            by_id.setdefault(video["video_id"], []).append(video)
    for where, sentence in _entries(path, sentences, "sen_id"):
        yield where, (sentence, by_id)


def msrvtt(row: tuple[object, dict[str, list[dict]]], where: str) -> Annotation:
    """A sentence of MSR-VTT; the split and how long it lasts are its video's."""
    sentence = as_object(row[0], "it")
    video_id = text(sentence, "video_id")
    videos = row[1].get(video_id, [])
    if len(videos) != 1:
        raise Mistake(f"video_id {video_id!r} is {len(videos)} times among the videos, not once")
    video = videos[0]
    times = video.get("start time"), video.get("end time")
    duration = None
    if None not in times:
        start, end = as_span([*times], "start time to end time")
        duration = _positive(end - start, "end time - start time")
    query = RawQuery(
        query_id=identifier(sentence, "sen_id"),
        clip_id=video_id,
        text=text(sentence, "caption"),
    )
    return Annotation(query, where, split=_split(video), duration=duration)
