"""Readers of the databases in which the original keeps features and subtitles.

  tv/resnet_slowfast_1.5   features of frames, also as ..._compressed: `VideoDatabase`
  tv_subtitles.db          subtitles and their token ids: `SubtitleDatabase`
  tvr_train.db             queries, questions, statements or captions: see `queries`

Each is a folder with an LMDB environment. A value of features is msgpack, with arrays as
msgpack_numpy writes them, or an `.npz`; the other values are msgpack in an LZ4 frame.
"""

import contextlib
import copy
import io
import reprlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self

import msgpack
import numpy as np

from data.arguments import user_path
from data.arrays import read_array, read_header
from data.errors import InputError
from data.records.assembly import check_part
from data.report import Report
from data.schema import RawSubtitle, SpecialIds
from data.sources.feature_identity import Origin
from data.sources.json_files import Mistake, as_list, as_number, as_object, as_positive, as_string
from data.sources.names import spellings, tell_spellings
from data.sources.original.storage import (
    ADVICE,
    as_token_ids,
    names_of,
    read_object,
    readable,
    reading,
    unpack,
    usable,
)
from data.sources.subtitles import LATEST, MISTAKE
from data.zip_files import open_zip

_ZIP = b"PK\x03\x04"


class _Database:
    """Values by clip.

    Nothing stays open: a database can be pickled and used by any process.
    """

    def __init__(self, folder: Path):
        self._folder = user_path(folder)
        with reading(self._folder) as environment:
            self._ids = frozenset(names_of(environment.keys(), self._folder))
        # Name of each clip whose name here is not its id.
        self._names: dict[str, str] = {}

    def ids(self) -> set[str]:
        """Returns the ids of the clips."""
        return set(self._ids)

    def where(self, clip_id: str) -> str:
        """Names the place of a clip for messages."""
        return f"{self._folder}, clip {self._names.get(clip_id, clip_id)}"

    def files(self, clip_id: str) -> list[Path]:
        """Returns the files that a clip is in, without opening them."""
        del clip_id
        return [self._folder / "data.mdb"]

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these clips only."""
        narrowed = copy.copy(self)
        narrowed._ids = self._ids & frozenset(ids)
        return narrowed

    def _value(self, clip_id: str) -> bytes:
        with reading(self._folder) as environment:
            value = environment.get(self._names.get(clip_id, clip_id).encode())
        if value is None:
            raise InputError(f"{self.where(clip_id)} is missing: {ADVICE}")
        return value


class VideoDatabase(_Database):
    """A `FeatureReader` of a database of frame features."""

    def __init__(self, folder: Path, widths: Sequence[int] = ()):
        """Lists the clips, and reads their numbers of frames in `id2nframe.json`.

        That file is beside the folder, and may be missing.

        Args:
          folder: folder of the environment.
          widths: widths of the parts of a stored feature vector, in order; () for one part.

        Raises:
          InputError: the folder holds no database, or `id2nframe.json` cannot be read.
        """
        super().__init__(folder)
        self._widths = tuple(widths)
        self._counts_file = self._folder.absolute().parent / "id2nframe.json"
        self._counts = read_object(self._counts_file) if self._counts_file.exists() else {}

    def files(self, clip_id: str) -> list[Path]:
        """Returns the files that a clip's frames depend on, without opening them."""
        return [*super().files(clip_id), self._counts_file]

    def origins(self, ids: Collection[str], report: Report) -> tuple[Origin | None, ...]:
        """Returns nothing: a database does not say how its features were made."""
        del ids, report
        return ()

    def incomplete(self) -> dict[str, Path]:
        """Returns no clips: each has all parts of its features."""
        return {}

    def num_frames(self, clip_id: str) -> int:
        """Returns the number of frames that `read` returns, without decompressing them.

        Raises:
          InputError: the value does not hold features.
        """
        return self._num_kept(clip_id, _stored_shape(self._value(clip_id), self.where(clip_id))[0])

    def read(self, clip_id: str, report: Report) -> tuple[np.ndarray, ...]:
        """Returns the parts of a clip's features, each `[frames, width]`, as they are stored.

        Frames beyond the number in `id2nframe.json` are cut, as in the original, and counted.

        Raises:
          InputError: the value does not hold features, not all of them are finite, or the widths of
            the parts do not add up to the width of the features.
        """
        where = self.where(clip_id)
        stored = _stored_features(self._value(clip_id), where)
        num_kept = self._num_kept(clip_id, len(stored))
        report.add(
            "frames cut: more than id2nframe.json says",
            f"{where}: {num_kept} of {len(stored)} frames are kept",
            len(stored) - num_kept,
        )
        features = stored[:num_kept]
        check_part(features, where)
        widths = self._widths or features.shape[1:]
        if sum(widths) != features.shape[1]:
            raise InputError(
                f"{where} has features {features.shape[1]} wide, which do not divide into parts of "
                f"{' + '.join(map(str, widths))}: correct the widths"
            )
        return tuple(np.split(features, np.cumsum(widths)[:-1], axis=1))

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these clips only."""
        narrowed = super().narrowed(ids)
        kept = narrowed._ids & self._counts.keys()
        narrowed._counts = {clip_id: self._counts[clip_id] for clip_id in kept}
        return narrowed

    def _num_kept(self, clip_id: str, num_stored: int) -> int:
        count = self._counts.get(clip_id, num_stored)
        if type(count) is not int or count < 1:
            raise InputError(
                f"{self._counts_file} says that clip {clip_id} has {count!r} frames: correct it, "
                "or remove the clip from that file"
            )
        return min(num_stored, count)


class SubtitleDatabase(_Database):
    """A `SubtitleReader` of a database of subtitles.

    Attributes:
      seconds_per_feature: seconds per feature of the frames that the subtitles were aligned to.
      tokenizer_name: name of the tokenizer that made the token ids, such as 'roberta-base'.
      special_ids: special tokens of that tokenizer.
    """

    def __init__(self, folder: Path):
        """Lists the clips and reads `meta.json`.

        Raises:
          InputError: the folder holds no database, or `meta.json` cannot be used.
        """
        super().__init__(folder)
        path = self._folder / "meta.json"
        meta = read_object(path)
        with usable(path):
            self.seconds_per_feature = as_positive(meta.get("frame_length"), "frame_length")
            self.tokenizer_name = as_string(meta.get("tokenizer"), "tokenizer")
            special: dict[str, Any] = {n: meta.get(n) for n in ("CLS", "PAD", "SEP", "MASK")}
            if not all(type(token) is int for token in special.values()):
                raise Mistake(f"CLS, PAD, SEP and MASK have to be token ids, not {special}")
            self.special_ids = SpecialIds(*special.values())

    def with_ids(self, ids: Collection[str]) -> Self:
        """Returns a reader in which clips have the ids that their names are like."""
        found = spellings(self._ids, ids)
        tell_spellings(found, f"in {self._folder}")
        respelled = copy.copy(self)
        respelled._names = found
        respelled._ids = (self._ids - set(found.values())) | found.keys()
        return respelled

    def settings(self) -> list[str | None]:
        """Returns nothing, because a database says itself how it is read."""
        return []

    def read(self, clip_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns the subtitles of a clip in the stored order, with their token ids.

        A clip that is not in the database has none. Subtitles with impossible times are left out
        and counted.

        Raises:
          InputError: the value cannot be decoded or lacks a field.
        """
        if clip_id not in self._ids:
            return ()
        return tuple(self._subtitles(self._stored(clip_id), self.where(clip_id), report).values())

    def stored_alignment(self, clip_id: str, num_frames: int) -> np.ndarray:
        """Returns the subtitle that the original gave each frame of a clip.

        Returns:
          `[num_frames]` int32: index of each frame's subtitle in what `read` returns, -1 for none.

        Raises:
          InputError: the value cannot be decoded or lacks a field.
        """
        frame_subtitle = np.full(num_frames, -1, np.int32)
        if clip_id not in self._ids:
            return frame_subtitle
        stored, where = self._stored(clip_id), self.where(clip_id)
        subtitles = self._subtitles(stored, where, Report())
        position = {index: i for i, index in enumerate(subtitles)}
        with usable(where):
            for pair in as_list(stored.get("unique_sub2frames"), "unique_sub2frames"):
                index, frames = _as_subtitle_frames(pair)
                frame_subtitle[frames[frames < num_frames]] = position.get(index, -1)
        return frame_subtitle

    def _stored(self, clip_id: str) -> dict[str, Any]:
        return unpack(self._value(clip_id), self.where(clip_id))

    @staticmethod
    def _subtitles(stored: dict[str, Any], where: str, report: Report) -> dict[int, RawSubtitle]:
        """Returns the subtitles that can be used, by their index in the database."""
        subtitles = {}
        with usable(where):
            rows = as_list(stored.get("sub"), "sub")
            # Where nobody speaks the original makes segments of five frames, without tokens.
            ids = as_list(stored.get("input_ids"), "input_ids") if rows else []
            if len(ids) != len(rows):
                raise Mistake(f"sub has {len(rows)} entries, input_ids {len(ids)}")
        for index, value in enumerate(rows):
            where_row = f"{where}, subtitle {index}"
            with usable(where_row):
                row = as_object(value, "it")
                text = as_string(row.get("text"), "text")
                start, end = (as_number(row.get(name), name) for name in ("start", "end"))
                token_ids = as_token_ids(ids[index])
            if -LATEST < start <= end < LATEST:
                subtitles[index] = RawSubtitle(text, start, end, token_ids)
            else:
                report.add(MISTAKE, f"{where_row}: start and end are {start} and {end} seconds")
        return subtitles


