"""Which clip, and which part of it, an annotation is about."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources import windows
from data.sources.annotations.base import Annotation
from data.sources.base import FeatureReader

# A query that names no clip belongs to a test set whose labels are kept back.
UNLABELLED_SPLIT = "test"


def of_published_clip(annotation: Annotation, there: set[str], clip_seconds: float) -> Annotation:
    """The annotation in time of clip `VIDEO.N`, if the features are of published clips."""
    query, window, seconds = annotation.query, annotation.window, windows.PUBLISHED_CLIP_SECONDS
    if window is None or query.clip_id in there or window[0] % seconds:
        return annotation
    if query.moments and query.moments[0][0] < window[0]:
        return annotation
    name = windows.clip_name(query.clip_id, int(window[0] // seconds))
    if name not in there:
        return annotation
    if clip_seconds:
        raise InputError(
            f"features are of clips already ({name}, for one): say --clip_seconds=0, or they would "
            "be cut a second time"
        )
    moments = tuple((start - window[0], end - window[0]) for start, end in query.moments)
    query = dataclasses.replace(query, clip_id=name, moments=moments)
    return dataclasses.replace(annotation, query=query, in_video=False, window=None)


class Placer:
    """Finds the split and the clip that an annotation is about."""

    def __init__(
        self,
        features: FeatureReader,
        videos: Mapping[str, Sequence[str]],
        seconds_per_feature: float,
        clip_seconds: float,
        report: Report,
    ):
        """videos: ids by split; clip_seconds: what they are cut to, 0 for not."""
        self._features, self._report, self._videos = features, report, videos
        self._split_of = {i: split for split, ids in videos.items() for i in ids}
        self._clip_seconds, self._step = clip_seconds, seconds_per_feature

    def place(self, annotation: Annotation) -> tuple[str, RawQuery] | None:
        """The split and the query in time of its clip; None if it is left out, which is counted."""
        query = annotation.query
        if not query.clip_id:
            split = annotation.split or UNLABELLED_SPLIT
            if split not in self._videos:
                return self._leave_out(annotation, f"queries of split {split}, which has no videos")
            return split, query
        split = self._split_of.get(query.clip_id)
        if split is None:
            return self._leave_out(annotation, "queries of videos not in the dataset")
        if annotation.split not in ("", split):
            self._report.add(
                "queries said to be of another split than their video: in the video's",
                f"{annotation.where}: {query.clip_id} is in {split}",
            )
        if self._clip_seconds or annotation.in_video:
            query = self._in_time_of_clip(annotation)
        return query and (split, query)

    def _in_time_of_clip(self, annotation: Annotation) -> RawQuery | None:
        """The query about its video, or one of the clips that the video is cut to."""
        query = annotation.query
        try:
            num_frames = self._features.num_frames(query.clip_id)
        except InputError:  # Whoever reads the video will say so.
            return self._leave_out(annotation, "queries of videos whose features cannot be read")
        end = num_frames * self._step
        if query.moments and query.moments[0][0] >= end:
            return self._leave_out(annotation, "queries of a time after the end of the video")
        if any(last > end + self._step for _, last in query.moments):
            self._report.add("moments that go on after the video: cut at its end", annotation.where)
            moments = tuple((first, min(last, end)) for first, last in query.moments)
            query = dataclasses.replace(query, moments=moments)
            annotation = dataclasses.replace(annotation, query=query)
        if not self._clip_seconds:
            return query
        frames = windows.frames_per_clip(self._clip_seconds, self._step)
        num_clips = math.ceil(num_frames / frames)
        if not query.moments:
            if num_clips > 1:
                return self._leave_out(annotation, "queries without a time of videos that are cut")
            return dataclasses.replace(query, clip_id=windows.clip_name(query.clip_id, 0))
        number, parts = self._cut(annotation, num_clips)
        name = windows.clip_name(query.clip_id, number)
        return dataclasses.replace(query, clip_id=name, moments=tuple(parts))

    def _cut(self, annotation: Annotation, num_clips: int) -> tuple[int, list[tuple[float, float]]]:
        """The number of a clip, and what of the moments is in it, in its time."""
        query, seconds, window = annotation.query, self._clip_seconds, annotation.window
        if window is not None and window[1] - window[0] == seconds:
            number, off = divmod(window[0], seconds)
            if not off and number < num_clips and query.moments[0][0] >= window[0]:
                # As published, even where a moment goes on a little after its clip.
                parts = [(s - window[0], e - window[0]) for s, e in query.moments]
                parts = [(s, e if e <= seconds + self._step else seconds) for s, e in parts]
                self._count_cuts(annotation, parts)
                return int(number), parts
        placed = [windows.clip_of_moment(moment, seconds, num_clips) for moment in query.moments]
        number = placed[0][0]
        parts = [part for clip, part in placed if clip == number]
        self._count_cuts(annotation, parts)
        return number, parts

    def _count_cuts(self, annotation, parts):
        moments = annotation.query.moments
        lost = sum(end - start for start, end in moments) - sum(e - s for s, e in parts)
        if lost > self._step * 1e-6:
            self._report.add(
                "moments across a cut: only the part in the clip that holds most is kept",
                f"{annotation.where}: {moments[0][0]} to {moments[0][1]} s",
            )

    def _leave_out(self, annotation: Annotation, what: str) -> None:
        name = annotation.query.clip_id
        self._report.add(f"{what}: skipped", annotation.where + (f": {name}" if name else ""))
