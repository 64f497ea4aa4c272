"""What reads features and subtitles: files (`data.features`, `data.subtitles`) or databases."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from data.report import Report
from data.schema import RawSubtitle


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
