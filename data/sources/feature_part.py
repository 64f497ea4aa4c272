"""One part of the features of all videos: a folder of files, or one HDF5 file."""

import contextlib
import dataclasses
import logging
import os
import reprlib
import sys
from collections.abc import Collection, Mapping, Set
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.files import passed_over
from data.progress import progress
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
from data.sources.feature_identity import (
    Origin,
    description_path,
    origin_of_part,
    read_description,
)
from data.sources.hdf5_files import open_hdf5
from data.sources.json_files import check_file_name
from data.sources.names import common_endings, spellings, tell_spellings

UNREAD = "files among the features that are not read"
# Pattern of the names of files and datasets without their extension.
WHOLE_NAME = "{id}"
# Extensions that are read if a video has files with others too.
_FIRST = (".npz", ".npy", *HDF5)
# Extensions of files that may be described, and of their descriptions.
_DESCRIBED, _DESCRIPTION = ".npz", ".json"


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the features of all videos.

    path: the folder, or the HDF5 file.
    endings: what follows each video's name in the name of its file, such as `_clip.npy`, or of its
      dataset.
    beginning: what the names of all files or datasets begin with.
    names: the name of each video whose name here is not its id.
    described: the videos whose file has a JSON file beside it, see `data.sources.feature_identity`.
    """

    path: Path
    endings: Mapping[str, str]
    beginning: str = ""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    described: Set[str] = frozenset()

    def stored_name(self, video_id: str) -> str:
        """Returns the name of a video's file or dataset."""
        name = self.names.get(video_id, video_id)
        return f"{self.beginning}{name}{self.endings[video_id]}"

    def file(self, video_id: str) -> Path:
        """Returns the file of a video."""
        name = self.stored_name(video_id)
        return self.path if _is_hdf5(self.path) else self.path / name

    def files(self, video_id: str) -> list[Path]:
        """Returns the files that a video's features depend on, without opening them."""
        file = self.file(video_id)
        return [file, description_path(file)] if video_id in self.described else [file]

    def name(self, video_id: str) -> str:
        """Names the place of a video for messages."""
        name = self.stored_name(video_id)
        return f"{name} in {self.path}" if _is_hdf5(self.path) else str(self.path / name)

    def narrowed(self, ids: set[str]) -> "Part":
        """Returns the part of these videos only."""
        kept = ids & self.endings.keys()
        return dataclasses.replace(
            self,
            endings={i: self.endings[i] for i in kept},
            names={i: self.names[i] for i in kept & self.names.keys()},
            described=kept & self.described,
        )

    def with_ids(self, ids: Collection[str]) -> "Part":
        """Returns the part with the ids of the videos that its names are like."""
        found = spellings(self.endings.keys(), ids)
        tell_spellings(found, f"in {self.path}")
        if not found:
            return self
        endings = {**self.endings}
        endings.update({video_id: endings.pop(name) for video_id, name in found.items()})
        id_of = {name: video_id for video_id, name in found.items()}
        described = {id_of.get(name, name) for name in self.described}
        return dataclasses.replace(self, endings=endings, names=found, described=described)

    def origin(self, ids: Collection[str], report: Report) -> Origin | None:
        """Returns how the features of these videos were made; see `origin_of_part`."""
        if self.described.isdisjoint(ids):
            return None
        videos = progress(sorted(ids), f"descriptions of {self.path.name} read", len(ids))
        files = ((self.file(video_id), video_id in self.described) for video_id in videos)
        return origin_of_part(files, UNREAD, report)

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
        """Returns `[frames, width]`, checked; InputError if it is not what its JSON file says."""
        name = self.name(video_id)
        with self._stored(video_id) as stored:
            part = values(stored, name)
        try:
            check_part(part, name)
        except InputError as error:
            is_sequence = part.ndim == 2 and np.issubdtype(part.dtype, np.floating)
            hint = "" if is_sequence else self._other_files(video_id)
            raise InputError(f"{error}{hint}") from error
        described = read_description(self.file(video_id)) if video_id in self.described else None
        if described is not None:
            described.check(self.file(video_id), len(part))
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


def open_part(path: Path, pattern: str, report: Report) -> Part:
    """Lists the videos of a folder or an HDF5 file.

    Args:
      pattern: of the names of files or datasets, as WHOLE_NAME.
      report: counts what is not read.

    Raises:
      InputError: there are none, or the pattern is none.
    """
    beginning, end = _halves(pattern)
    if path.is_dir():
        found, described = _scan(path, beginning, end, report)
        part = Part(path, found, beginning, described=described)
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
        part = Part(path, dict.fromkeys(ids, end), beginning)
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


def _scan(
    folder: Path, beginning: str, end: str, report: Report
) -> tuple[dict[str, str], set[str]]:
    """Lists a folder, without opening any file.

    Returns:
      The endings of the files by video, and the videos that have a JSON file beside theirs.
    """
    found: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    unread: list[str] = []
    descriptions: list[str] = []
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
                (descriptions if extension == _DESCRIPTION else unread).append(entry.name)
                continue
            check_file_name(entry.name, folder)
            other = found.setdefault(video_id, ending)
            if other != ending:
                several.setdefault(video_id, {other}).add(ending)
    for video_id, endings in several.items():
        found[video_id] = _first(folder / f"{beginning}{video_id}", endings)
        unread += [f"{beginning}{video_id}{ending}" for ending in endings - {found[video_id]}]
    described = set()
    suffix = end if is_whole else f"{end}{_DESCRIBED}"
    for name in descriptions:
        video_id = _between(name.removesuffix(_DESCRIPTION) + _DESCRIBED, beginning, suffix)
        if video_id is not None and found.get(video_id) == suffix:
            described.add(video_id)
        else:
            unread.append(name)
    report.add_all(UNREAD, (f"{folder / name}" for name in unread))
    return found, described


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
