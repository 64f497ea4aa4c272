"""Reads frame features from NumPy or HDF5 files, one for each video, or from one HDF5 file."""

import contextlib
import copy
import dataclasses
import os
import reprlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import h5py
import numpy as np

from data.arguments import several, user_path
from data.errors import InputError
from data.records.assembly import check_part
from data.report import Report
from data.sources.json_files import check_file_name

_HDF5 = (".h5", ".hdf5")
_EXTENSIONS = (".npz", ".npy", *_HDF5)
# Name of the array or dataset that is read if a file holds several.
_NAME = "features"
# Errors that NumPy, zipfile and h5py raise for truncated, damaged and other files.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class FeatureParts:
    """A `FeatureReader` of one or more parts (2D, 3D), each in files of its own.

    A part is

      a folder  with a file for each video: `ID.npz` (the array `features`, or the only one),
                `ID.npy`, or `ID.h5` or `ID.hdf5` (the dataset `features`, or the only one)
      a file    .h5 or .hdf5, in which each video has a dataset `ID`, or a group `ID` that holds
                the dataset `features` or only one

    and holds `[frames, width]` in float16, float32 or float64 for each video.

    Networks round the end of a video differently, so parts may differ by one frame: the longer are
    cut to the shortest, which is counted. If they differ by more, the video cannot be used.

    Nothing stays open: a reader can be pickled and used by any process.
    """

    def __init__(self, parts: Sequence[Path]):
        """Lists the videos.

        Raises:
          InputError: a part does not exist or holds no features.
        """
        self._parts = [_open_part(user_path(path)) for path in several(parts, "parts", "paths")]

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have all parts."""
        return set.intersection(*(set(part.extensions) for part in self._parts))

    def incomplete(self) -> dict[str, Path]:
        """Returns the first part that lacks the video, for each video that has only some parts."""
        any_part: set[str] = set().union(*(part.extensions for part in self._parts))
        return {
            video_id: next(p.path for p in self._parts if video_id not in p.extensions)
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
    extensions: extension of each video's file in the folder; '' if all videos are in one file.
    """

    path: Path
    extensions: Mapping[str, str]

    def file(self, video_id: str) -> Path:
        extension = self.extensions[video_id]
        return self.path / f"{video_id}{extension}" if extension else self.path

    def name(self, video_id: str) -> str:
        """Names the place of a video for messages."""
        file = self.file(video_id)
        return f"{video_id} in {file}" if file == self.path else str(file)

    def narrowed(self, ids: set[str]) -> "_Part":
        return _Part(self.path, {i: self.extensions[i] for i in ids & self.extensions.keys()})

    def num_frames(self, video_id: str) -> int:
        """Returns the number of frames in the file's header; InputError if it has no features."""
        name = self.name(video_id)
        with self._stored(video_id) as stored:
            shape, dtype = _header(stored)
        if len(shape) != 2 or not np.issubdtype(dtype, np.floating) or 0 in shape:
            raise InputError(
                f"{name} is {dtype}{list(shape)}: floating point [frames, width], neither of them "
                "0, is needed"
            )
        return shape[0]

    def read(self, video_id: str) -> np.ndarray:
        """Returns `[frames, width]`, checked."""
        with self._stored(video_id) as stored:
            if isinstance(stored, h5py.Dataset):
                part = np.asarray(stored[()])
            else:
                part = np.lib.format.read_array(stored, allow_pickle=False)
        check_part(part, self.name(video_id))
        return part

    @contextlib.contextmanager
    def _stored(self, video_id: str) -> Iterator[h5py.Dataset | IO[bytes]]:
        """Yields the video's open dataset, or a stream that starts with the header of a `.npy`."""
        file, name = self.file(video_id), self.name(video_id)
        with _readable(name), contextlib.ExitStack() as stack:
            if file.suffix in _HDF5:
                content = stack.enter_context(h5py.File(file))
                yield _find_dataset(content if file != self.path else content[video_id], name)
            elif file.suffix == ".npz":
                archive = stack.enter_context(zipfile.ZipFile(file))
                yield stack.enter_context(archive.open(_find_array(archive.namelist(), name)))
            else:
                yield stack.enter_context(file.open("rb"))


def _open_part(path: Path) -> _Part:
    if path.is_dir():
        part = _Part(path, _scan(path))
        requirement = "ID.npz, ID.npy, ID.h5 or ID.hdf5 for each video ID"
    elif path.is_file() and path.suffix in _HDF5:
        with _readable(str(path)), h5py.File(path) as file:
            part = _Part(path, dict.fromkeys(file, ""))
        requirement = "a dataset or group for each video"
    else:
        raise InputError(
            f"features {path} are no folder and no .h5 or .hdf5 file: correct the path"
        )
    if not part.extensions:
        raise InputError(f"{path} holds no features: it needs {requirement}")
    return part


def _scan(folder: Path) -> dict[str, str]:
    """Returns the extensions of a folder's files by video, without opening any of them."""
    extensions: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            video_id, extension = os.path.splitext(entry.name)
            if extension not in _EXTENSIONS:
                continue
            check_file_name(entry.name, folder)
            other = extensions.setdefault(video_id, extension)
            if other != extension:
                raise InputError(
                    f"{folder} has both {video_id}{other} and {video_id}{extension}: leave one of "
                    "them"
                )
    return extensions


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns any error of reading a file into an InputError that begins with `name`."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        why = " ".join(str(error).split())
        raise InputError(f"{name} cannot be read ({why}): extract it again") from error


def _header(stored: h5py.Dataset | IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Returns shape and type of the array that `_Part._stored` yields."""
    if isinstance(stored, h5py.Dataset):
        return stored.shape or (), stored.dtype
    version = np.lib.format.read_magic(stored)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stored)
    else:
        # Version 3 is for arrays with named fields, which are refused in either version.
        shape, _, dtype = np.lib.format.read_array_header_2_0(stored)
    return shape, dtype


def _find_dataset(content: h5py.Dataset | h5py.Group, name: str) -> h5py.Dataset:
    """Returns the dataset `features` of a group or its only one, or the dataset itself."""
    if isinstance(content, h5py.Dataset):
        return content
    datasets = [key for key in content if isinstance(content.get(key), h5py.Dataset)]
    return content[_choose(datasets, "dataset", name)]


def _find_array(members: list[str], name: str) -> str:
    """Returns the member `features` of an `.npz` archive, or its only one."""
    # Members without `.npy` count too: their names may be damaged.
    arrays = [member.removesuffix(".npy") for member in members]
    return f"{_choose(arrays, 'array', name)}.npy"


def _choose(keys: list[str], kind: str, name: str) -> str:
    if _NAME in keys:
        return _NAME
    if len(keys) != 1:
        raise InputError(
            f"{name} has no {kind} {_NAME} but {reprlib.repr(keys)}: save it under that name"
        )
    return keys[0]
