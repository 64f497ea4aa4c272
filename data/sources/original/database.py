"""Reads the databases in which the original keeps features and subtitles.

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
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import lmdb
import lz4.frame
import msgpack
import numpy as np

from data.errors import InputError
from data.records.assembly import check_part
from data.report import Report
from data.schema import RawSubtitle, SpecialIds
from data.sources.json_files import Mistake, as_list, as_number, as_object, as_string, json_file
from data.sources.subtitles import LATEST, MISTAKE

_ADVICE = "copy or prepare the database again"
_ZIP = b"PK\x03\x04"
# What LMDB, LZ4, msgpack, zipfile and NumPy raise for bytes that are cut off or damaged.
_UNREADABLE = (
    *(OSError, EOFError, MemoryError, RuntimeError, SyntaxError, OverflowError),
    *(ValueError, TypeError, AttributeError, KeyError, tokenize.TokenError),
    *(lmdb.Error, msgpack.UnpackException, zipfile.BadZipFile, zlib.error),
)
# A process must not open an environment twice at a time, and threads may read side by side.
_OPENING = threading.Lock()


class _Database:
    """Values by clip. Nothing is kept open: it can be pickled and used by any process."""

    def __init__(self, folder: Path):
        self._folder = Path(folder)
        with reading(self._folder) as transaction:
            keys = list(transaction.cursor().iternext(keys=True, values=False))
        self._ids = frozenset(names_of(keys, self._folder))

    def ids(self) -> set[str]:
        """Of the clips that it has."""
        return set(self._ids)

    def where(self, clip_id: str) -> str:
        """Where a clip is, for messages."""
        return f"{self._folder}, clip {clip_id}"

    def files(self, clip_id: str) -> list[Path]:
        """The files that a clip is in; they are not opened."""
        del clip_id
        return [self._folder / "data.mdb"]

    def narrowed(self, ids: Iterable[str]) -> Self:
        """The same database, with no more than these clips."""
        narrowed = copy.copy(self)
        narrowed._ids = self._ids & frozenset(ids)
        return narrowed

    def _value(self, clip_id: str) -> bytes:
        with reading(self._folder) as transaction:
            value = transaction.get(clip_id.encode())
        if value is None:
            raise InputError(f"{self.where(clip_id)} is not there: {_ADVICE}")
        return value


class VideoDatabase(_Database):
    """Features of frames, by clip."""

    def __init__(self, folder: Path, widths: Sequence[int] = ()):
        """Finds the clips, and what `id2nframe.json` beside the folder says of their frames.

        Args:
          folder: of the environment.
          widths: of the parts that stand side by side in a frame's feature vector, in order; it is
            one part if there are none.

        Raises:
          InputError: the folder holds no database, or `id2nframe.json` cannot be read.
        """
        super().__init__(folder)
        self._widths = tuple(widths)
        self._counts_file = self._folder.absolute().parent / "id2nframe.json"
        self._counts = json_object(self._counts_file) if self._counts_file.exists() else {}

    def files(self, clip_id: str) -> list[Path]:
        """The files that say which frames a clip has; they are not opened."""
        return [*super().files(clip_id), self._counts_file]

    def incomplete(self) -> dict[str, Path]:
        """None: a clip has all parts of its features or none."""
        return {}

    def num_frames(self, clip_id: str) -> int:
        """How many frames `read` gives, found without decompressing them.

        Raises:
          InputError: the value does not hold features.
        """
        return self._kept(clip_id, _stored_shape(self._value(clip_id), self.where(clip_id))[0])

    def read(self, clip_id: str, report: Report) -> tuple[np.ndarray, ...]:
        """The parts of a clip's features, each `[frames, width]`, as they are stored.

        Frames beyond what `id2nframe.json` says are cut, as in the original, and counted.

        Raises:
          InputError: the value does not hold features, not all of them are finite, or they do not
            divide into parts of these widths.
        """
        where = self.where(clip_id)
        stored = _stored_features(self._value(clip_id), where)
        kept = self._kept(clip_id, len(stored))
        report.add(
            "frames cut: more than id2nframe.json says",
            f"{where}: {kept} of {len(stored)} frames are kept",
            len(stored) - kept,
        )
        features = stored[:kept]
        check_part(features, where)
        widths = self._widths or features.shape[1:]
        if sum(widths) != features.shape[1]:
            raise InputError(
                f"{where} has features {features.shape[1]} wide, which do not divide into parts of "
                f"{' + '.join(map(str, widths))}: correct the widths"
            )
        return tuple(np.split(features, np.cumsum(widths)[:-1], axis=1))

    def narrowed(self, ids: Iterable[str]) -> Self:
        """The same database, with no more than these clips."""
        narrowed = super().narrowed(ids)
        known = narrowed._ids & self._counts.keys()
        narrowed._counts = {clip_id: self._counts[clip_id] for clip_id in known}
        return narrowed

    def _kept(self, clip_id: str, stored: int) -> int:
        count = self._counts.get(clip_id, stored)
        if type(count) is not int or count < 1:
            raise InputError(
                f"{self._counts_file} says that clip {clip_id} has {count!r} frames: correct it, "
                "or remove the clip from that file"
            )
        return min(stored, count)


class SubtitleDatabase(_Database):
    """Subtitles, by clip.

    Attributes:
      seconds_per_feature: of the features that they were aligned to.
      tokenizer_name: what made their token ids, e.g. 'roberta-base'.
      special_ids: of that tokenizer.
    """

    def __init__(self, folder: Path):
        """Finds the clips and reads `meta.json`; InputError if the one or the other is no use."""
        super().__init__(folder)
        path = self._folder / "meta.json"
        meta = json_object(path)
        with usable(path):
            self.seconds_per_feature = as_number(meta.get("frame_length"), "frame_length")
            if self.seconds_per_feature <= 0:
                raise Mistake(f"frame_length is {self.seconds_per_feature}")
            self.tokenizer_name = as_string(meta.get("tokenizer"), "tokenizer")
            special = {name: meta.get(name) for name in ("CLS", "PAD", "SEP", "MASK")}
            if not all(type(token) is int for token in special.values()):
                raise Mistake(f"CLS, PAD, SEP and MASK have to be token ids, not {special}")
            self.special_ids = SpecialIds(*special.values())

    def read(self, clip_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """The subtitles of a clip in the order in which they are stored, with their token ids.

        There are none of a clip that is not in the database. Those that end before they begin are
        left out and counted.

        Raises:
          InputError: the value cannot be decoded or lacks a field.
        """
        if clip_id not in self._ids:
            return ()
        return tuple(self._subtitles(self._stored(clip_id), self.where(clip_id), report).values())

    def stored_alignment(self, clip_id: str, num_frames: int) -> np.ndarray:
        """Which subtitle the original gave each frame of a clip.

        Returns:
          `[num_frames]` int32: the index of each frame's subtitle in what `read` gives, -1 for
          none.

        Raises:
          InputError: the value cannot be decoded or lacks a field.
        """
        owner = np.full(num_frames, -1, np.int32)
        if clip_id not in self._ids:
            return owner
        stored, where = self._stored(clip_id), self.where(clip_id)
        subtitles = self._subtitles(stored, where, Report())
        position = {index: i for i, index in enumerate(subtitles)}
        with usable(where):
            for pair in as_list(stored.get("unique_sub2frames"), "unique_sub2frames"):
                index, frames = _pair_of_frames(pair)
                owner[frames[frames < num_frames]] = position.get(index, -1)
        return owner

    def _stored(self, clip_id: str) -> dict:
        return unpack(self._value(clip_id), self.where(clip_id))

    @staticmethod
    def _subtitles(stored: dict, where: str, report: Report) -> dict[int, RawSubtitle]:
        """The subtitles that can be used, by their index in the database."""
        subtitles = {}
        with usable(where):
            rows = as_list(stored.get("sub"), "sub")
            # Where nobody speaks the original makes segments of five frames, without tokens.
            ids = as_list(stored.get("input_ids"), "input_ids") if rows else []
            if len(ids) != len(rows):
                raise Mistake(f"sub has {len(rows)} entries, input_ids {len(ids)}")
        for index, row in enumerate(rows):
            place = f"{where}, subtitle {index}"
            with usable(place):
                row = as_object(row, "it")
                text = as_string(row.get("text"), "text")
                start, end = (as_number(row.get(name), name) for name in ("start", "end"))
                token_ids = token_ids_in(ids[index])
            if -LATEST < start <= end < LATEST:
                subtitles[index] = RawSubtitle(text, start, end, token_ids)
            else:
                report.add(
                    MISTAKE,
                    f"{place}: start and end are {start} and {end} seconds",
                )
        return subtitles


def _pair_of_frames(pair: object) -> tuple[int, np.ndarray]:
    """A subtitle's index and its frames."""
    match pair:
        case [int(index), [*frames]] if all(type(f) is int and 0 <= f < 2**31 for f in frames):
            return index, np.array(frames, np.int64)
    raise Mistake(f"unique_sub2frames has to hold [index, frames], not {reprlib.repr(pair)}")


