"""An index of encoded clips on disk, for search: frames, ids, times and text.

    create("films", width=768, dtype="bfloat16", max_frames=100, ...)
    with Writer("films") as writer:
        writer.add(entries)
    index = Index("films")

Clips are added, replaced and deleted without rebuilding. Each call of a writer changes the index in
one step: whatever breaks it off, a full disk or the end of the program, the index is as it was or
as it should be. One program writes at a time; any number read, each what was there when it opened
the index. Opening reads nothing clip by clip. How it lies on disk is in `hero_jax.index.files`.
"""

import bisect
import collections
import contextlib
import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from data.errors import InputError
from hero_jax.index import files
from hero_jax.index.entries import Entry, IndexedClip, decode, encode
from hero_jax.index.files import DTYPES, Manifest, Record, Segment, Stored

# A reader keeps the files of each segment open. From more than this on, `add` makes one of the
# smallest half: so a clip is copied about log(clips) / log(32) times, however few come at a time.
MAX_SEGMENTS = 64
# `compact` lets alone a segment that lacks no clip and has this share of them all.
LARGE_SHARE = 1 / 8
# Ids that a sentence shows.
SHOWN = 3


def create(
    path: str | os.PathLike,
    *,
    width: int,
    dtype: str,
    max_frames: int,
    seconds_per_feature: float,
    model: dict,
) -> None:
    """Makes an index without clips.

    Args:
      path: a folder, which is made if need be.
      width: H of the frames.
      dtype: that they are stored in, of `DTYPES`.
      max_frames: of the longest clip that it can take. All clips take room for so many in memory;
        on disk only their own frames do.
      seconds_per_feature: seconds of a video from a frame to the next.
      model: identity of the model and the tokenizer, JSON values; `model["identity"]` is a string.

    Raises:
      InputError: the folder is not empty or cannot be written to, or a value is none of these.
    """
    path = Path(path)
    if dtype not in DTYPES:
        raise InputError(f"Index {path}: dtype is {dtype!r}, choose of {', '.join(DTYPES)}")
    if min(width, max_frames) < 1 or not 0 < seconds_per_feature < math.inf:
        raise InputError(
            f"Index {path}: width {width}, max_frames {max_frames} and seconds_per_feature "
            f"{seconds_per_feature} have to be more than 0"
        )
    if not isinstance(model.get("identity"), str):
        raise InputError(f"Index {path}: model has to name its identity, a string")
    with files.writing(path):
        path.mkdir(parents=True, exist_ok=True)
        # Nothing is put into a folder that is somebody else's, not even a lock.
        files.check_vacant(path)
    with files.locked(path):
        # Another program may have come first.
        files.check_vacant(path)
        manifest = Manifest(width, dtype, max_frames, float(seconds_per_feature), model)
        files.write_manifest(path, manifest)


