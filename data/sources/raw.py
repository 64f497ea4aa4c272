"""A source of features, subtitles, splits and annotations, which come from files or databases.

Folders of files (`data.sources.features`, `data.sources.subtitles`) and the original's databases
(`data.sources.original.database`) have readers with the same protocols.
"""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from data.errors import InputError
from data.networks import Networks
from data.report import Report
from data.schema import RawClip, RawQuery
from data.sources import windows
from data.sources.annotations.base import Annotation
from data.sources.base import FeatureReader, SubtitleReader
from data.sources.feature_identity import agreed_seconds
from data.sources.names import KnownNames, check_alike, nearest
from data.sources.placement import Placer, in_published_clips
from data.sources.splits import splits_of_annotations
from data.sources.videos import default_splits, with_feature_ids, with_features

# Largest number of decimals of a derived number of seconds per feature.
MOST_DECIMALS = 3
# Seconds by which the durations of one video may differ.
SAME_SECONDS = 1.0


@dataclasses.dataclass
class RawSource:
    """A `data.sources.base.Source` of features, subtitles and annotations; see `open_source`.

    videos, queries, query_type, seconds_per_feature, report, networks: see `Source`.
    features, subtitles: readers of these videos.
    durations: seconds by video, of the videos whose duration is known.
    clip_seconds: length of the clips that videos are cut into, 0 if they are not cut.
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
    networks: Networks = ()

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """Returns the video as one clip, or the clips that it is cut into.

        Raises:
          InputError: the features or the subtitles cannot be used, or the number of frames does
            not fit the duration.
        """
        features = self.features.read(video_id, report)
        num_frames, duration = len(features[0]), self.durations.get(video_id)
        step = self.seconds_per_feature
        if duration is not None and abs(duration / step - num_frames) > 1:
            raise InputError(
                f"{video_id} has {num_frames} frames ({self.features.where(video_id)}), but lasts "
                f"{duration} s, which makes {duration / step:.1f} of {step} s: correct its "
                "duration or seconds_per_feature, or extract it again"
            )
        subtitles = self.subtitles.read(video_id, report)
        late = sum(subtitle.start >= num_frames * step for subtitle in subtitles)
        report.add(
            "subtitles after the last frame (is the frame rate right?): kept, without frames",
            f"{video_id}: {late} of {len(subtitles)} begin after {num_frames * step:g} s",
            late,
        )
        video = RawClip(video_id, features, subtitles, duration)
        if not self.clip_seconds:
            return [video]
        return windows.cut_video(video, self.clip_seconds, step, report)

    def video_of(self, clip_id: str) -> str:
        """Returns the clip's id without the clip's number, if videos are cut."""
        return windows.video_of(clip_id) if self.clip_seconds else clip_id

    def narrowed(self, videos: Sequence[str]) -> Self:
        """Returns a source of these videos' clips, without queries."""
        return dataclasses.replace(
            self,
            videos={},
            queries={},
            report=Report(),
            features=self.features.narrowed(videos),
            subtitles=self.subtitles.narrowed(videos),
            durations={i: self.durations[i] for i in videos if i in self.durations},
        )

    def identity(self, videos: Sequence[str]) -> list[Any]:
        """Returns settings, durations, and names, sizes and times of the videos' files."""
        readers = (self.features, self.subtitles)
        files = dict.fromkeys(f for i in videos for reader in readers for f in reader.files(i))
        durations = [self.durations.get(i) for i in videos]
        settings = self.subtitles.settings()
        return [self.clip_seconds, durations, settings, [_state(file) for file in files]]


AnySource = TypeVar("AnySource", bound=RawSource)


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
    source_class: type[AnySource],
) -> AnySource:
    """Makes a source: finds its videos, their splits, and the clip that each query is about.

    Args:
      annotations: annotations of all files.
      query_type: type of all annotations.
      splits: video ids by split. If empty, the splits of the annotations are used or, if these have
        none either, random splits with these `shares`.
      shares: shares of validation and test in random splits.
      seconds_per_feature: None for what the features say of themselves or, if they do not, to
        derive it from the durations in the annotations.
      clip_seconds: length of the clips that videos are cut into, 0 if they are not cut.
      report: counts what is left out, cut or changed.
      source_class: class of the source.

    Raises:
      InputError: there are no videos, the seconds per feature cannot be known, or the arguments do
        not fit together.
    """
    _check_seconds(seconds_per_feature, clip_seconds)
    _check_query_ids(annotations)
    feature_ids = _complete_ids(features)
    annotations = in_published_clips(annotations, KnownNames(feature_ids), clip_seconds)
    listed = with_feature_ids(splits, feature_ids) or splits_of_annotations(annotations)
    listed = listed or default_splits(feature_ids, shares)
    videos = with_features(listed, features, subtitles.ids(), report)
    durations = _durations(annotations, report)
    origins = features.origins({video_id for ids in videos.values() for video_id in ids}, report)
    seconds_per_feature = agreed_seconds(origins, seconds_per_feature)
    if seconds_per_feature is None:
        seconds_per_feature = derive_seconds_per_feature(features, durations)
    if clip_seconds:
        windows.frames_per_clip(clip_seconds, seconds_per_feature)
    placer = Placer(features, videos, seconds_per_feature, clip_seconds, durations, report)
    return source_class(
        videos=videos,
        queries=_place_all(annotations, placer, feature_ids),
        query_type=query_type,
        seconds_per_feature=seconds_per_feature,
        report=report,
        features=features,
        subtitles=subtitles,
        durations=durations,
        clip_seconds=clip_seconds,
        networks=tuple(origin.identity if origin else None for origin in origins),
    )


