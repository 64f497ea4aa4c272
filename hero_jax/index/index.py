"""Reading an index of encoded clips on disk: frames, ids, times and text.

    create("films", width=768, dtype="bfloat16", max_frames=100, ...)
    with Writer("films") as writer:
        writer.add(entries)
    index = Index("films")

One program writes at a time (`hero_jax.index.writer`). Any number of programs read, each the state
of the index when it opened it. Opening reads no single clip. The files are described in
`hero_jax.index.manifest`.
"""

import bisect
import functools
import itertools
import os
from collections.abc import Iterator, Sequence

import numpy as np

from data.arguments import refusal, user_path, whole
from hero_jax.index.entries import IndexedClip, decode
from hero_jax.index.segment import check, open_segments, undamaged


class Index:
    """The clips of an index when it was opened; later changes do not show.

    Each clip has a number below `capacity`. Numbers are those of this object only: in an index that
    was opened after a change, a clip may have another one. Deleted clips keep their numbers until
    the index is compacted.

    Attributes:
      width, max_frames, seconds_per_feature, model: see `hero_jax.index.writer.create`.
      dtype: NumPy dtype of the frames.
      capacity: number of clips, deleted ones included; `len()` does not count those.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens an index.

        Raises:
          InputError: there is no index, or its files are damaged or too old.
        """
        self.path = user_path(path)
        manifest, self._segments = open_segments(self.path)
        self.width, self.dtype = manifest.width, np.dtype(manifest.dtype)
        self.max_frames = manifest.max_frames
        self.seconds_per_feature = manifest.seconds_per_feature
        self.model = manifest.model
        # First number of each segment; after the last, the capacity.
        self._firsts = [0, *itertools.accumulate(len(s.rows) for s in self._segments)]
        self.capacity = self._firsts[-1]
        self._length = sum(map(len, self._segments))

    def __len__(self) -> int:
        return self._length

    def check(self) -> None:
        """Reads all files and compares them with their checksums, which earlier versions lack.

        Raises:
          InputError: a file is not as it was written.
        """
        for segment in self._segments:
            check(self.path, segment)

    def num_frames(self) -> np.ndarray:
        """Returns the number of frames of each clip, 0 if it is deleted.

        Returns:
          `[capacity]` int32, read-only.
        """
        return self._num_frames

    @functools.cached_property
    def _num_frames(self) -> np.ndarray:
        lengths = [np.where(s.deleted, 0, s.rows["num_frames"]) for s in self._segments]
        with undamaged(self.path):
            if any((n < 0).any() or (n > self.max_frames).any() for n in lengths):
                raise ValueError(f"a clip has not 0 to {self.max_frames} frames")
        joined = np.concatenate([np.zeros(0, np.int32), *lengths]).astype(np.int32, copy=False)
        joined.flags.writeable = False
        return joined

    def block(self, first: int, count: int) -> np.ndarray:
        """Returns the frames of clips with consecutive numbers.

        Returns:
          `[count, max_frames, H]` in the index's dtype; zeros beyond a clip's own frames, and for
          numbers beyond `capacity`. Deleted clips still have their frames. If all the clips lie in
          one segment, this is a read-only view of the file, which is not read yet.
        """
        first, count = _range(first, count)
        return self._rows("frames", first, count, self._zeros(count))

    def norms(self, first: int, count: int) -> np.ndarray:
        """Returns the lengths of the vectors of `block`, `[count, max_frames]` float32."""
        first, count = _range(first, count)
        return self._rows("norms", first, count, np.zeros((count, self.max_frames), np.float32))

    def _rows(self, part: str, first: int, count: int, zeros: np.ndarray) -> np.ndarray:
        """Returns rows of an array of the segments, and of `zeros` beyond the last."""
        segment = bisect.bisect(self._firsts, first) - 1
        parts: list[np.ndarray] = []
        left = count
        while left and segment < len(self._segments):
            begin = first + count - left - self._firsts[segment]
            parts.append(getattr(self._segments[segment], part)[begin : begin + left])
            left -= len(parts[-1])
            segment += 1
        if len(parts) == 1 and not left:
            return parts[0]
        return np.concatenate([*parts, zeros[:left]])

    def frames(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns a copy of the frames of some clips, `[n, max_frames, H]`; see `block`."""
        numbers = _numbers(numbers)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.capacity:
            raise IndexError(f"numbers of clips go from 0 to {self.capacity - 1}")
        frames = self._zeros(len(numbers))
        segments = np.searchsorted(self._firsts, numbers, side="right") - 1
        for segment in np.unique(segments):
            in_segment = segments == segment
            rows = numbers[in_segment] - self._firsts[segment]
            frames[in_segment] = self._segments[segment].frames[rows]
        return frames

    def describe(self, number: int) -> IndexedClip:
        """Returns everything but the frames of a clip, deleted or not."""
        number = whole(number, "number")
        if not 0 <= number < self.capacity:
            raise IndexError(f"numbers of clips go from 0 to {self.capacity - 1}, not {number}")
        place = bisect.bisect(self._firsts, number) - 1
        segment, row = self._segments[place], number - self._firsts[place]
        with undamaged(self.path):
            return decode(segment.record(row), deleted=bool(segment.deleted[row]))

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Yields number and id of each clip that is not deleted."""
        for first, segment in zip(self._firsts, self._segments, strict=False):
            with undamaged(self.path):
                for row, clip_id in segment.clip_ids():
                    yield first + row, clip_id

    def _zeros(self, count: int) -> np.ndarray:
        return np.zeros((count, self.max_frames, self.width), self.dtype)


def _range(first: int, count: int) -> tuple[int, int]:
    """Returns the first number and the count of a block, if there can be such a block."""
    first, count = whole(first, "first"), whole(count, "count")
    if first < 0 or count < 0:
        raise IndexError(f"clips {first} to {first + count} are not in the index")
    return first, count


def _numbers(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns numbers of clips as `[n]` int64; raises InputError for what are no whole numbers."""
    try:
        array = np.asarray(numbers)
    except ValueError:  # Lists of several lengths.
        array = np.zeros(0, object)
    is_whole = np.issubdtype(array.dtype, np.integer) or not array.size
    if array.ndim != 1 or array.dtype == object or not is_whole:
        raise refusal("numbers", numbers, "a list of whole numbers")
    return array.astype(np.int64, copy=False)
