"""The store `lance`: changes of its table; see `hero_jax.index.lance_table`.

New clips are written to files that no version of the table names, and are on disk before one commit
names them and leaves out what they replace. Indexes of vectors and words follow in commits of their
own; until then a search looks at the new clips one by one.
"""

import contextlib
import datetime
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments

from data.arguments import refusal, texts, user_path
from hero_jax.index.entries import Entry, records
from hero_jax.index.lance_index import LanceIndex
from hero_jax.index.lance_table import (
    batch,
    create,
    files_of,
    open_table,
    reading,
    schema,
    sync_files,
    without_readers,
)
from hero_jax.index.manifest import AS_IT_WAS, NOT_FLUSHED, TABLE, Manifest, locked, writing_to
from hero_jax.index.segment import Record
from hero_jax.index.writer import unknown_clips

__all__ = ["LanceIndex", "LanceWriter", "create"]

# Clips that are written at once.
_BATCH = 64
# From this many clips on, vectors are indexed: fewer are all scored in little time.
INDEXED_FROM = 1_000
# Vectors of other widths cannot be indexed.
WIDTH_UNIT = 8
# Vectors in a partition of the index, on average.
PARTITION = 8192
# Bits of each value of an indexed vector: with 1, more of the best clips are missing.
BITS = 4
# Parts of an index, one for each change, above which `compact` makes it anew.
MAX_PARTS = 16
NOT_INDEXED = "the change is made, and the next one makes its search fast"
_WORDS = {
    **{"base_tokenizer": "whitespace", "lower_case": False, "stem": False},
    **{"remove_stop_words": False, "ascii_folding": False, "with_position": False},
    "max_token_length": None,
}