def _complete_ids(features: FeatureReader) -> set[str]:
    """Returns the ids of the videos with all parts; raises InputError if there are none."""
    ids = features.ids()
    if not ids:
        video_id, part = next(iter(features.incomplete().items()), ("", ""))
        raise InputError(
            f"no video has all parts of the features: extract them all ({video_id}, for one, is "
            f"not in {part})"
        )
    return ids


def _place_all(
    annotations: Sequence[Annotation], placer: Placer, feature_ids: set[str]
) -> dict[str, list[RawQuery]]:
    """Returns the queries by split; raises InputError if nearly all annotations are left out."""
    queries: dict[str, list[RawQuery]] = {}
    for annotation in annotations:
        placed = placer.place(annotation)
        if placed is not None:
            split, query = placed
            queries.setdefault(split, []).append(query)
    about = {annotation.query.clip_id for annotation in annotations} - {""}
    if annotations and not queries:
        first = annotations[0]
        raise InputError(
            f"none of {len(annotations)} annotations is about a video of the dataset: correct them "
            f"(the first, {first.where}, is about "
            f"{first.query.clip_id or 'none in particular'!r}) {nearest(about, feature_ids)}"
        )
    check_alike(about, feature_ids, "videos in annotations", "videos with features")
    return queries


def _state(file: Path) -> list[str | int]:
    """Returns JSON values that change when the file changes."""
    try:
        status = file.stat()
    except OSError:  # Reading the file will report it.
        return [str(file)]
    return [str(file), status.st_size, status.st_mtime_ns]


def _check_seconds(seconds_per_feature: float | None, clip_seconds: float) -> None:
    if seconds_per_feature is not None and not 0 < seconds_per_feature < math.inf:
        raise InputError(
            f"seconds_per_feature={seconds_per_feature:g} is impossible: give a number above 0"
        )
    if not 0 <= clip_seconds < math.inf:
        raise InputError(f"clip_seconds={clip_seconds:g} is impossible: give 0 or a number above 0")


def _check_query_ids(annotations: Iterable[Annotation]) -> None:
    """Raises InputError for an id that occurs twice, in the same file or in two."""
    place_of: dict[str, str] = {}
    for annotation in annotations:
        query_id = annotation.query.query_id
        if query_id in place_of:
            raise InputError(
                f"query {query_id} comes twice, at {place_of[query_id]} and at "
                f"{annotation.where}: rename one of them"
            )
        place_of[query_id] = annotation.where


def _durations(annotations: Iterable[Annotation], report: Report) -> dict[str, float]:
    """Returns seconds by video, from the first annotation that gives them."""
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
    """Derives the seconds per feature from the durations of videos.

    The number agrees with every duration to within one feature. It has as few decimals as possible,
    but at least one, and is the only such number with so few decimals.

    Raises:
      InputError: there are no durations, or there is not exactly one such number.
    """
    low, high, shortest, longest = 0.0, math.inf, "", ""
    lengths: dict[str, int] = {}
    for video_id in sorted(durations.keys() & features.ids()):
        with contextlib.suppress(InputError):  # Reading the video will report it.
            lengths[video_id] = features.num_frames(video_id)
    for video_id, num_frames in lengths.items():
        seconds = durations[video_id]
        if seconds / (num_frames + 1) > low:
            low, longest = seconds / (num_frames + 1), video_id
        if num_frames > 1 and seconds / (num_frames - 1) < high:
            high, shortest = seconds / (num_frames - 1), video_id
    if not longest or not shortest:
        raise InputError(
            "seconds_per_feature is unknown: give it, or annotations with the durations of longer "
            "videos"
        )
    if low > high:
        raise InputError(
            f"durations and features disagree: {longest} has {lengths[longest]} frames in "
            f"{durations[longest]} s, {shortest} {lengths[shortest]} in {durations[shortest]} s: "
            "extract one of them again"
        )
    for decimals in range(1, MOST_DECIMALS + 1):
        unit = 10**decimals
        numbers = [n / unit for n in range(math.ceil(low * unit), math.floor(high * unit) + 1) if n]
        if len(numbers) == 1:
            logging.warning(
                "%g s per feature: derived, all durations allow %.3f to %.3f.",
                numbers[0],
                low,
                high,
            )
            return numbers[0]
        if numbers:
            break
    raise InputError(
        f"seconds_per_feature is unknown: give it, since the durations allow {low:.4f} to "
        f"{high:.4f}"
    )
