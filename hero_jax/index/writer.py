"""Changes of an index.

Clips are added, replaced and deleted without rebuilding. Each call of a writer changes the index in
one step: however it is interrupted, by a full disk or the end of the program, the index is as it
was or as it should be.
"""

import collections
import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data.arguments import refusal, texts, user_path
from data.errors import InputError
from hero_jax.index.entries import Entry, records
from hero_jax.index.manifest import (
    StoredSegment,
    locked,
    read_manifest,
    remove_strays,
    write_manifest,
)
from hero_jax.index.segment import (
    IndexSegment,
    Record,
    check,
    open_segment,
    open_segments,
    undamaged,
    write_deleted,
    write_segment,
)

# A reader keeps the files of each segment open. With more segments than this, `add` merges the
# smallest half: so a clip is copied about log(clips) / log(32) times, even if few come at a time.
MAX_SEGMENTS = 64
# `compact` does not touch a segment that lacks nothing and has this share of all clips.
LARGE_SHARE = 1 / 8
# Number of ids that a message shows.
SHOWN = 3


class _Change:
    """A change of an index: new files, and at the end a manifest that names them.

    Attributes:
      manifest, segments: state of the index before the change.
    """

    def __init__(self, path: Path):
        self._path = path
        self.manifest, self.segments = open_segments(path)
        self._names = self.manifest.names

    def store(self, records: Iterable[Record]) -> IndexSegment | None:
        """Writes a new segment; returns None if there are no records.

        Args:
          records: clips; they are taken one at a time.

        Raises:
          InputError: the folder cannot be written to.
        """
        stored = write_segment(self._path, self._name(), self.manifest, records)
        return open_segment(self._path, stored, self.manifest) if stored.clips else None

    def merge(
        self, segments: list[IndexSegment], replaced: list[IndexSegment]
    ) -> list[IndexSegment]:
        """Returns segments in which one new segment has the clips of the `replaced` ones.

        Raises:
          InputError: one of these is damaged, or the folder cannot be written to.
        """
        for segment in replaced:
            check(self._path, segment)
        merged = self.store(itertools.chain.from_iterable(s.records() for s in replaced))
        kept = [segment for segment in segments if segment not in replaced]
        return kept if merged is None else [*kept, merged]

    def commit(self, segments: list[IndexSegment]) -> None:
        """Makes these the segments of the index, in one step.

        Raises:
          InputError: the folder cannot be written to.
        """
        stored = tuple(self._with_deleted(segment) for segment in segments)
        manifest = dataclasses.replace(self.manifest, segments=stored, names=self._names)
        write_manifest(self._path, manifest)

    def _with_deleted(self, segment: IndexSegment) -> StoredSegment:
        """Returns a segment's part of the manifest; writes its deletions if they are new."""
        if segment.stored.deleted or not segment.deleted.any():
            return segment.stored
        name = self._name()
        checksum = write_deleted(self._path, name, segment.deleted)
        checksums = segment.stored.checksums | {"deleted": checksum}
        return dataclasses.replace(segment.stored, deleted=name, checksums=checksums)

    def _name(self) -> str:
        self._names += 1
        return f"{self._names:06d}"