class LanceWriter:
    """A context manager that changes an index; see `hero_jax.index.protocol.StoreWriter`."""

    def __init__(self, path: str | os.PathLike):
        """Opens an index.

        Raises:
          InputError: there is no index, it is damaged or too old, or another program writes to it.
        """
        self.path = user_path(path)
        open_table(self.path)  # No lock is left where there is no index.
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(locked(self.path))
        self._open = True

    def __enter__(self) -> "LanceWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._open = False
        self._lock.close()

    def add(
        self, entries: Iterable[Entry], *, outdated: Callable[[str], bool] | None = None
    ) -> tuple[int, int]:
        """Adds clips, which replace those with the same ids; see `hero_jax.index.Writer.add`."""
        if outdated is not None and not callable(outdated):
            raise refusal("outdated", outdated, "a function of an id, or None")
        with self._change() as (table, settings):
            ids: set[str] = set()
            new = self._written(records(entries, settings, ids), settings)
            if not ids:
                return 0, 0
            there = self._clip_ids(table)
            known = set().union(*there.values())
            obsolete = ids & known
            if outdated is not None:
                obsolete |= {clip_id for clip_id in known if outdated(clip_id)}
            table = self._commit(table, there, obsolete, new)
        self._index(table)
        return len(ids - known), len(obsolete)

    def delete(self, clip_ids: Iterable[str]) -> int:
        """Deletes clips, all of them or, on an error, none; see `hero_jax.index.Writer.delete`."""
        ids = set(texts(clip_ids, "clip_ids"))
        with self._change() as (table, _):
            there = self._clip_ids(table)
            if unknown := ids - set().union(*there.values()):
                raise unknown_clips(self.path, unknown)
            if ids:
                self._commit(table, there, ids, [])
        return len(ids)

    def compact(self) -> None:
        """Frees the room of deleted clips, of earlier versions and of interrupted changes.

        The last two stay while a program reads the index; there is a warning then.
        """
        with self._change() as (table, _):
            if max(_parts(table).values(), default=0) > MAX_PARTS:
                # Clips of several parts of an index are not merged.
                self._index(table, is_anew=True)
                table, _ = open_table(self.path)
            with self._flushed():
                table.optimize.compact_files()
        self._index(open_table(self.path)[0])
        with without_readers(self.path) as is_alone, writing_to(self.path):
            if is_alone:
                table, _ = open_table(self.path)
                table.cleanup_old_versions(older_than=datetime.timedelta(0), delete_unverified=True)
                return
        warnings.warn(
            f"{self.path} is being read: the room of earlier versions is freed by compacting it "
            "again later",
            stacklevel=2,
        )

    @contextlib.contextmanager
    def _change(self) -> Iterator[tuple[Any, Manifest]]:
        """Opens the table; after an error, files that were written since are removed."""
        if not self._open:
            raise ValueError(f"the writer of {self.path} is closed")
        table, settings = open_table(self.path)
        before = files_of(self.path / TABLE)
        try:
            yield table, settings
        except BaseException:
            if table.latest_version == table.version:
                for file in files_of(self.path / TABLE) - before:
                    with contextlib.suppress(OSError):
                        file.unlink()
            raise

    @contextlib.contextmanager
    def _flushed(self, advice: str = AS_IT_WAS) -> Iterator[None]:
        """Brings the files to the disk that are written meanwhile.

        Args:
          advice: what an error says about the state of the index.
        """
        folder = self.path / TABLE
        with writing_to(self.path, advice):
            known = files_of(folder)
            yield
            sync_files(folder, known)

    def _written(self, new: Iterator[Record], settings: Manifest) -> list[Any]:
        """Writes clips to files that no version names yet; returns Lance's description of them."""
        first = [*itertools.islice(new, _BATCH)]
        if not first:
            return []
        errors: list[BaseException] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                rows = first
                while rows:
                    yield batch(rows, settings)
                    rows = [*itertools.islice(new, _BATCH)]
            except BaseException as error:
                errors.append(error)
                raise

        columns = schema(settings)
        reader = pa.RecordBatchReader.from_batches(columns, batches())
        try:
            with self._flushed():
                return write_fragments(reader, str(self.path / TABLE), schema=columns)
        except Exception:
            if errors:
                # As it was raised, not as the reader of the batches tells it.
                raise errors[0] from None
            raise

    def _clip_ids(self, table: Any) -> dict[int, set[str]]:
        """Returns the ids of the clips of each fragment of the table, by the fragment's number."""
        with reading(self.path):
            return {
                one.fragment_id: set(one.to_table(columns=["clip_id"])["clip_id"].to_pylist())
                for one in table.get_fragments()
            }

    def _commit(
        self, table: Any, there: dict[int, set[str]], obsolete: set[str], new: list[Any]
    ) -> Any:
        """Leaves out clips and adds those of new files, in one step; returns the new version."""
        removed, updated = [], []
        with self._flushed():
            for fragment in table.get_fragments():
                if gone := obsolete & there[fragment.fragment_id]:
                    ids = ", ".join("'" + one.replace("'", "''") + "'" for one in sorted(gone))
                    left = fragment.delete(f"clip_id IN ({ids})")
                    if left is None:
                        removed.append(fragment.fragment_id)
                    else:
                        updated.append(left)
        change = lance.LanceOperation.Update(
            removed_fragment_ids=removed, updated_fragments=updated, new_fragments=new
        )
        folder = self.path / TABLE
        with writing_to(self.path):
            known = files_of(folder)
            table = lance.LanceDataset.commit(table, change, read_version=table.version)
        with writing_to(self.path, NOT_FLUSHED):
            sync_files(folder, known)
        return table

    def _index(self, table: Any, *, is_anew: bool = False) -> None:
        """Indexes words and vectors, those that are not indexed or all of them."""
        clips = table.count_rows()
        if not clips:
            return
        parts = _parts(table)
        with self._flushed(NOT_INDEXED):
            if parts and not is_anew:
                # What is indexed is not merged with it, which would take minutes.
                table.optimize.optimize_indices(num_indices_to_merge=0)
            if is_anew or "words" not in parts:
                table.create_scalar_index("words", "INVERTED", replace=True, **_WORDS)
            width = table.schema.field("frames").type.value_type.list_size
            is_indexed = clips >= INDEXED_FROM and width % WIDTH_UNIT == 0
            if is_indexed and (is_anew or "frames" not in parts):
                vectors = pc.sum(table.to_table(columns=["num_frames"])["num_frames"]).as_py()
                table.create_index(
                    "frames",
                    "IVF_RQ",
                    metric="cosine",
                    num_partitions=max(vectors // PARTITION, 1),
                    num_bits=BITS,
                    replace=True,
                )


def _parts(table: Any) -> dict[str, int]:
    """Returns the number of parts of each index by its column."""
    return {one.field_names[0]: len(one.segments) for one in table.describe_indices()}
