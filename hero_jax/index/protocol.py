"""The protocol of stores: what each offers, whatever keeps the clips.

A store is a module with `create`, and two classes: of snapshots, which read, and of writers. A clip
is an `Entry`: its id is unique, and one that is added replaces one with the same id. `open_index`
and `open_writer` of `hero_jax.index.stores` choose the store by what is in a folder.

All stores promise the same:

  - A change is made in one step. Wherever it ends, by a full disk, a kill or a loss of power, the
    index is as it was or as it should be.
  - A snapshot shows the index as it was when it was opened, whatever is changed later.
  - One program writes at a time; any number of programs read.
  - Damage is told by an InputError that names the folder or file, and never read as a clip.

`tests/hero_jax/index/test_contract.py` holds each store to it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hero_jax.index.entries import Entry, IndexedClip


@runtime_checkable
class Snapshot(Protocol):
    """The clips of an index at one moment.

    Each clip has a number below `capacity`. Numbers are those of this snapshot only; some may be of
    deleted clips, which have no frames.

    Attributes:
      path: folder of the index.
      width, max_frames, seconds_per_feature, model: see `hero_jax.index.create`.
      dtype: NumPy dtype of the frames.
      capacity: one more than the largest number of a clip; `len()` is the number of clips.
      checks_reads: whether all that is read is compared with checksums; otherwise `check` does.
    """

    path: Path
    width: int
    dtype: np.dtype
    max_frames: int
    seconds_per_feature: float
    model: dict[str, Any]
    capacity: int
    checks_reads: bool

    def __len__(self) -> int: ...

    def is_current(self) -> bool:
        """Returns whether the index has not changed since; it costs no more than a look."""

    def check(self) -> None:
        """Reads everything; raises InputError if it is not as it was written."""

    def num_frames(self) -> np.ndarray:
        """Returns the number of frames of each clip, 0 if it is deleted, `[capacity]` int32."""

    def block(self, first: int, count: int) -> np.ndarray:
        """Returns frames of clips with consecutive numbers, `[count, max_frames, width]`.

        They are zero beyond a clip's own, and for numbers beyond `capacity`.
        """

    def norms(self, first: int, count: int) -> np.ndarray:
        """Returns the lengths of the vectors of `block`, `[count, max_frames]` float32."""

    def frames(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns frames of clips, `[n, max_frames, width]`, as `block` has them."""

    def describe(self, number: int) -> IndexedClip:
        """Returns everything but the frames of a clip."""

    def clips(self, numbers: Sequence[int] | np.ndarray) -> list[IndexedClip]:
        """Returns everything but the frames of several clips, faster than one by one."""

    def clip_ids(self) -> Iterator[tuple[int, str]]:
        """Yields number and id of each clip that is not deleted."""

    def videos(self) -> tuple[list[str], np.ndarray]:
        """Returns the ids of the videos, and for each clip the place of its own in them.

        Returns:
          The ids, sorted, and `[capacity]` int32, -1 for a deleted clip.
        """

    def candidates(
        self, query: np.ndarray, count: int, *, among: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Returns numbers of clips that may be the best of a query, which are then scored exactly.

        Args:
          query: `[width]`, encoded.
          count: least number of clips, if there are as many.
          among: `[capacity]` bool, the clips that may be found; None for all.

        Returns:
          `[n]` int64; None where all clips are to be scored.
        """

    def text_search(
        self, text: str, count: int, *, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the clips whose subtitles have words of a text, best first, by BM25.

        See `hero_jax.index.words` for what is a word, and for the score.

        Args:
          count: largest number of clips.
          among: see `candidates`.

        Returns:
          Scores, `[n]` float64, and numbers of clips, `[n]` int64; of equal scores the first.
        """


class StoreWriter(Protocol):
    """A context manager that changes an index.

    A method that raises an error has changed nothing, unless the message says so.

    Attributes:
      path: folder of the index.
    """

    path: Path

    def __enter__(self) -> "StoreWriter": ...

    def __exit__(self, *exception: object) -> None: ...

    def add(
        self, entries: Iterable[Entry], *, outdated: Callable[[str], bool] | None = None
    ) -> tuple[int, int]:
        """Adds clips, which replace those with the same ids; see `hero_jax.index.Writer.add`."""

    def delete(self, clip_ids: Iterable[str]) -> int:
        """Deletes clips; see `hero_jax.index.Writer.delete`."""

    def compact(self) -> None:
        """Frees the room of deleted clips."""