class Writer:
    """A context manager that changes an index; no other program can open one at the same time.

    A method that raises an error has changed nothing, unless the message says so.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens an index.

        Raises:
          InputError: there is no index, it is damaged or too old, or another program writes to it.
        """
        self.path = user_path(path)
        read_manifest(self.path)  # No lock is left where there is no index.
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(locked(self.path))
        remove_strays(self.path)
        self._open = True
        self._forget()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._open = False
        self._lock.close()

    def add(
        self, entries: Iterable[Entry], *, outdated: Callable[[str], bool] | None = None
    ) -> tuple[int, int]:
        """Adds clips, which replace those with the same ids; all of them or, on an error, none.

        They are written as they come, so that the frames of one clip are in memory at a time.

        Args:
          outdated: takes the id of a clip of the index and returns True if the change removes it;
            called after all entries were taken.

        Returns:
          The number of clips that are new, and of those that were replaced or removed.

        Raises:
          InputError: the index cannot store a clip, two clips have the same id, or the folder
            cannot be written to.
        """
        if outdated is not None and not callable(outdated):
            raise refusal("outdated", outdated, "a function of an id, or None")
        with self._change() as change:
            ids: set[str] = set()
            added = change.store(records(entries, change.manifest, ids))
            if added is None:
                return 0, 0
            places = self._find(change.segments)
            obsolete = ids & places.keys()
            if outdated is not None:
                obsolete |= {clip_id for clip_id in places if outdated(clip_id)}
            num_new = len(ids - places.keys())
            replaced = [places.pop(clip_id) for clip_id in obsolete]
            segments = [*_without(change.segments, replaced), added]
            if len(segments) > MAX_SEGMENTS:
                smallest = sorted(segments, key=len)[: MAX_SEGMENTS // 2 + 1]
                segments = change.merge(segments, smallest)
            change.commit(segments)
            return num_new, len(replaced)

    def delete(self, clip_ids: Iterable[str]) -> int:
        """Deletes clips, all of them or, on an error, none.

        Returns:
          The number of deleted clips.

        Raises:
          InputError: the index has no clip of such an id, or the folder cannot be written to.
        """
        ids = set(texts(clip_ids, "clip_ids"))
        with self._change() as change:
            places = self._find(change.segments)
            if unknown := ids - places.keys():
                raise unknown_clips(self.path, unknown)
            if ids:
                deleted = [places.pop(clip_id) for clip_id in ids]
                change.commit(_without(change.segments, deleted))
        return len(ids)

    def compact(self) -> None:
        """Frees the room of deleted clips, merges small segments, adds the words of old ones.

        It needs room on disk for the clips that it copies.

        Raises:
          InputError: the folder cannot be written to.
        """
        with self._change() as change:
            total = sum(map(len, change.segments))
            sparse = [
                segment
                for segment in change.segments
                if _is_to_copy(segment) or len(segment) < LARGE_SHARE * total
            ]
            if len(sparse) > 1 or any(map(_is_to_copy, sparse)):
                change.commit(change.merge(change.segments, sparse))

    @contextlib.contextmanager
    def _change(self) -> Iterator[_Change]:
        if not self._open:
            raise ValueError(f"the writer of {self.path} is closed")
        try:
            yield _Change(self.path)
        except BaseException:
            self._forget()  # The cached places may be those of a change that was not made.
            raise
        finally:
            remove_strays(self.path)

    def _forget(self) -> None:
        self._places: dict[str, tuple[str, int]] = {}
        self._known_segments: set[str] = set()

    def _find(self, segments: list[IndexSegment]) -> dict[str, tuple[str, int]]:
        """Returns the segment's name and the row of each clip by its id."""
        for segment in segments:
            name = segment.stored.name
            if name not in self._known_segments:
                with undamaged(self.path):
                    ids = [(clip_id, (name, row)) for row, clip_id in segment.clip_ids()]
                self._places.update(ids)
                self._known_segments.add(name)
        return self._places


def unknown_clips(path: Path, ids: Iterable[str]) -> InputError:
    """Returns the error about ids of clips to delete that an index does not have."""
    unknown = sorted(ids)
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return InputError(
        f"{path} has no clip {', '.join(map(repr, unknown[:SHOWN]))}{more}: nothing was deleted; "
        "leave them out"
    )


def _is_to_copy(segment: IndexSegment) -> bool:
    """Checks whether a segment lacks clips, or has no file of words."""
    return bool(segment.deleted.any()) or not segment.stored.word_bytes


def _without(segments: list[IndexSegment], places: list[tuple[str, int]]) -> list[IndexSegment]:
    """Returns the segments with the clips at these places deleted, without empty segments."""
    rows = collections.defaultdict(list)
    for name, row in places:
        rows[name].append(row)
    remaining = [s.without(rows[s.stored.name]) if s.stored.name in rows else s for s in segments]
    return [segment for segment in remaining if len(segment)]
