"""Reads frame features from files, one for each video, or from one HDF5 file."""

import copy
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from data.arguments import several, texts, user_path
from data.errors import InputError
from data.report import Report
from data.sources.feature_identity import Origin
from data.sources.feature_part import WHOLE_NAME, open_part
from data.sources.names import check_alike


class FeatureParts:
    """A `FeatureReader` of one or more parts (2D, 3D), each in files of its own.

    A part is

      a folder  with a file for each video: `ID.npz` (the array `features`, or the only one),
                `ID.npy`, `ID.h5` or `ID.hdf5` (the dataset `features`, or the only one), or `ID.pt`
                or `ID.pth` (the tensor, or the tensor `features` or only one of a dict)
      a file    .h5 or .hdf5, in which each video has a dataset `ID`, or a group `ID` that holds
                the dataset `features` or only one

    and holds `[frames, width]` in float16, float32 or float64 for each video. `ID.json` beside
    `ID.npz` may say how it was made; see `data.sources.feature_identity`.

    A video's id is its name in the first part; names in the other parts may differ from it as
    `data.sources.names` says.

    Networks round the end of a video differently, so parts may differ by one frame: the longer are
    cut to the shortest, which is counted. If they differ by more, the video cannot be used.

    Nothing stays open: a reader can be pickled and used by any process.
    """

    def __init__(
        self, parts: Sequence[Path], names: Sequence[str] = (), report: Report | None = None
    ):
        """Lists the videos.

        Args:
          parts: folders and files.
          names: pattern of the names of files or datasets, `{id}_clip`, for each part or for all;
            by default all of a name is an id.
          report: counts files and datasets that are not read.

        Raises:
          InputError: a part does not exist or holds no features, or hardly any video has two parts.
        """
        parts = [user_path(path) for path in several(parts, "parts", "paths")]
        names = texts(names, "names")
        if len(names) not in (0, 1, len(parts)):
            raise InputError(
                f"feature_name is given {len(names)} times for {len(parts)} parts of features: "
                "give it once, or once for each"
            )
        patterns = [*(names or [WHOLE_NAME])] * (1 if len(names) > 1 else len(parts))
        report = Report() if report is None else report
        first, *others = [
            open_part(path, pattern, report) for path, pattern in zip(parts, patterns, strict=True)
        ]
        self._parts = [first, *(part.with_ids(first.endings.keys()) for part in others)]
        for part in self._parts[1:]:
            check_alike(
                set(first.endings),
                set(part.endings),
                f"videos in {first.path}",
                f"videos in {part.path}",
            )

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have all parts."""
        return set.intersection(*(set(part.endings) for part in self._parts))

    def incomplete(self) -> dict[str, Path]:
        """Returns the first part that lacks the video, for each video that has only some parts."""
        any_part: set[str] = set().union(*(part.endings for part in self._parts))
        return {
            video_id: next(p.path for p in self._parts if video_id not in p.endings)
            for video_id in any_part - self.ids()
        }

    def num_frames(self, video_id: str) -> int:
        """Returns the number of frames that `read` returns, without reading them.

        Raises:
          InputError: see `read`; the values are not checked.
        """
        return self._common_length(video_id, [part.num_frames(video_id) for part in self._parts])

    def read(self, video_id: str, report: Report) -> tuple[np.ndarray, ...]:
        """Returns the parts, `[frames, width]` each, all with the same number of frames.

        Raises:
          InputError: a file is damaged, is not the one that the JSON file beside it describes, or
            holds anything but finite floating point numbers in the range of float16, or the parts'
            lengths differ by more than one.
        """
        arrays = [part.read(video_id) for part in self._parts]
        lengths = [len(array) for array in arrays]
        length = self._common_length(video_id, lengths)
        report.add(
            "frames cut: a part of the features is one longer",
            self._lengths(video_id, lengths),
            max(lengths) - length,
        )
        return tuple(array[:length] for array in arrays)

    def where(self, video_id: str) -> str:
        """Names the files of a video's features for messages."""
        return " and ".join(part.name(video_id) for part in self._parts)

    def files(self, video_id: str) -> list[Path]:
        """Returns the files that a video's features depend on, without opening them."""
        return [file for part in self._parts for file in part.files(video_id)]

    def origins(self, ids: Collection[str], report: Report) -> tuple[Origin | None, ...]:
        """Returns how each part of these videos' features was made; see `origin_of_part`.

        Raises:
          InputError: the files of a part were not all made alike.
        """
        return tuple(part.origin(ids, report) for part in self._parts)

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these videos only."""
        kept = set(ids)
        narrowed = copy.copy(self)
        narrowed._parts = [part.narrowed(kept) for part in self._parts]
        return narrowed

    def _common_length(self, video_id: str, lengths: list[int]) -> int:
        if max(lengths) - min(lengths) > 1:
            raise InputError(
                f"{self._lengths(video_id, lengths)}: extract one of them again (a single frame "
                "would be cut off)"
            )
        return min(lengths)

    def _lengths(self, video_id: str, lengths: list[int]) -> str:
        shortest, longest = lengths.index(min(lengths)), lengths.index(max(lengths))
        return (
            f"{self._parts[shortest].name(video_id)} has {lengths[shortest]} frames where "
            f"{self._parts[longest].name(video_id)} has {lengths[longest]}"
        )
