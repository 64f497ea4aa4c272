"""Feature files: `NETWORK/ID.npz`, and beside each an `ID.json` that says how it was made.

A file counts as finished only if its description has its hash, so that a pair of which one was not
written is made again.
"""

import dataclasses
import functools
import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import replacing
from data.sources.feature_files import stored_array, values
from data.sources.json_files import read_json
from hero_jax import __version__


class VideoFile:
    """A video file as it is now: what tells it from another one, or from itself after a change."""

    def __init__(self, path: Path):
        """Reads size and time of a file; raises InputError if there is none."""
        self.path = path
        self._status = _status(path)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content, which takes reading all of it."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def is_as(self, described: Mapping[str, Any]) -> bool:
        """Returns whether the file has the content that a description is of."""
        if self._status.st_size != described.get("bytes"):
            return False
        # Copies get a new time, so that the content has to decide.
        return self.has_time_of(described) or self.sha256 == described.get("sha256")

    def has_time_of(self, described: Mapping[str, Any]) -> bool:
        """Returns whether the file has the time of change that is in a description."""
        return self._status.st_mtime_ns == described.get("modified")

    def describe(self) -> dict[str, Any]:
        """Returns the description, as JSON values.

        Raises:
          InputError: the file was changed since this object was made.
        """
        described = {
            "name": self.path.name,
            "bytes": self._status.st_size,
            "modified": self._status.st_mtime_ns,
            "sha256": self.sha256,
        }
        now = _status(self.path)
        if (now.st_size, now.st_mtime_ns) != (described["bytes"], described["modified"]):
            raise InputError(
                f"{self.path} was changed while it was read: run the command again when it is "
                "complete"
            )
        return described


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}): correct its name")


@dataclasses.dataclass(frozen=True)
class Making:
    """Network and settings that make features; files of others are made again.

    Attributes:
      network: its name.
      weights: hash of its weights.
      seconds_per_feature: as a fraction, `3/2`.
      even_sampling: whether the frames of a clip are evenly spaced, unlike the published ones.
      dtype: what the network computes in.
    """

    network: str
    weights: str
    seconds_per_feature: str
    even_sampling: bool
    dtype: str


@dataclasses.dataclass(frozen=True)
class FeatureFile:
    """Description of a feature file, which lies beside it.

    Attributes:
      making: how it was made.
      source_rate: frames a second of the film, a whole number.
      duration: seconds of the film as its file declares them, -1 if it does not.
      cut: number of rows that the network gave beyond those of the file, which another did not.
      warnings: sentences about the film.
      video: the film, see `VideoFile`.
      rows, width: size of the features.
      sha256: hash of the `.npz`.
    """

    making: Making
    source_rate: int
    duration: float
    cut: int
    warnings: tuple[str, ...]
    video: Mapping[str, Any]
    rows: int = 0
    width: int = 0
    sha256: str = ""

    @classmethod
    def load(cls, path: Path) -> "FeatureFile | None":
        """Reads a description; returns None if there is none, or a damaged one."""
        try:
            content: Any = read_json(path)
            making = Making(*(content[field.name] for field in dataclasses.fields(Making)))
            names = [field.name for field in dataclasses.fields(cls) if field.name != "making"]
            found = cls(making, **{name: content[name] for name in names})
        except (InputError, LookupError, TypeError):
            return None
        usable = type(found.rows) is int and isinstance(found.video, dict)
        return dataclasses.replace(found, warnings=tuple(found.warnings)) if usable else None

    def save(self, path: Path) -> None:
        """Writes the description."""
        content = dataclasses.asdict(self)
        content = {**content.pop("making"), **content, "tool": f"hero_jax {__version__}"}
        with replacing(path, alone=True) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")


def finished(folder: Path, video_id: str, making: Making, film: VideoFile) -> FeatureFile | None:
    """Returns the description of a film's finished file in a network's folder, None without one."""
    found = FeatureFile.load(folder / f"{video_id}.json")
    if found is None or found.making != making or not film.is_as(found.video):
        return None
    try:
        content = (folder / f"{video_id}.npz").read_bytes()
    except OSError:
        return None
    return found if hashlib.sha256(content).hexdigest() == found.sha256 else None


def write(
    folder: Path, video_id: str, features: np.ndarray, description: FeatureFile
) -> FeatureFile:
    """Writes a film's features `[rows, width]`; returns what it writes beside them.

    Args:
      description: of these features, but for their size and hash.

    Raises:
      OSError: they cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, features=features)
    content = buffer.getvalue()
    with replacing(folder / f"{video_id}.npz", alone=True) as temporary:
        temporary.write_bytes(content)
    rows, width = features.shape
    sha256 = hashlib.sha256(content).hexdigest()
    description = dataclasses.replace(description, rows=rows, width=width, sha256=sha256)
    description.save(folder / f"{video_id}.json")
    return description


def cut(folder: Path, video_id: str, description: FeatureFile, rows: int) -> FeatureFile:
    """Cuts a finished file to fewer rows, because another network of the film has no more."""
    file = folder / f"{video_id}.npz"
    with stored_array(file, None, str(file)) as stored:
        features = values(stored, str(file))
    more = description.cut + len(features) - rows
    return write(folder, video_id, features[:rows], dataclasses.replace(description, cut=more))