class Index:
    """What an index holds at the moment of opening, whatever is written to it from then on.

    A clip has a number below `capacity`, in this object alone: changes of the index may move it.
    Deleted clips keep their numbers until the index is compacted.

    Attributes:
      width, max_frames, seconds_per_feature, model: see `create`.
      dtype: NumPy's.
      capacity: of clips that are there and deleted ones; `len()` counts the former.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens an index; InputError if there is none, or its files are damaged or too old."""
        self.path = Path(path)
        manifest, self._segments = files.open_segments(self.path)
        self.width, self.dtype = manifest.width, np.dtype(manifest.dtype)
        self.max_frames = manifest.max_frames
        self.seconds_per_feature = manifest.seconds_per_feature
        self.model = manifest.model
        # First number of each segment, and after them all.
        self._firsts = [0, *itertools.accumulate(len(s.rows) for s in self._segments)]
        self.capacity = self._firsts[-1]
        self._length = sum(map(len, self._segments))

    def __len__(self) -> int:
        return self._length

    def num_frames(self) -> np.ndarray:
        """`[capacity]` int32, how many frames each clip has, 0 if it is deleted; read-only."""
        return self._num_frames

    @functools.cached_property
    def _num_frames(self):
        lengths = [np.where(s.deleted, 0, s.rows["num_frames"]) for s in self._segments]
        joined = np.concatenate([np.zeros(0, np.int32), *lengths]).astype(np.int32, copy=False)
        joined.flags.writeable = False
        return joined

    def block(self, first: int, count: int) -> np.ndarray:
        """Frames of clips with consecutive numbers.

        Returns:
          `[count, max_frames, H]` in the index's dtype. Zeros beyond a clip's own frames, and for
          numbers beyond `capacity`; deleted clips still have their frames. A view of the file,
          read-only and not read yet, where all the clips lie in one segment.
        """
        return self._rows("frames", first, count, self._zeros(count))

    def norms(self, first: int, count: int) -> np.ndarray:
        """`[count, max_frames]` float32, the length of each vector of `block`."""
        return self._rows("norms", first, count, np.zeros((count, self.max_frames), np.float32))

    def _rows(self, part, first, count, zeros):
        """Rows of an array of the segments, and of `zeros` beyond the last."""
        if first < 0 or count < 0:
            raise IndexError(f"clips {first} to {first + count} are none of the index")
        segment = bisect.bisect(self._firsts, first) - 1
        parts, left = [], count
        while left and segment < len(self._segments):
            begin = first + count - left - self._firsts[segment]
            parts.append(getattr(self._segments[segment], part)[begin : begin + left])
            left -= len(parts[-1])
            segment += 1
        if len(parts) == 1 and not left:
            return parts[0]
        return np.concatenate([*parts, zeros[:left]])

    def frames(self, numbers) -> np.ndarray:
        """Frames of the clips with these numbers, `[n, max_frames, H]`; else like `block`."""
        numbers = np.asarray(numbers, np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.capacity:
            raise IndexError(f"numbers of clips go from 0 to {self.capacity - 1}")
        found = self._zeros(len(numbers))
        places = np.searchsorted(self._firsts, numbers, side="right") - 1
        for place in np.unique(places):
            here = places == place
            rows = numbers[here] - self._firsts[place]
            found[here] = self._segments[place].frames[rows]
        return found

    def describe(self, number: int) -> IndexedClip:
        """All but the frames of the clip with this number, deleted or not."""
        if not 0 <= number < self.capacity:
            raise IndexError(f"numbers of clips go from 0 to {self.capacity - 1}, not {number}")
        place = bisect.bisect(self._firsts, number) - 1
        segment, row = self._segments[place], int(number) - self._firsts[place]
        return decode(segment.record(row), deleted=bool(segment.deleted[row]))

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Number and id of each clip that is there."""
        for first, segment in zip(self._firsts, self._segments, strict=False):
            for row, clip_id in segment.clip_ids():
                yield first + row, clip_id

    def _zeros(self, count):
        return np.zeros((count, self.max_frames, self.width), self.dtype)


class _Change:
    """A change of an index: new files, and at the end a manifest that names them.

    Attributes:
      manifest, segments: of the index before the change.
    """

    def __init__(self, path: Path):
        self._path = path
        self.manifest, self.segments = files.open_segments(path)
        self._names = self.manifest.names

    def store(self, records: Iterable[Record]) -> Segment | None:
        """A new segment; None without any records.

        Args:
          records: taken one at a time.

        Raises:
          InputError: the folder cannot be written to.
        """
        stored = files.write_segment(self._path, self._name(), self.manifest, records)
        return files.open_segment(self._path, stored, self.manifest) if stored.clips else None

    def merge(self, segments: list[Segment], worn: list[Segment]) -> list[Segment]:
        """Segments with some of them, `worn`, replaced by one that holds the clips of these."""
        merged = self.store(itertools.chain.from_iterable(s.records() for s in worn))
        return [*(segment for segment in segments if segment not in worn), merged]

    def commit(self, segments: list[Segment]) -> None:
        """Makes these the index's segments, in one step; InputError as `store`."""
        stored = tuple(self._with_deleted(segment) for segment in segments)
        manifest = dataclasses.replace(self.manifest, segments=stored, names=self._names)
        files.write_manifest(self._path, manifest)

    def _with_deleted(self, segment: Segment) -> Stored:
        """The segment's part of the manifest; writes which clips are deleted if that is new."""
        if segment.stored.deleted or not segment.deleted.any():
            return segment.stored
        name = self._name()
        files.write_deleted(self._path, name, segment.deleted)
        return dataclasses.replace(segment.stored, deleted=name)

    def _name(self) -> str:
        self._names += 1
        return f"{self._names:06d}"


class Writer:
    """Changes an index; a context manager, which no other program can open while it is open.

    An error that a method raises has changed nothing, unless its sentence says so.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens an index; InputError like `Index`, or if somebody else writes to it."""
        self.path = Path(path)
        files.read_manifest(self.path)  # No lock is left where there is no index.
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(files.locked(self.path))
        files.remove_strays(self.path)
        self._open = True
        self._forget()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception) -> None:
        self._open = False
        self._lock.close()

    def add(
        self, entries: Iterable[Entry], *, outdated: Callable[[str], bool] | None = None
    ) -> tuple[int, int]:
        """Adds clips, in place of those that have their ids; all at once or, on an error, none.

        They are written as they come: the frames of one are in memory at a time.

        Args:
          outdated: of the id of a clip that is there, whether it goes with this change; it is asked
            when all entries have come.

        Returns:
          how many clips are new, and how many others are gone for them.

        Raises:
          InputError: a clip is none for this index, two have one id, or the folder cannot be
            written to.
        """
        with self._change() as change:
            ids = set()
            added = change.store(_records(entries, change.manifest, ids))
            if added is None:
                return 0, 0
            places = self._find(change.segments)
            gone = ids & places.keys()
            if outdated is not None:
                gone |= {clip_id for clip_id in places if outdated(clip_id)}
            fresh = len(ids - places.keys())
            replaced = [places.pop(clip_id) for clip_id in gone]
            segments = [*_without(change.segments, replaced), added]
            if len(segments) > MAX_SEGMENTS:
                smallest = sorted(segments, key=len)[: MAX_SEGMENTS // 2 + 1]
                segments = change.merge(segments, smallest)
            change.commit(segments)
            return fresh, len(replaced)

    def delete(self, clip_ids: Iterable[str]) -> int:
        """Deletes clips, all at once or none; returns how many.

        Raises:
          InputError: one is not there, or the folder cannot be written to.
        """
        ids = set(clip_ids)
        with self._change() as change:
            places = self._find(change.segments)
            unknown = sorted(ids - places.keys())
            if unknown:
                more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
                raise InputError(
                    f"{self.path} has no clip {', '.join(map(repr, unknown[:SHOWN]))}{more}: "
                    "nothing was deleted; leave them out"
                )
            if ids:
                change.commit(_without(change.segments, [places.pop(one) for one in ids]))
        return len(ids)

    def compact(self) -> None:
        """Frees what deleted clips take, and joins small segments; InputError as `add`.

        It needs room on disk for the clips that it moves.
        """
        with self._change() as change:
            total = sum(map(len, change.segments))
            worn = [
                segment
                for segment in change.segments
                if segment.deleted.any() or len(segment) < LARGE_SHARE * total
            ]
            if len(worn) > 1 or any(segment.deleted.any() for segment in worn):
                change.commit(change.merge(change.segments, worn))

    @contextlib.contextmanager
    def _change(self) -> Iterator[_Change]:
        if not self._open:
            raise ValueError(f"The writer of {self.path} is closed")
        try:
            yield _Change(self.path)
        except BaseException:
            self._forget()  # What is known may be of a change that was not made.
            raise
        finally:
            files.remove_strays(self.path)

    def _forget(self):
        self._places, self._learned = {}, set()

    def _find(self, segments: list[Segment]) -> dict[str, tuple[str, int]]:
        """The segment's name and the row of each clip that is there."""
        for segment in segments:
            name = segment.stored.name
            if name not in self._learned:
                self._places.update((one, (name, row)) for row, one in segment.clip_ids())
                self._learned.add(name)
        return self._places


def _without(segments: list[Segment], places: list[tuple[str, int]]) -> list[Segment]:
    """The segments with the clips at these places deleted; those that lose all are left out."""
    rows = collections.defaultdict(list)
    for name, row in places:
        rows[name].append(row)
    less = [s.without(rows[s.stored.name]) if s.stored.name in rows else s for s in segments]
    return [segment for segment in less if len(segment)]


def _records(entries: Iterable[Entry], manifest: Manifest, ids: set[str]) -> Iterator[Record]:
    """Entries as they are stored; puts their ids into `ids`. InputError for what cannot be."""
    for entry in entries:
        if entry.clip_id in ids:
            raise InputError(f"Clip {entry.clip_id!r} is there twice: leave one of them out")
        ids.add(entry.clip_id)
        yield encode(entry, manifest)