def token_ids_in(stored: object) -> tuple[int, ...]:
    ids = as_list(stored, "input_ids")
    if not all(type(token) is int and 0 <= token < 2**31 for token in ids):
        raise Mistake(f"input_ids has to hold token ids, not {reprlib.repr(ids)}")
    return tuple(ids)


@contextlib.contextmanager
def usable(what: str | Path) -> Iterator[None]:
    """InputError, beginning with `what`, for a Mistake in what is stored."""
    try:
        yield
    except Mistake as mistake:
        raise InputError(f"{what}: {mistake}: {_ADVICE}") from mistake


@contextlib.contextmanager
def _readable(what: str | Path) -> Iterator[None]:
    """InputError, beginning with `what`, for whatever keeps bytes from being read."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{what} cannot be read ({why}): {_ADVICE}") from error


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[lmdb.Transaction]:
    """Opens an environment to read from it."""
    path = folder / "data.mdb"
    if not path.is_file():
        raise InputError(f"{folder} is no database, it has no data.mdb: name another folder")
    options = {"readonly": True, "create": False, "lock": False, "readahead": False}
    with _readable(folder), _OPENING, lmdb.open(str(folder), **options) as environment:
        # LMDB reads the file as memory, and the process would crash where it ends too soon.
        needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if path.stat().st_size < needed:
            raise InputError(f"{path} ends before its {needed} bytes: copy it again")
        with environment.begin() as transaction:
            yield transaction


def names_of(keys: Iterable[bytes], folder: Path) -> list[str]:
    """Keys as text, without those that are about the database, as `__keys__` is."""
    with _readable(folder):
        names = [key.decode() for key in keys]
    return [name for name in names if not (name.startswith("__") and name.endswith("__"))]


def json_object(path: Path) -> dict:
    if not path.is_file():
        raise InputError(f"{path} is missing: {_ADVICE}")
    with usable(path):
        return as_object(json_file(path), "it")


def unpack(data: bytes, where: str) -> dict:
    """A dictionary in msgpack in an LZ4 frame."""
    with _readable(where):
        value = msgpack.unpackb(lz4.frame.decompress(data))
    with usable(where):
        return as_object(value, "it")


def _stored_features(data: bytes, where: str) -> np.ndarray:
    """The array `[frames, width]` in a value of features."""
    with _readable(where):
        if data.startswith(_ZIP):
            with _open_npz(data) as file:
                features = np.lib.format.read_array(file, allow_pickle=False)
        else:
            fields = msgpack.unpackb(data)["features"]
            # Names are bytes or text, depending on the version that wrote them.
            fields = {n.decode() if isinstance(n, bytes) else n: f for n, f in fields.items()}
            features = np.frombuffer(fields["data"], np.dtype(fields["type"]))
            features = features.reshape(fields["shape"])
    _check_shape(features.shape, where)
    return features


def _stored_shape(data: bytes, where: str) -> tuple[int, int]:
    """The shape of what `_stored_features` gives."""
    if not data.startswith(_ZIP):
        return _stored_features(data, where).shape
    with _readable(where), _open_npz(data) as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    _check_shape(shape, where)
    return shape


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"{where} has features {list(shape)}: [frames, width], neither of them 0, is needed"
        )


@contextlib.contextmanager
def _open_npz(data: bytes) -> Iterator[BinaryIO]:
    """The file of the array `features` in an `.npz`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("features.npy") as file:
        yield file
