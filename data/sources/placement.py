"""Finds the split, the clip and the part of the clip that an annotation is about."""

import dataclasses
import functools
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


def _overlaps(moment: Span, clip_end: float) -> bool:
    """Returns whether a moment, which may have no length, is at least partly in a clip."""
    start, end = moment
    return start < clip_end and (end > 0 or start >= 0)


def _check_has_place(query: RawQuery, video_end: float) -> None:
    """Raises _LeftOut for a query that does not say which of a video's clips it is about."""
    if not query.moments:
        raise _LeftOut("queries without a time of videos that are cut")
    if not any(_overlaps(moment, video_end) for moment in query.moments):
        where = "after the end" if query.moments[0][0] >= video_end else "before the start"
        raise _LeftOut(f"queries of a time {where} of the video")


class Placer:
    """Finds the split of each annotation, and the query about a clip that it becomes.

    One rule holds for the moments of all annotations. What lies outside the clip or the video loses
    its time; what sticks out at the start, or by more than a frame at the end, is cut there. Less
    than a frame is the rounding of networks. All of it is counted.
    """

    def __init__(
        self,
        features: FeatureReader,
        videos: Mapping[str, Sequence[str]],
        seconds_per_feature: float,
        clip_seconds: float,
        durations: Mapping[str, float],
        report: Report,
    ):
        """Takes what is known of the dataset's videos.

        Args:
          videos: ids by split.
          clip_seconds: length of the clips that videos are cut into, 0 if they are not cut.
          durations: seconds by video, of the videos whose duration is known.
          report: counts what is left out, cut or changed.
        """
        self._features, self._report, self._videos = features, report, videos
        self._split_of = {i: split for split, ids in videos.items() for i in ids}
        self._clip_seconds, self._step = clip_seconds, seconds_per_feature
        self._durations = durations
        self._num_frames = functools.cache(features.num_frames)

    def place(self, annotation: Annotation) -> tuple[str, RawQuery] | None:
        """Returns the split and the query, in seconds from the start of its clip.

        An annotation that is left out is counted and has None.
        """
        try:
            split = self._find_split(annotation)
            query = self._find_clip(annotation) if annotation.query.clip_id else annotation.query
        except _LeftOut as reason:
            name = annotation.query.clip_id
            example = annotation.where + (f": {name}" if name else "")
            self._report.add(f"{reason}: skipped", example)
            return None
        return split, query

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
        query, is_cut = annotation.query, self._clip_seconds > 0
        if not is_cut:
            if not query.moments:
                return query
            # Records have the duration if it is known, and validation compares moments with it.
            known = self._durations.get(query.clip_id)
            end = self._count_frames(query.clip_id) * self._step if known is None else known
            return dataclasses.replace(query, moments=self._moments_inside(annotation, end))
        num_frames = self._count_frames(query.clip_id)
        end = num_frames * self._step
        frames = windows.frames_per_clip(self._clip_seconds, self._step)
        num_clips = math.ceil(num_frames / frames)
        if num_clips > 1 or annotation.window is not None:
            _check_has_place(query, end)
        query = dataclasses.replace(query, moments=self._moments_inside(annotation, end))
        number, moments = 0, query.moments
        if num_clips > 1:
            annotation = dataclasses.replace(annotation, query=query)
            number, moments = self._cut_moments(annotation, num_clips)
        name = windows.clip_name(query.clip_id, number)
        return dataclasses.replace(query, clip_id=name, moments=moments)

    def _count_frames(self, video_id: str) -> int:
        try:
            return self._num_frames(video_id)
        except InputError as error:  # Reading the video will report it.
            raise _LeftOut("queries of videos whose features cannot be read") from error

    def _moments_inside(self, annotation: Annotation, clip_end: float) -> tuple[Span, ...]:
        """Returns the parts of the moments that are in a clip of so many seconds."""
        inside = []
        for moment in annotation.query.moments:
            start, end = moment
            example = f"{annotation.where}: {start:g} to {end:g} s of {clip_end:g} s"
            if not _overlaps(moment, clip_end):
                self._report.add("moments outside their clip or video: not used", example)
                continue
            if start < 0:
                self._report.add("moments that start before the video: cut at its start", example)
                start = 0.0
            if end > clip_end + self._step:
                self._report.add("moments that go on after the video: cut at its end", example)
                end = clip_end
            inside.append((start, end))
        return tuple(inside)

    def _cut_moments(self, annotation: Annotation, num_clips: int) -> tuple[int, tuple[Span, ...]]:
        """Returns the number of a clip, and the parts of the moments in it."""
        moments, seconds, window = annotation.query.moments, self._clip_seconds, annotation.window
        if window is not None and window[1] - window[0] == seconds:
            window_number, remainder = divmod(window[0], seconds)
            starts_inside = window[0] <= moments[0][0] < window[1]
            if not remainder and window_number < num_clips and starts_inside:
                # The published clip, even if a moment continues a little after its end.
                parts = [(start - window[0], end - window[0]) for start, end in moments]
                latest = seconds + self._step
                parts = [(start, end if end <= latest else seconds) for start, end in parts]
                self._count_cuts(annotation, parts)
                return int(window_number), tuple(parts)
        placed = [windows.clip_of_moment(moment, seconds, num_clips) for moment in moments]
        number = placed[0][0]
        parts = [part for clip, part in placed if clip == number]
        self._count_cuts(annotation, parts)
        return number, tuple(parts)

    def _count_cuts(self, annotation: Annotation, parts: Sequence[Span]) -> None:
        moments = annotation.query.moments
        lost = sum(end - start for start, end in moments) - sum(end - start for start, end in parts)
        # A moment without length that is left out loses no time.
        if len(parts) < len(moments) or lost > self._step * 1e-6:
            self._report.add(
                "moments across a cut: only the part in the clip that holds most is kept",
                f"{annotation.where}: {moments[0][0]} to {moments[0][1]} s",
            )
