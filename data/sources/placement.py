"""Finds the split, the clip and the part of the clip that an annotation is about."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources import windows
from data.sources.annotations.base import Annotation
from data.sources.base import FeatureReader
from data.sources.names import KnownNames

# Split of queries without a clip, which are from a test set with hidden labels.
UNLABELLED_SPLIT = "test"

Span = tuple[float, float]


def in_published_clips(
    annotations: Sequence[Annotation], videos: KnownNames, clip_seconds: float
) -> list[Annotation]:
    """Returns the annotations about the ids of the features.

    If the features are of the published clips `VIDEO.N`, annotations are about these.

    Args:
      videos: ids that have features.
      clip_seconds: length of the clips that videos are cut into, 0 if they are not cut.

    Raises:
      InputError: the features are of clips, which would be cut again.
    """
    return [_in_published_clip(annotation, videos, clip_seconds) for annotation in annotations]


def _in_published_clip(
    annotation: Annotation, videos: KnownNames, clip_seconds: float
) -> Annotation:
    query, window, seconds = annotation.query, annotation.window, windows.PUBLISHED_CLIP_SECONDS
    video_id = videos.find(query.clip_id)
    if video_id is not None:
        if video_id != query.clip_id:
            query = dataclasses.replace(query, clip_id=video_id)
            annotation = dataclasses.replace(annotation, query=query)
        return annotation
    if window is None or window[0] % seconds:
        return annotation
    if query.moments and query.moments[0][0] < window[0]:
        return annotation
    name = videos.find(windows.clip_name(query.clip_id, int(window[0] // seconds)))
    if name is None:
        return annotation
    if clip_seconds:
        raise InputError(
            f"features are of clips already ({name}, for one): set clip_seconds=0, or they would "
            "be cut a second time"
        )
    moments = tuple((start - window[0], end - window[0]) for start, end in query.moments)
    query = dataclasses.replace(query, clip_id=name, moments=moments)
    return dataclasses.replace(annotation, query=query, in_video=False, window=None)


class _LeftOut(Exception):
    """An annotation that is left out of the dataset; the message is the reason."""


class Placer:
    """Finds the split of each annotation, and the query about a clip that it becomes."""

    def __init__(
        self,
        features: FeatureReader,
        videos: Mapping[str, Sequence[str]],
        seconds_per_feature: float,
        clip_seconds: float,
        report: Report,
    ):
        """Takes what is known of the dataset's videos.

        Args:
          videos: ids by split.
          clip_seconds: length of the clips that videos are cut into, 0 if they are not cut.
          report: counts what is left out, cut or changed.
        """
        self._features, self._report, self._videos = features, report, videos
        self._split_of = {i: split for split, ids in videos.items() for i in ids}
        self._clip_seconds, self._step = clip_seconds, seconds_per_feature

    def place(self, annotation: Annotation) -> tuple[str, RawQuery] | None:
        """Returns the split and the query, in seconds from the start of its clip.

        An annotation that is left out is counted and has None.
        """
        try:
            split = self._find_split(annotation)
            if annotation.query.clip_id and (self._clip_seconds or annotation.in_video):
                return split, self._find_clip(annotation)
        except _LeftOut as reason:
            name = annotation.query.clip_id
            example = annotation.where + (f": {name}" if name else "")
            self._report.add(f"{reason}: skipped", example)
            return None
        return split, annotation.query

    def _find_split(self, annotation: Annotation) -> str:
        video_id = annotation.query.clip_id
        if not video_id:
            split = annotation.split or UNLABELLED_SPLIT
            if split not in self._videos:
                raise _LeftOut(f"queries of split {split}, which has no videos")
            return split
        if video_id not in self._split_of:
            raise _LeftOut("queries of videos not in the dataset")
        split = self._split_of[video_id]
        if annotation.split not in ("", split):
            self._report.add(
                "queries said to be of another split than their video: in the video's",
                f"{annotation.where}: {video_id} is in {split}",
            )
        return split

    def _find_clip(self, annotation: Annotation) -> RawQuery:
        """Returns the query about its video, or about one of the clips that the video is cut to."""
        query = annotation.query
        try:
            num_frames = self._features.num_frames(query.clip_id)
        except InputError as error:  # Reading the video will report it.
            raise _LeftOut("queries of videos whose features cannot be read") from error
        video_end = num_frames * self._step
        if query.moments and query.moments[0][0] >= video_end:
            raise _LeftOut("queries of a time after the end of the video")
        if any(end > video_end + self._step for _, end in query.moments):
            self._report.add("moments that go on after the video: cut at its end", annotation.where)
            moments = tuple((start, min(end, video_end)) for start, end in query.moments)
            query = dataclasses.replace(query, moments=moments)
            annotation = dataclasses.replace(annotation, query=query)
        if not self._clip_seconds:
            return query
        frames = windows.frames_per_clip(self._clip_seconds, self._step)
        num_clips = math.ceil(num_frames / frames)
        if not query.moments:
            if num_clips > 1:
                raise _LeftOut("queries without a time of videos that are cut")
            return dataclasses.replace(query, clip_id=windows.clip_name(query.clip_id, 0))
        number, parts = self._cut_moments(annotation, num_clips)
        name = windows.clip_name(query.clip_id, number)
        return dataclasses.replace(query, clip_id=name, moments=tuple(parts))

    def _cut_moments(self, annotation: Annotation, num_clips: int) -> tuple[int, list[Span]]:
        """Returns the number of a clip, and the parts of the moments in it."""
        moments, seconds, window = annotation.query.moments, self._clip_seconds, annotation.window
        if window is not None and window[1] - window[0] == seconds:
            window_number, remainder = divmod(window[0], seconds)
            if not remainder and window_number < num_clips and moments[0][0] >= window[0]:
                # The published clip, even if a moment continues a little after its end.
                parts = [(start - window[0], end - window[0]) for start, end in moments]
                latest = seconds + self._step
                parts = [(start, end if end <= latest else seconds) for start, end in parts]
                self._count_cuts(annotation, parts)
                return int(window_number), parts
        placed = [windows.clip_of_moment(moment, seconds, num_clips) for moment in moments]
        number = placed[0][0]
        parts = [part for clip, part in placed if clip == number]
        self._count_cuts(annotation, parts)
        return number, parts

    def _count_cuts(self, annotation: Annotation, parts: Sequence[Span]) -> None:
        moments = annotation.query.moments
        lost = sum(end - start for start, end in moments) - sum(end - start for start, end in parts)
        if lost > self._step * 1e-6:
            self._report.add(
                "moments across a cut: only the part in the clip that holds most is kept",
                f"{annotation.where}: {moments[0][0]} to {moments[0][1]} s",
            )
