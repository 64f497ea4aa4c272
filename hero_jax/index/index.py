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
from data.arguments import text as checked_text
from hero_jax.index.entries import IndexedClip, decode
from hero_jax.index.filters import checked_mask
from hero_jax.index.manifest import file_state
from hero_jax.index.segment import check, open_segments, undamaged
from hero_jax.index.words import bm25, words_of


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

    # Files are mapped, so that what is read is not looked at before.
    checks_reads = False

    def __init__(self, path: str | os.PathLike):
        """Opens an index.

        Raises:
          InputError: there is no index, or its files are damaged or too old.
        """
        self.path = user_path(path)
        # Before it is read: of a manifest that comes in between, the state differs.
        self._state = file_state(self.path)
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

    def is_current(self) -> bool:
        """Returns whether the index has not changed since it was opened; reads no file."""
        return file_state(self.path) == self._state

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
        first, count = number_range(first, count)
        return self._rows("frames", first, count, self._zeros(count))

    def norms(self, first: int, count: int) -> np.ndarray:
        """Returns the lengths of the vectors of `block`, `[count, max_frames]` float32."""
        first, count = number_range(first, count)
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
        numbers = whole_numbers(numbers)
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
            record = segment.record(row)
            num_frames = 0 if segment.deleted[row] else len(record.frames)
            return decode(record.clip_id.decode(), record.text, num_frames)

    def clips(self, numbers: Sequence[int] | np.ndarray) -> list[IndexedClip]:
        """Returns everything but the frames of several clips, deleted or not."""
        return [self.describe(number) for number in whole_numbers(numbers).tolist()]

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Yields number and id of each clip that is not deleted."""
        for first, segment in zip(self._firsts, self._segments, strict=False):
            with undamaged(self.path):
                for row, clip_id in segment.clip_ids():
                    yield first + row, clip_id

    def videos(self) -> tuple[list[str], np.ndarray]:
        """Returns the ids of the videos, and for each clip the place of its own in them.

        Returns:
          The ids, sorted, and `[capacity]` int32, -1 for a deleted clip.
        """
        return self._videos

    @functools.cached_property
    def _videos(self) -> tuple[list[str], np.ndarray]:
        names: list[str] = []
        parts: list[np.ndarray] = []
        with undamaged(self.path):
            for segment in self._segments:
                parts.append(len(names) + segment.words.clip_videos())
                names += segment.words.video_ids()
        # Of all names, those of which a clip is there.
        numbers = np.concatenate([np.zeros(0, np.int64), *parts])
        is_there = self.num_frames() > 0
        ids = sorted({names[n] for n in np.unique(numbers[is_there]).tolist()})
        places = dict(zip(ids, itertools.count()))
        place_of = np.array([places.get(name, -1) for name in names], np.int32)
        if not len(numbers):
            return ids, numbers.astype(np.int32)
        return ids, np.where(is_there, place_of[numbers], np.int32(-1))

    def candidates(self, query: np.ndarray, count: int, *, among: np.ndarray | None = None) -> None:
        """Returns None: all clips are scored, as the files are read at the speed of the disk."""

    def text_search(
        self, text: str, count: int, *, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the clips whose subtitles have words of a text, best first, by BM25.

        Deleted clips do not count. See `hero_jax.index.words` for what a word is.

        Args:
          count: largest number of clips.
          among: `[capacity]` bool, the clips that may be found; None for all.

        Returns:
          Scores, `[n]` float64, and numbers of clips, `[n]` int64; of equal scores the first.
        """
        words = dict.fromkeys(words_of(checked_text(text, "text")))
        with undamaged(self.path):
            postings = [self._postings(word) for word in words]
            clips, scores = bm25(postings, self._num_words)
        if among is not None:
            is_kept = checked_mask(among, self.capacity)[clips]
            clips, scores = clips[is_kept], scores[is_kept]
        best = np.lexsort((clips, -scores))[: whole(count, "count", 0)]
        return scores[best], clips[best]

    @functools.cached_property
    def _num_words(self) -> np.ndarray:
        """Numbers of words of each clip, 0 if it is deleted; see `undamaged`."""
        parts = [np.where(s.deleted, 0, s.words.lengths) for s in self._segments]
        return np.concatenate([np.zeros(0, np.int32), *parts])

    def _postings(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the clips that have a word, and how often; see `undamaged`."""
        numbers, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for first, segment in zip(self._firsts, self._segments, strict=False):
            rows, times = segment.words.postings(word)
            is_there = ~segment.deleted[rows]
            numbers.append(first + rows[is_there].astype(np.int64))
            counts.append(times[is_there])
        return np.concatenate(numbers), np.concatenate(counts)

    def _zeros(self, count: int) -> np.ndarray:
        return np.zeros((count, self.max_frames, self.width), self.dtype)


def number_range(first: int, count: int) -> tuple[int, int]:
    """Returns the first number and the count of a block, if there can be such a block."""
    first, count = whole(first, "first"), whole(count, "count")
    if first < 0 or count < 0:
        raise IndexError(f"clips {first} to {first + count} are not in the index")
    return first, count


def whole_numbers(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns numbers of clips as `[n]` int64; raises InputError for what are no whole numbers."""
    try:
        array = np.asarray(numbers)
    except ValueError:  # Lists of several lengths.
        array = np.zeros(0, object)
    is_whole = np.issubdtype(array.dtype, np.integer) or not array.size
    if array.ndim != 1 or array.dtype == object or not is_whole:
        raise refusal("numbers", numbers, "a list of whole numbers")
    return array.astype(np.int64, copy=False)
