"""Reads frame features from files, one for each video, or from one HDF5 file."""

import contextlib
import copy
import dataclasses
import logging
import os
import reprlib
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from data.arguments import several, texts, user_path
from data.errors import InputError
from data.files import passed_over
from data.records.assembly import check_part
from data.report import Report
from data.sources.feature_files import (
    EXTENSIONS,
    HDF5,
    Stored,
    header,
    readable,
    stored_array,
    values,
)
from data.sources.hdf5_files import open_hdf5
from data.sources.json_files import check_file_name
from data.sources.names import check_alike, common_endings, spellings, tell_spellings

UNREAD = "files among the features that are not read"
# Pattern of the names of files and datasets without their extension.
WHOLE_NAME = "{id}"
# Extensions that are read if a video has files with others too.
_FIRST = (".npz", ".npy", *HDF5)


class FeatureParts:
    """A `FeatureReader` of one or more parts (2D, 3D), each in files of its own.

    A part is

      a folder  with a file for each video: `ID.npz` (the array `features`, or the only one),
                `ID.npy`, `ID.h5` or `ID.hdf5` (the dataset `features`, or the only one), or `ID.pt`
                or `ID.pth` (the tensor, or the tensor `features` or only one of a dict)
      a file    .h5 or .hdf5, in which each video has a dataset `ID`, or a group `ID` that holds
                the dataset `features` or only one

    and holds `[frames, width]` in float16, float32 or float64 for each video.

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
            _open_part(path, pattern, report) for path, pattern in zip(parts, patterns, strict=True)
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
          InputError: a file is damaged, holds anything but finite floating point numbers in the
            range of float16, or the parts' lengths differ by more than one.
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
        """Returns the files of a video's features, without opening them."""
        return [part.file(video_id) for part in self._parts]

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


@dataclasses.dataclass(frozen=True)
class _Part:
    """One part of the features of all videos.

    path: the folder, or the HDF5 file.
    endings: what follows each video's name in the name of its file, such as `_clip.npy`, or of its
      dataset.
    beginning: what the names of all files or datasets begin with.
    names: the name of each video whose name here is not its id.
    """

    path: Path
    endings: Mapping[str, str]
    beginning: str = ""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def stored_name(self, video_id: str) -> str:
        """Returns the name of a video's file or dataset."""
        name = self.names.get(video_id, video_id)
        return f"{self.beginning}{name}{self.endings[video_id]}"

    def file(self, video_id: str) -> Path:
        name = self.stored_name(video_id)
        return self.path if _is_hdf5(self.path) else self.path / name

    def name(self, video_id: str) -> str:
        """Names the place of a video for messages."""
        name = self.stored_name(video_id)
        return f"{name} in {self.path}" if _is_hdf5(self.path) else str(self.path / name)

    def narrowed(self, ids: set[str]) -> "_Part":
        kept = ids & self.endings.keys()
        return dataclasses.replace(
            self,
            endings={i: self.endings[i] for i in kept},
            names={i: self.names[i] for i in kept & self.names.keys()},
        )

    def with_ids(self, ids: Collection[str]) -> "_Part":
        """Returns the part with the ids of the videos that its names are like."""
        found = spellings(self.endings.keys(), ids)
        tell_spellings(found, f"in {self.path}")
        if not found:
            return self
        endings = {**self.endings}
        endings.update({video_id: endings.pop(name) for video_id, name in found.items()})
        return dataclasses.replace(self, endings=endings, names=found)

    def num_frames(self, video_id: str) -> int:
        """Returns the number of frames in the file's header; InputError if it has no features."""
        name = self.name(video_id)
        with self._stored(video_id) as stored:
            shape, dtype = header(stored)
        if len(shape) != 2 or not np.issubdtype(dtype, np.floating) or 0 in shape:
            raise InputError(
                f"{name} is {dtype}{reprlib.repr([*shape])}: floating point [frames, width], "
                f"neither of them 0, is needed{self._other_files(video_id)}"
            )
        return shape[0]

    def read(self, video_id: str) -> np.ndarray:
        """Returns `[frames, width]`, checked."""
        name = self.name(video_id)
        with self._stored(video_id) as stored:
            part = values(stored, name)
        try:
            check_part(part, name)
        except InputError as error:
            is_sequence = part.ndim == 2 and np.issubdtype(part.dtype, np.floating)
            hint = "" if is_sequence else self._other_files(video_id)
            raise InputError(f"{error}{hint}") from error
        return part

    def _stored(self, video_id: str) -> contextlib.AbstractContextManager[Stored]:
        key = self.stored_name(video_id) if _is_hdf5(self.path) else None
        return stored_array(self.file(video_id), key, self.name(video_id))

    def _other_files(self, video_id: str) -> str:
        """Returns the end of a message, if other files than features may lie in the folder."""
        endings = common_endings(self.endings.keys(), 1)
        others = {ending: n for ending, n in endings.items() if not video_id.endswith(ending)}
        return f" ({self.path} holds {_described(endings, min(others))})" if others else ""


