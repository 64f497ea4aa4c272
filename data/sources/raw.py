"""Imports what people have: features, subtitles, splits and annotations, from files or databases.

The readers of features and subtitles share two protocols, so folders of files
(`data.sources.features`, `data.sources.subtitles`) and the original's databases
(`data.sources.original.database`) go the same way.
"""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.schema import RawClip, RawQuery
from data.sources import windows
from data.sources.annotations.base import Annotation
from data.sources.base import FeatureReader, SubtitleReader
from data.sources.placement import Placer, of_published_clip
from data.sources.splits import splits_by_lot, splits_of_annotations

# Decimals that a derived number of seconds per feature may have.
MOST_DECIMALS = 3
# By how much durations of one video may differ, in seconds.
SAME_SECONDS = 1.0


@dataclasses.dataclass
class RawSource:
    """A `data.sources.base.Source` of features, subtitles and annotations; made by `open_source`.

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
    annotations = [of_published_clip(a, there, clip_seconds) for a in annotations]
    wanted = splits or splits_of_annotations(annotations)
    if not wanted:
        wanted = splits_by_lot(there, shares)
        logging.warning("No splits are given: videos are dealt out to %s.", ", ".join(wanted))
    videos = _with_features(wanted, features, subtitles, report)
    durations = _durations(annotations, report)
    if seconds_per_feature is None:
        seconds_per_feature = derive_seconds_per_feature(features, durations)
    if clip_seconds:
        windows.frames_per_clip(clip_seconds, seconds_per_feature)
    placer = Placer(features, videos, seconds_per_feature, clip_seconds, report)
    queries: dict[str, list[RawQuery]] = {}
    for annotation in annotations:
        placed = placer.place(annotation)
        if placed is not None:
            queries.setdefault(placed[0], []).append(placed[1])
    if annotations and not queries:
        first = annotations[0]
        raise InputError(
            f"none of {len(annotations)} annotations is about the videos there are; the first, "
            f"{first.where}, is about {first.query.clip_id or 'none in particular'!r}: correct them"
        )
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
    told = subtitles.ids()
    report.add_all("videos with subtitles but without features: not used", told - there)
    report.add_all("videos with subtitles but in no split: not used", (told & there) - known)
    report.add_all(
        "videos that lack a part of the features: not used",
        (f"{i}: not in {incomplete[i]}" for i in incomplete.keys() - known),
    )
    return videos
