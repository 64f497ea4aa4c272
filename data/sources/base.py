"""What a dataset is built from: videos by split, how each becomes clips, and what reads them."""

import dataclasses
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.report import Report
from data.schema import RawClip, RawQuery, RawSubtitle


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


class Source(Protocol):
    """Videos, and queries about their clips. It can be pickled, for it goes to worker processes.

    Attributes:
      videos: ids by split, in splits that have any; no id is there twice.
      queries: by split.
      query_type: one of `schema.QUERY_TYPES`, '' without queries.
      seconds_per_feature: seconds between two frames.
      report: what was left out before any clip was read.
    """

    videos: Mapping[str, Sequence[str]]
    queries: Mapping[str, Sequence[RawQuery]]
    query_type: str
    seconds_per_feature: float
    report: Report

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """The clips of a video; what is left out of them goes to `report`.

        Raises:
          InputError: the video cannot be used.
        """

    def video_of(self, clip_id: str) -> str:
        """The video that a clip of that name is of."""

    def narrowed(self, videos: Sequence[str]) -> "Source":
        """The same source, with what it takes to make the clips of these videos and no more."""

    def identity(self, videos: Sequence[str]) -> list:
        """JSON values that differ if the clips of these videos do, found without reading them.

        A shard is kept from one run to the next as long as they are the same.
        """


@dataclasses.dataclass
class ClipSource:
    """Clips that are in memory."""

    by_split: Mapping[str, Sequence[RawClip]]
    seconds_per_feature: float
    queries: Mapping[str, Sequence[RawQuery]] = dataclasses.field(default_factory=dict)
    query_type: str = ""
    report: Report = dataclasses.field(default_factory=Report)
    # Of this object alone: what is in memory is not built from again.
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self):
        self.by_split = {split: list(clips) for split, clips in self.by_split.items()}
        self.videos = {s: [clip.clip_id for clip in clips] for s, clips in self.by_split.items()}
        self._clips = {clip.clip_id: clip for clips in self.by_split.values() for clip in clips}

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """The one clip of that name."""
        return [self._clips[video_id]]

    def video_of(self, clip_id: str) -> str:
        """The clip is its own video."""
        return clip_id

    def narrowed(self, videos: Sequence[str]) -> "ClipSource":
        """The source of these clips."""
        clips = [self._clips[video_id] for video_id in videos]
        return ClipSource({"": clips}, self.seconds_per_feature, token=self.token)

    def identity(self, videos: Sequence[str]) -> list:
        """Of this source alone."""
        return [self.token]
