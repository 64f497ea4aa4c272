"""Imports what people have: features, subtitles, splits and annotations, from files or databases.

The readers of features and subtitles share two protocols, so folders of files (`data.features`,
`data.subtitles`) and the original's databases (`data.original_db`) go the same way.
"""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data import windows
from data.annotations import Annotation
from data.errors import InputError
from data.report import Report
from data.schema import RawClip, RawQuery, RawSubtitle
from data.splits import splits_by_lot, splits_of_annotations

# A query that names no clip belongs to a test set whose labels are kept back.
UNLABELLED_SPLIT = "test"
# Decimals that a derived number of seconds per feature may have.
MOST_DECIMALS = 3
# By how much durations of one video may differ, in seconds.
SAME_SECONDS = 1.0


class FeatureReader(Protocol):
    """Frame features of videos, in parts that stand side by side."""

    def ids(self) -> set[str]:
        """Of the videos that have all parts."""

    def incomplete(self) -> dict[str, Path]:
        """Of the videos that have some parts only, with one that lacks them."""

    def num_frames(self, video_id: str) -> int:
        """Frames of a video, found without reading them."""

    def read(self, video_id: str, report: Report) -> tuple[np.ndarray, ...]:
        """The parts, `[frames, width]` each; InputError if they cannot be used."""

    def where(self, video_id: str) -> str:
        """The files that they are in."""

    def files(self, video_id: str) -> list[Path]:
        """Those files; they are not opened."""

    def narrowed(self, ids: Iterable[str]) -> "FeatureReader":
        """The same, of these videos."""


class SubtitleReader(Protocol):
    """Timed sentences of videos."""

    def ids(self) -> set[str]:
        """Of the videos that have subtitles."""

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """A video's subtitles, none if there are none."""

    def files(self, video_id: str) -> list[Path]:
        """The files that a video's subtitles are in; they are not opened."""

    def narrowed(self, ids: Iterable[str]) -> "SubtitleReader":
        """The same, of these videos."""


@dataclasses.dataclass
class RawSource:
    """A `data.source.Source` of features, subtitles and annotations; made by `open_source`.

    videos, queries, query_type, seconds_per_feature, report: see there.
    features, subtitles: of these videos.
    durations: seconds of the videos of which they are known.
    clip_seconds: what videos are cut to, 0 for not.
    """

    videos: Mapping[str, Sequence[str]]
    queries: Mapping[str, Sequence[RawQuery]]
    query_type: str
    seconds_per_feature: float
    report: Report
    features: FeatureReader
    subtitles: SubtitleReader
    durations: Mapping[str, float]
    clip_seconds: float

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """The video as one clip or cut to several; InputError if it cannot be used."""
        features = self.features.read(video_id, report)
        num_frames, duration = len(features[0]), self.durations.get(video_id)
        step = self.seconds_per_feature
        if duration is not None and abs(duration / step - num_frames) > 1:
            raise InputError(
                f"{video_id} has {num_frames} frames ({self.features.where(video_id)}), but lasts "
                f"{duration} s, which makes {duration / step:.1f} of {step} s: correct "
                "--seconds_per_feature or extract it again"
            )
        video = RawClip(video_id, features, self.subtitles.read(video_id, report), duration)
        if not self.clip_seconds:
            return [video]
        return windows.cut_video(video, self.clip_seconds, step, report)

    def video_of(self, clip_id: str) -> str:
        """The name without the clip's number, if videos are cut."""
        return windows.video_of(clip_id) if self.clip_seconds else clip_id

    def narrowed(self, videos: Sequence[str]) -> "RawSource":
        """The source of these videos' clips, without queries."""
        return dataclasses.replace(
            self,
            videos={},
            queries={},
            report=Report(),
            features=self.features.narrowed(videos),
            subtitles=self.subtitles.narrowed(videos),
            durations={i: self.durations[i] for i in videos if i in self.durations},
        )

    def identity(self, videos: Sequence[str]) -> list:
        """Names, sizes and times of the videos' files, and what else their clips depend on."""
        stores = (self.features, self.subtitles)
        files = dict.fromkeys(f for i in videos for store in stores for f in store.files(i))
        durations = [self.durations.get(i) for i in videos]
        return [self.clip_seconds, durations, [_state(file) for file in files]]


