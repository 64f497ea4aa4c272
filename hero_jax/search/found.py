"""Moments that a search found, described for people and programs."""

import dataclasses
import functools

import numpy as np

from data.times import temporal_iou
from hero_jax.index import IndexedClip, Line, Snapshot
from hero_jax.retrieval.results import Moments

# If two moments of one video overlap by more, only the better is returned. It stands in for the
# `nms_iou` of a model that has none.
LARGEST_OVERLAP = 0.5


@dataclasses.dataclass(frozen=True)
class FoundMoment:
    """A moment of a video, and the subtitles in it.

    start, end: first and last second in the video.
    score: as in `hero_jax.retrieval.moments`, or the sum of `hero_jax.search.hybrid`; comparable
      within a query only.
    """

    video_id: str
    clip_id: str
    start: float
    end: float
    score: float
    lines: tuple[Line, ...]


def found_moments(
    index: Snapshot, moments: Moments, largest_overlap: float, top: int
) -> list[FoundMoment]:
    """Describes the `top` best moments of a query, without duplicates.

    Windows of a long video overlap, so that two clips may have the same moment; of two that overlap
    by more than `largest_overlap`, only the better is returned.

    Args:
      moments: `[P]`, best first.
    """
    describe = functools.cache(index.describe)
    found: list[FoundMoment] = []
    for number, (first, last), score in zip(*(x.tolist() for x in moments), strict=True):
        if len(found) == top:
            break
        moment = found_moment(index, describe(number), first, last, score)
        if not any(duplicates(moment, better, largest_overlap) for better in found):
            found.append(moment)
    return found


def found_moment(
    index: Snapshot, clip: IndexedClip, first: int, last: int, score: float
) -> FoundMoment:
    """Describes the moment from frame `first` to `last` of a clip."""
    step = index.seconds_per_feature
    return moment_between(clip, clip.start + first * step, clip.start + (last + 1) * step, score)


def moment_between(clip: IndexedClip, start: float, end: float, score: float) -> FoundMoment:
    """Describes a moment of a clip, in seconds of its video."""
    lines = tuple(line for line in clip.lines if line.start < end and line.end > start)
    return FoundMoment(clip.video_id, clip.clip_id, start, end, score, lines)


def duplicates(moment: FoundMoment, better: FoundMoment, largest_overlap: float) -> bool:
    """Checks if a moment is another window's view of a better one."""
    if moment.video_id != better.video_id or moment.clip_id == better.clip_id:
        return False
    times = np.array([better.start, better.end]), np.array([moment.start, moment.end])
    return bool(temporal_iou(*times) > largest_overlap)
