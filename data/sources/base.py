"""Protocols of a dataset's source and of the readers of features and subtitles."""

import dataclasses
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from data.networks import Networks
from data.report import Report
from data.schema import RawClip, RawQuery, RawSubtitle
from data.sources.feature_identity import Origin


class FeatureReader(Protocol):
    """Protocol of readers of frame features, which come in parts (2D, 3D) for each frame.

    A reader can be pickled, because it is sent to worker processes.
    """

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have all parts."""

    def incomplete(self) -> dict[str, Path]:
        """Returns one path that lacks the video, for each video that has only some parts."""

    def num_frames(self, video_id: str) -> int:
        """Returns the number of frames that `read` returns, without reading them.

        Raises:
          InputError: the features cannot be used.
        """

    def read(self, video_id: str, report: Report) -> tuple[np.ndarray, ...]:
        """Returns the parts, `[frames, width]` each; what is cut is counted in `report`.

        Raises:
          InputError: the features cannot be used.
        """

    def where(self, video_id: str) -> str:
        """Names the place of a video's features for messages."""

    def files(self, video_id: str) -> list[Path]:
        """Returns the files that a video's features depend on, without opening them."""

    def origins(self, ids: Collection[str], report: Report) -> tuple[Origin | None, ...]:
        """Returns how each part of these videos' features was made, () if nothing is known of any.

        Raises:
          InputError: the features of a part were not all made alike.
        """

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these videos only."""


class SubtitleReader(Protocol):
    """Protocol of readers of subtitles.

    A reader can be pickled, because it is sent to worker processes.
    """

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have subtitles."""

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns a video's subtitles; what is left out is counted in `report`.

        A video without subtitles has an empty tuple.

        Raises:
          InputError: the subtitles cannot be used.
        """

    def files(self, video_id: str) -> list[Path]:
        """Returns the files of a video's subtitles, without opening them."""

    def settings(self) -> list[str | None]:
        """Returns JSON values that what is read from these files depends on."""

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these videos only."""


class Source(Protocol):
    """Protocol of a source: videos that become clips, and queries about these clips.

    A source can be pickled, because it is sent to worker processes.
    """

    @property
    def videos(self) -> Mapping[str, Sequence[str]]:
        """Ids of the videos by split; each id occurs once, and no split is empty."""

    @property
    def queries(self) -> Mapping[str, Sequence[RawQuery]]:
        """Queries by split."""

    @property
    def query_type(self) -> str:
        """Type of all queries, one of `data.schema.QUERY_TYPES`; '' without queries."""

    @property
    def networks(self) -> Networks:
        """The network that made each part of the features; () if nothing is known of any."""

    @property
    def seconds_per_feature(self) -> float:
        """Seconds between two frames."""

    @property
    def report(self) -> Report:
        """Counts of what was left out before any clip was read."""

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """Returns the clips of a video; what is left out of them is counted in `report`.

        Raises:
          InputError: the video cannot be used.
        """

    def video_of(self, clip_id: str) -> str:
        """Returns the id of the video that a clip is part of."""

    def narrowed(self, videos: Sequence[str]) -> Self:
        """Returns a source with only the data that the clips of these videos need."""

    def identity(self, videos: Sequence[str]) -> list[Any]:
        """Returns JSON values that change when the clips of these videos change.

        The videos are not read for this. A later run of the same build keeps a finished shard as
        long as the identity of its videos is the same.
        """


@dataclasses.dataclass
class ClipSource:
    """A `Source` of clips in memory, each of which is its own video.

    by_split: clips by split.
    seconds_per_feature, queries, query_type, report, networks: see `Source`.
    token: identity of this object, because clips in memory cannot be compared with later ones.
    """

    by_split: Mapping[str, Sequence[RawClip]]
    seconds_per_feature: float
    queries: Mapping[str, Sequence[RawQuery]] = dataclasses.field(default_factory=dict)
    query_type: str = ""
    report: Report = dataclasses.field(default_factory=Report)
    networks: Networks = ()
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.by_split = {split: list(clips) for split, clips in self.by_split.items()}
        self.videos = {s: [clip.clip_id for clip in clips] for s, clips in self.by_split.items()}
        self._clips = {clip.clip_id: clip for clips in self.by_split.values() for clip in clips}

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """Returns the one clip with this id."""
        return [self._clips[video_id]]

    def video_of(self, clip_id: str) -> str:
        """Returns the clip's id, because a clip is its own video."""
        return clip_id

    def narrowed(self, videos: Sequence[str]) -> "ClipSource":
        """Returns a source of these clips, with the same identity."""
        clips = [self._clips[video_id] for video_id in videos]
        return ClipSource({"": clips}, self.seconds_per_feature, token=self.token)

    def identity(self, videos: Sequence[str]) -> list[str]:
        """Returns the identity of this object, whatever the videos are."""
        return [self.token]