def open_source(
    features: FeatureReader,
    subtitles: SubtitleReader,
    annotations: Sequence[Annotation],
    query_type: str,
    *,
    splits: Mapping[str, Sequence[str]],
    shares: Mapping[str, float],
    seconds_per_feature: float | None,
    clip_seconds: float,
    report: Report,
    source_class: type[RawSource] = RawSource,
) -> RawSource:
    """Brings together which videos there are, which split each is in, and which clip a query means.

    Args:
      annotations: of all files; their `split` may be ''.
      query_type: of all of them.
      splits: video ids by split; if empty, those of the annotations, and if these say none either,
        `shares` of the videos are dealt out by lot.
      seconds_per_feature: None to derive it from the durations that the annotations give.
      clip_seconds: what videos are cut to, 0 for not.
      report: what reading the annotations left out; more is added.

    Raises:
      InputError: no videos, or no way to know their splits or their frame rate.
    """
    _check_seconds(seconds_per_feature, clip_seconds)
    _check_ids(annotations)
    there = features.ids()
    if not there:
        some = next(iter(features.incomplete().items()), ("", ""))
        raise InputError(
            f"no video has all parts of the features: {some[0]}, for one, is not in {some[1]}"
        )
    annotations = [_of_published_clip(a, there, clip_seconds) for a in annotations]
    wanted = splits or splits_of_annotations(annotations) or splits_by_lot(there, shares)
    videos = _with_features(wanted, features, subtitles, report)
    durations = _durations(annotations, report)
    if seconds_per_feature is None:
        seconds_per_feature = derive_seconds_per_feature(features, durations)
    if clip_seconds:
        windows.frames_per_clip(clip_seconds, seconds_per_feature)
    placer = _Placer(features, videos, seconds_per_feature, clip_seconds, report)
    queries: dict[str, list[RawQuery]] = {}
    for annotation in annotations:
        placed = placer.place(annotation)
        if placed is not None:
            queries.setdefault(placed[0], []).append(placed[1])
    return source_class(
        videos=videos,
        queries=queries,
        query_type=query_type,
        seconds_per_feature=seconds_per_feature,
        report=report,
        features=features,
        subtitles=subtitles,
        durations=durations,
        clip_seconds=clip_seconds,
    )


def _state(file: Path) -> list:
    """What tells that a file was changed."""
    try:
        status = file.stat()
    except OSError:  # Whoever reads it will say so.
        return [str(file)]
    return [str(file), status.st_size, status.st_mtime_ns]


def _check_seconds(seconds_per_feature: float | None, clip_seconds: float) -> None:
    if seconds_per_feature is not None and not 0 < seconds_per_feature < math.inf:
        raise InputError(
            f"--seconds_per_feature={seconds_per_feature:g}: it has to be a number above 0"
        )
    if not 0 <= clip_seconds < math.inf:
        raise InputError(f"--clip_seconds={clip_seconds:g}: it has to be a number, 0 or above")


def _check_ids(annotations: Iterable[Annotation]) -> None:
    """InputError for an id that comes twice, in whatever files."""
    where: dict[str, str] = {}
    for annotation in annotations:
        query_id = annotation.query.query_id
        if query_id in where:
            raise InputError(
                f"query {query_id} comes twice, at {where[query_id]} and at {annotation.where}: "
                "rename one of them"
            )
        where[query_id] = annotation.where