def _as_subtitle_frames(value: object) -> tuple[int, np.ndarray]:
    """Returns a subtitle's index and its frames; raises Mistake for anything else."""
    match value:
        case [int(index), [*frames]] if all(type(f) is int and 0 <= f < 2**31 for f in frames):
            return index, np.array(frames, np.int64)
    raise Mistake(f"unique_sub2frames has to hold [index, frames], not {reprlib.repr(value)}")


def _stored_features(data: bytes, where: str) -> np.ndarray:
    """Returns the array `[frames, width]` in a value of features."""
    with readable(where):
        if data.startswith(_ZIP):
            with _open_npz(data) as file:
                features = read_array(file)
        else:
            fields = msgpack.unpackb(data)["features"]
            # Names are bytes or text, depending on the version that wrote them.
            fields = {n.decode() if isinstance(n, bytes) else n: f for n, f in fields.items()}
            features = np.frombuffer(fields["data"], np.dtype(fields["type"]))
            features = features.reshape(fields["shape"])
    _check_shape(features.shape, where)
    return features


def _stored_shape(data: bytes, where: str) -> tuple[int, ...]:
    """Returns the shape of the array that `_stored_features` returns."""
    if not data.startswith(_ZIP):
        return _stored_features(data, where).shape
    with readable(where), _open_npz(data) as file:
        shape, _ = read_header(file)
    _check_shape(shape, where)
    return shape


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"{where} has features {list(shape)}: [frames, width], neither of them 0, is needed"
        )


@contextlib.contextmanager
def _open_npz(data: bytes) -> Iterator[IO[bytes]]:
    """Opens the file of the array `features` in an `.npz`."""
    with open_zip(io.BytesIO(data)) as archive, archive.open("features.npy") as file:
        yield file
