"""Imports what people have: features, subtitles, splits and annotations, from files or databases.

The readers of features and subtitles share two protocols, so folders of files (`data.features`,
`data.subtitles`) and the original's databases (`data.original_db`) go the same way.
"""

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


class Features(Protocol):
    """Frame features of videos, in parts that stand side by side."""

    def ids(self) -> set[str]:
        """Of the videos that have all parts."""

    def num_frames(self, video_id: str) -> int:
        """Frames of a video, found without reading them."""

    def read(self, video_id: str, report: Report) -> tuple[np.ndarray, ...]:
        """The parts, `[frames, width]` each; InputError if they cannot be used."""

    def where(self, video_id: str) -> str:
        """The files that they are in."""

    def files(self, video_id: str) -> list[Path]:
        """Those files; they are not opened."""

    def narrowed(self, ids: Iterable[str]) -> "Features":
        """The same, of these videos."""


class Subtitles(Protocol):
    """Timed sentences of videos."""

    def ids(self) -> set[str]:
        """Of the videos that have subtitles."""

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """A video's subtitles, none if there are none."""

    def files(self, video_id: str) -> list[Path]:
        """The files that a video's subtitles are in; they are not opened."""

    def narrowed(self, ids: Iterable[str]) -> "Subtitles":
        """The same, of these videos."""


@dataclasses.dataclass
class RawSource:
    """A `data.source.Source` of features, subtitles and annotations; made by `open_source`.

    durations: seconds of the videos of which they are known.
    clip_seconds: what videos are cut to, 0 for not.
    """

    videos: Mapping[str, Sequence[str]]
    queries: Mapping[str, Sequence[RawQuery]]
    query_type: str
    seconds_per_feature: float
    report: Report
    features: Features
    subtitles: Subtitles
    durations: Mapping[str, float]
    clip_seconds: float

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """The video as one clip or cut to several; InputError if it cannot be used."""
        features = self.features.read(video_id, report)
        num_frames, duration = len(features[0]), self.durations.get(video_id)
        step = self.seconds_per_feature
        if duration is not None and abs(duration / step - num_frames) > 1:
            raise InputError(
                f"{self.features.where(video_id)} has {num_frames} frames, but {video_id} lasts "
                f"{duration} s, which makes {duration / step:.1f} of {step} s: correct "
                "--seconds_per_feature or extract it again"
            )
        video = RawClip(video_id, features, self.subtitles.read(video_id, report), duration)
        if not self.clip_seconds:
            return [video]
        return windows.cut_video(video, self.clip_seconds, step, report)

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
    features: Features,
    subtitles: Subtitles,
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
    with_features = features.ids()
    annotations = [_name_of_clip(a, with_features, clip_seconds) for a in annotations]
    named = [(a.split, a.query.clip_id) for a in annotations if a.split and a.query.clip_id]
    wanted = splits or splits_of_annotations(named) or splits_by_lot(with_features, shares)
    videos = _with_features(wanted, features, report)
    known = {video_id for ids in wanted.values() for video_id in ids}
    report.add("videos with features but in no split: not used", count=len(with_features - known))
    report.add(
        "videos with subtitles but in no split: not used", count=len(subtitles.ids() - known)
    )
    durations = {a.query.clip_id: a.duration for a in annotations if a.duration is not None}
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


def derive_seconds_per_feature(features: Features, durations: Mapping[str, float]) -> float:
    """The seconds per feature with which every known duration agrees to within one feature.

    It is the one number with the fewest decimals that does.

    Raises:
      InputError: no durations, none or more than one such number.
    """
    low, high, shortest, longest = 0.0, math.inf, "", ""
    for video_id in sorted(durations.keys() & features.ids()):
        seconds, frames = durations[video_id], features.num_frames(video_id)
        if seconds / (frames + 1) > low:
            low, longest = seconds / (frames + 1), video_id
        if frames > 1 and seconds / (frames - 1) < high:
            high, shortest = seconds / (frames - 1), video_id
    if not longest or not shortest:
        raise InputError(
            "how many seconds there are between two features is not known: say "
            "--seconds_per_feature, or give annotations with durations"
        )
    if low > high:
        raise InputError(
            f"durations and features disagree: {longest} has {features.num_frames(longest)} frames "
            f"in {durations[longest]} s, {shortest} {features.num_frames(shortest)} in "
            f"{durations[shortest]} s: extract one of them again"
        )
    for decimals in range(MOST_DECIMALS + 1):
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
    wanted: Mapping[str, Sequence[str]], features: Features, report: Report
) -> dict[str, list[str]]:
    """Those of the wanted videos that have features; InputError for a split without any."""
    there = features.ids()
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
    return videos


def _name_of_clip(annotation: Annotation, there: set[str], clip_seconds: float) -> Annotation:
    """The annotation about clip `VIDEO.N` if the features are of clips and not of whole videos."""
    query = annotation.query
    begins = annotation.window or (query.moments[0] if query.moments else None)
    if not annotation.in_video or not query.clip_id or query.clip_id in there or begins is None:
        return annotation
    seconds = windows.PUBLISHED_CLIP_SECONDS
    number = int(begins[0] // seconds)
    name = windows.clip_name(query.clip_id, number)
    if name not in there:
        return annotation
    if clip_seconds:
        raise InputError(
            f"features are of clips already ({name}, for one): say --clip_seconds=0, or they would "
            "be cut a second time"
        )
    offset = number * seconds
    moments = tuple((start - offset, end - offset) for start, end in query.moments)
    query = dataclasses.replace(query, clip_id=name, moments=moments)
    return dataclasses.replace(annotation, query=query, window=None)


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
        if self._clip_seconds:
            query = self._cut(annotation)
        return query and (split, query)

    def _cut(self, annotation: Annotation) -> RawQuery | None:
        """The query about one of the clips of its video."""
        query, seconds, window = annotation.query, self._clip_seconds, annotation.window
        num_frames = self._features.num_frames(query.clip_id)
        num_clips = math.ceil(num_frames / windows.frames_per_clip(seconds, self._step))
        if window is not None:
            number = round(window[0] / seconds)
            if not math.isclose(number * seconds, window[0], abs_tol=self._step / 2):
                return self._leave_out(
                    annotation, "queries of other clips than --clip_seconds cuts"
                )
            parts = [
                (start - number * seconds, end - number * seconds) for start, end in query.moments
            ]
        elif query.moments:
            placed = [windows.clip_of_moment(m, seconds, num_clips) for m in query.moments]
            number = placed[0][0]
            parts = [part for clip, part in placed if clip == number]
            self._count_cuts(annotation, parts)
        else:
            number, parts = 0, []
            if num_clips > 1:
                return self._leave_out(annotation, "queries without a time of videos that are cut")
        begins = number * seconds + (parts[0][0] if parts else 0)
        if number >= num_clips or begins >= num_frames * self._step + self._step:
            return self._leave_out(annotation, "queries of a time after the end of the video")
        name = windows.clip_name(query.clip_id, number)
        return dataclasses.replace(query, clip_id=name, moments=tuple(parts))

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