def _durations(annotations: Iterable[Annotation], report: Report) -> dict[str, float]:
    """Seconds by video: the first that an annotation gives."""
    durations: dict[str, float] = {}
    for annotation in annotations:
        if annotation.duration is None or not annotation.query.clip_id:
            continue
        known = durations.setdefault(annotation.query.clip_id, annotation.duration)
        if abs(known - annotation.duration) > SAME_SECONDS:
            report.add(
                "durations unlike an earlier one of the same video: not used",
                f"{annotation.where}: {annotation.duration} s, before {known} s",
            )
    return durations


def derive_seconds_per_feature(features: FeatureReader, durations: Mapping[str, float]) -> float:
    """The seconds per feature with which every known duration agrees to within one feature.

    It is the one number with the fewest decimals, at least one, that does.

    Raises:
      InputError: no durations, none or more than one such number.
    """
    low, high, shortest, longest = 0.0, math.inf, "", ""
    lengths = {}
    for video_id in sorted(durations.keys() & features.ids()):
        with contextlib.suppress(InputError):  # Whoever reads all of it will say so.
            lengths[video_id] = features.num_frames(video_id)
    for video_id, frames in lengths.items():
        seconds = durations[video_id]
        if seconds / (frames + 1) > low:
            low, longest = seconds / (frames + 1), video_id
        if frames > 1 and seconds / (frames - 1) < high:
            high, shortest = seconds / (frames - 1), video_id
    if not longest or not shortest:
        raise InputError(
            "how many seconds there are between two features is not known: say "
            "--seconds_per_feature, or give annotations with the durations of longer videos"
        )
    if low > high:
        raise InputError(
            f"durations and features disagree: {longest} has {lengths[longest]} frames in "
            f"{durations[longest]} s, {shortest} {lengths[shortest]} in {durations[shortest]} s: "
            "extract one of them again"
        )
    for decimals in range(1, MOST_DECIMALS + 1):
        unit = 10**decimals
        found = [n / unit for n in range(math.ceil(low * unit), math.floor(high * unit) + 1) if n]
        if len(found) == 1:
            logging.warning(
                "%g s per feature: derived, all durations allow %.3f to %.3f.", found[0], low, high
            )
            return found[0]
        if found:
            break
    raise InputError(
        f"the durations allow {low:.4f} to {high:.4f} seconds per feature: say which with "
        "--seconds_per_feature"
    )


def _with_features(
    wanted: Mapping[str, Sequence[str]],
    features: FeatureReader,
    subtitles: SubtitleReader,
    report: Report,
) -> dict[str, list[str]]:
    """Those of the wanted videos that have features; InputError for a split without any."""
    there, incomplete = features.ids(), features.incomplete()
    videos = {split: [i for i in ids if i in there] for split, ids in wanted.items()}
    for split, ids in wanted.items():
        missing = [i for i in ids if i not in there]
        if not videos[split]:
            raise InputError(
                f"no video of split {split} has features in all parts: {missing[0]}, for one, is "
                "not there; correct --features, or the splits"
            )
        for video_id in missing:
            report.add("videos without features: skipped", f"{video_id} of {split}")
    known = {video_id for ids in wanted.values() for video_id in ids}
    report.add_all("videos with features but in no split: not used", there - known)
    report.add_all("videos with subtitles but in no split: not used", subtitles.ids() - known)
    report.add_all(
        "videos that lack a part of the features: not used",
        (f"{i}: not in {incomplete[i]}" for i in incomplete.keys() - known),
    )
    return videos


def _of_published_clip(annotation: Annotation, there: set[str], clip_seconds: float) -> Annotation:
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


class _Placer:
    """Finds the split and the clip that an annotation is about."""

    def __init__(self, features, videos, seconds_per_feature, clip_seconds, report):
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
        if query.moments and query.moments[0][0] >= num_frames * self._step:
            return self._leave_out(annotation, "queries of a time after the end of the video")
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
                return int(number), [(s - window[0], e - window[0]) for s, e in query.moments]
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
