"""Reading an index in the store `lance`; see `hero_jax.index.lance_table` for its table."""

import functools
import itertools
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from data.arguments import text as checked_text
from data.arguments import user_path, whole
from data.errors import InputError
from hero_jax.index.entries import IndexedClip, decode
from hero_jax.index.filters import checked_mask
from hero_jax.index.index import number_range, whole_numbers
from hero_jax.index.lance_table import (
    TABLE,
    frames_checksum,
    hold,
    open_table,
    reading,
    text_checksum,
)
from hero_jax.index.manifest import damaged
from hero_jax.index.segment import undamaged
from hero_jax.index.words import words_of

# Partitions of the vectors that are searched for a query.
PROBES = 20
# Clips of a filter that are all scored: to find them among all would cost more.
NARROW = 200
# By how much more clips are asked for while a filter leaves too few.
GROWTH = 4
# Clips that are checked at once.
_CHECKED = 256


class LanceIndex:
    """The clips of an index when it was opened; see `hero_jax.index.protocol.Snapshot`.

    No clip is deleted: what is, has no number.
    """

    checks_reads = True

    def __init__(self, path: str | os.PathLike):
        """Opens an index; raises InputError if there is none, or if it is damaged."""
        self.path = user_path(path)
        # Before the table: its files stay while somebody holds this.
        weakref.finalize(self, os.close, hold(self.path))
        self._table, settings = open_table(self.path)
        self.width, self.dtype = settings.width, np.dtype(settings.dtype)
        self.max_frames = settings.max_frames
        self.seconds_per_feature = settings.seconds_per_feature
        self.model = settings.model
        with reading(self.path):
            self.capacity = self._table.count_rows()
            indexes = self._table.describe_indices()
        self._has_vectors = any(index.field_names == ["frames"] for index in indexes)

    def __len__(self) -> int:
        return self.capacity

    def is_current(self) -> bool:
        """Returns whether the index has not changed since it was opened."""
        with reading(self.path):
            return self._table.latest_version == self._table.version

    def check(self) -> None:
        """Reads all rows; raises InputError for one that is not as it was written."""
        for first in range(0, self.capacity, _CHECKED):
            numbers = np.arange(first, min(first + _CHECKED, self.capacity))
            self.frames(numbers)
            self.clips(numbers)

    def num_frames(self) -> np.ndarray:
        """Returns the number of frames of each clip, `[capacity]` int32, read-only."""
        return self._num_frames

    @functools.cached_property
    def _num_frames(self) -> np.ndarray:
        lengths = self._column("num_frames").to_numpy().astype(np.int32, copy=False)
        if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= self.max_frames:
            raise self._damaged(f"a clip has not 1 to {self.max_frames} frames")
        lengths.flags.writeable = False
        return lengths

    def block(self, first: int, count: int) -> np.ndarray:
        """Returns frames of clips with consecutive numbers, `[count, max_frames, width]`."""
        first, count = number_range(first, count)
        return self._frames(self._rows_from(first, count, "norms", "frames"), count)

    def norms(self, first: int, count: int) -> np.ndarray:
        """Returns the lengths of the vectors of `block`, `[count, max_frames]` float32."""
        first, count = number_range(first, count)
        norms = np.zeros((count, self.max_frames), np.float32)
        for row, own in enumerate(_lists(self._rows_from(first, count, "norms")["norms"])):
            norms[row, : len(own)] = own
        return norms

    def frames(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns frames of clips, `[n, max_frames, width]`."""
        numbers = self._checked(numbers)
        unique, places = np.unique(numbers, return_inverse=True)
        with reading(self.path):
            rows = self._table.take(unique.tolist(), ["norms", "frames", "frames_crc32"])
        return self._frames(rows, len(unique))[places]

    def _rows_from(self, first: int, count: int, *columns: str) -> pa.Table:
        """Returns rows with consecutive numbers, fewer beyond the last."""
        if count == 0 or first >= self.capacity:
            return self._table.schema.empty_table()
        columns = (*columns, "frames_crc32")
        with reading(self.path):
            scanner = self._table.scanner(columns=[*columns], offset=first, limit=count)
            return scanner.to_table()

    def _frames(self, rows: pa.Table, count: int) -> np.ndarray:
        """Returns frames of rows, zeros behind the last, `[count, max_frames, width]`.

        Raises:
          InputError: a row is not as it was written.
        """
        frames = np.zeros((count, self.max_frames, self.width), self.dtype)
        clips = zip(
            _lists(rows["frames"]),
            _lists(rows["norms"]),
            rows["frames_crc32"].to_pylist(),
            strict=True,
        )
        for row, (own, norms, checksum) in enumerate(clips):
            if frames_checksum(norms, own) != checksum or len(own) > self.max_frames:
                raise self._damaged("the checksum of a clip's frames does not match")
            frames[row, : len(own)] = own
        return frames

    def describe(self, number: int) -> IndexedClip:
        """Returns everything but the frames of a clip."""
        (clip,) = self.clips([whole(number, "number")])
        return clip

    def clips(self, numbers: Sequence[int] | np.ndarray) -> list[IndexedClip]:
        """Returns everything but the frames of several clips."""
        numbers = self._checked(numbers)
        columns = ["clip_id", "text", "num_frames", "text_crc32"]
        with reading(self.path):
            rows = self._table.take(numbers.tolist(), columns).to_pylist()
        return [self._described(**row) for row in rows]

    def _described(self, clip_id: str, text: str, num_frames: int, text_crc32: int) -> IndexedClip:
        """Decodes a row; raises InputError if it is not as it was written."""
        if text_checksum(clip_id.encode(), text.encode()) != text_crc32:
            raise self._damaged(f"the checksum of clip {clip_id!r} does not match")
        with undamaged(self.path):
            return decode(clip_id, text.encode(), num_frames)

    def _checked(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = whole_numbers(numbers)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.capacity:
            raise IndexError(f"numbers of clips go from 0 to {self.capacity - 1}")
        return numbers

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Yields number and id of each clip."""
        return enumerate(self._column("clip_id").to_pylist())

    def videos(self) -> tuple[list[str], np.ndarray]:
        """Returns the ids of the videos, sorted, and for each clip the place of its own in them."""
        return self._videos

    @functools.cached_property
    def _videos(self) -> tuple[list[str], np.ndarray]:
        encoded = self._column("video_id").combine_chunks().dictionary_encode()
        ids = encoded.dictionary.to_pylist()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        places = np.argsort(np.array(order, np.int64)).astype(np.int32)
        return [ids[n] for n in order], places[encoded.indices.to_numpy()]

    def candidates(
        self, query: np.ndarray, count: int, *, among: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Returns numbers of clips that may be the best of a query, found by its vector's index."""
        if not self._has_vectors:
            return None
        if among is not None and among.sum() <= max(count, NARROW):
            return np.flatnonzero(among)
        vector = np.asarray(query, self.dtype)[None]

        def nearest(limit: int) -> pa.Table:
            search = {"column": "frames", "q": vector, "k": limit, "nprobes": PROBES}
            return self._found(nearest=search, columns=["_distance"])

        numbers, _ = self._until(nearest, count, among)
        return numbers if among is None else numbers[among[numbers]]

    def text_search(
        self, text: str, count: int, *, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the clips whose subtitles have words of a text, best first, by BM25.

        A clip that was deleted counts in the weights of words until the index is compacted.
        """
        words = " ".join(dict.fromkeys(words_of(checked_text(text, "text"))))
        count = whole(count, "count", 0)
        if among is not None:
            checked_mask(among, self.capacity)
        if not words or not count or not self.capacity:
            return np.zeros(0), np.zeros(0, np.int64)

        def saying(limit: int) -> pa.Table:
            query = lance.query.MatchQuery(words, "words")
            return self._found(full_text_query=query, columns=["_score"], limit=limit)

        numbers, rows = self._until(saying, count, among)
        kept = slice(None) if among is None else among[numbers]
        scores, numbers = rows["_score"].to_numpy()[kept].astype(np.float64), numbers[kept]
        best = np.lexsort((numbers, -scores))[:count]
        return scores[best], numbers[best]

    def _found(self, **query: Any) -> pa.Table:
        """Runs a query of the table; returns the found rows with their `_rowid`."""
        with reading(self.path):
            scanner = self._table.scanner(
                **query, with_row_id=True, disable_scoring_autoprojection=True
            )
            return scanner.to_table()

    def _until(
        self, query: Callable[[int], pa.Table], count: int, among: np.ndarray | None
    ) -> tuple[np.ndarray, pa.Table]:
        """Runs a query for more and more rows until a filter leaves as many as are asked for.

        Args:
          query: takes the largest number of rows.

        Returns:
          Numbers of all clips that were found, whatever the filter says, and their rows.
        """
        limit, before = count, -1
        while True:
            rows = query(limit)
            numbers = self._places[np.searchsorted(self._row_ids, rows["_rowid"].to_numpy())]
            left = len(numbers) if among is None else np.count_nonzero(among[numbers])
            if left >= count or limit >= self.capacity or len(numbers) == before:
                return numbers, rows
            limit, before = min(limit * GROWTH, self.capacity), len(numbers)

    @functools.cached_property
    def _row_ids(self) -> np.ndarray:
        """Lance's numbers of the rows, ascending."""
        return np.sort(self._unsorted_row_ids)

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """Numbers of the clips in the order of `_row_ids`."""
        return np.argsort(self._unsorted_row_ids)

    @functools.cached_property
    def _unsorted_row_ids(self) -> np.ndarray:
        with reading(self.path):
            rows = self._table.scanner(columns=[], with_row_id=True).to_table()
        return rows["_rowid"].to_numpy()

    def _column(self, name: str) -> pa.ChunkedArray:
        with reading(self.path):
            return self._table.to_table(columns=[name])[name]

    def _damaged(self, problem: str) -> InputError:
        return InputError(damaged(self.path / TABLE, problem))


def _lists(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """Yields the lists of a column, `[n]` of numbers or `[n, width]` of vectors."""
    for chunk in column.chunks:
        values, ends = chunk.values, chunk.offsets.to_numpy()
        shape: tuple[int, ...] = (-1,)
        if pa.types.is_fixed_size_list(values.type):
            shape = (len(values), values.type.list_size)
            values = values.flatten()
        array = values.to_numpy(zero_copy_only=False).reshape(shape)
        for begin, end in itertools.pairwise(ends.tolist()):
            yield array[begin:end]