def _described(endings: Mapping[str, int], example: str) -> str:
    """Returns what to do about several files of a video, given how many have each ending."""
    counts = ", ".join(f"{count:,} in {ending}" for ending, count in endings.items())
    return (
        f"several files for a video, of which names end {counts}: if not all are features, name "
        f"those that are, as feature_name={{id}}{example}"
    )


def _is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in HDF5 and not path.is_dir()


def _open_part(path: Path, pattern: str, report: Report) -> _Part:
    beginning, end = _halves(pattern)
    if path.is_dir():
        part = _Part(path, _scan(path, beginning, end, report), beginning)
        requirement = "ID.npz, .npy, .h5, .hdf5, .pt or .pth for each video ID"
    elif path.is_file() and _is_hdf5(path):
        with readable(str(path)), open_hdf5(path) as file:
            # Names that are not UTF-8 are bytes.
            names = [name if isinstance(name, str) else ascii(name) for name in file]
        ids = [i for name in names if (i := _between(name, beginning, end)) is not None]
        report.add_all(
            UNREAD,
            (f"{name} in {path}" for name in names if _between(name, beginning, end) is None),
        )
        part = _Part(path, dict.fromkeys(ids, end), beginning)
        requirement = "a dataset or group for each video"
    else:
        raise InputError(
            f"features {path} are no folder and no .h5 or .hdf5 file: correct the path"
        )
    if not part.endings:
        named = f" named {pattern}" if pattern != WHOLE_NAME else ""
        others = [example for example in report.examples.get(UNREAD, ()) if str(path) in example]
        lies = f", and not {others[0]}" if others else ""
        raise InputError(f"{path} holds no features{named}: it needs {requirement}{lies}")
    endings = common_endings(part.endings.keys(), 2)
    if endings:
        logging.warning("%s holds %s.", path, _described(endings, min(endings)))
    return part


def _halves(pattern: str) -> tuple[str, str]:
    """Returns what is before and after the id in a pattern."""
    beginning, found, end = pattern.partition("{id}")
    if not found or "{id}" in end or "/" in pattern:
        raise InputError(
            f"feature_name={pattern} is no name with one {{id}}, as {{id}}_clip: correct it"
        )
    return beginning, end


def _between(name: str, beginning: str, end: str) -> str | None:
    """Returns the id in a name, None if the name is of another pattern."""
    stop = len(name) - len(end)
    fits = name.startswith(beginning) and name.endswith(end) and len(beginning) < stop
    return name[len(beginning) : stop] if fits else None


def _scan(folder: Path, beginning: str, end: str, report: Report) -> dict[str, str]:
    """Returns the endings of a folder's files by video, without opening any of them."""
    found: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    unread = []
    # A pattern may have the extension itself.
    is_whole = os.path.splitext(end)[1].lower() in EXTENSIONS
    with os.scandir(folder) as entries:
        for entry in entries:
            if passed_over(entry.name):
                continue
            extension = os.path.splitext(entry.name)[1]
            ending = sys.intern(end if is_whole else end + extension)
            video_id = _between(entry.name, beginning, ending)
            if video_id is None or extension.lower() not in EXTENSIONS or entry.is_dir():
                unread.append(entry.name)
                continue
            check_file_name(entry.name, folder)
            other = found.setdefault(video_id, ending)
            if other != ending:
                several.setdefault(video_id, {other}).add(ending)
    for video_id, endings in several.items():
        found[video_id] = _first(folder / f"{beginning}{video_id}", endings)
        unread += [f"{beginning}{video_id}{ending}" for ending in endings - {found[video_id]}]
    report.add_all(UNREAD, (f"{folder / name}" for name in unread))
    return found


def _first(path: Path, endings: set[str]) -> str:
    """Returns the ending of the file that is read of several files of a video."""
    # Files that earlier versions of this program did not know do not get in the way of others.
    known = [ending for ending in endings if ending.endswith(_FIRST)]
    if len(known) != 1:
        one, other, *_ = sorted(known or endings)
        raise InputError(
            f"{path.parent} has both {path.name}{one} and {path.name}{other}: leave one of them"
        )
    return known[0]
