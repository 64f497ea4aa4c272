"""A group's stream of clips: where it stands, and records read ahead of it."""

import dataclasses
import weakref

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.pipeline import segments

# For every group records are read by so many threads, so many at once, and so many times ahead.
READERS = 2
READ_AT_ONCE = 4
READ_AHEAD = 2


@dataclasses.dataclass
class GroupState:
    """Where a group's stream stands: its next position, and the positions of clips that wait."""

    cursor: int
    waiting: list[int]


def encode_state(states: list[GroupState], max_waiting: int) -> np.ndarray:
    """States as `[groups, 2 + max_waiting]` int64: cursor, number waiting, positions, zeros."""
    encoded = np.zeros((len(states), 2 + max_waiting), np.int64)
    for row, state in zip(encoded, states, strict=True):
        row[:2] = state.cursor, len(state.waiting)
        row[2 : 2 + len(state.waiting)] = state.waiting
    return encoded


def decode_state(encoded: np.ndarray) -> list[GroupState]:
    """The inverse of `encode_state`."""
    return [GroupState(int(row[0]), [int(p) for p in row[2 : 2 + row[1]]]) for row in encoded]


def initial_state(groups: range, max_waiting: int) -> np.ndarray:
    """The state in which nothing has been read, of a host's groups."""
    return encode_state([GroupState(group, []) for group in groups], max_waiting)


class _Stream:
    """One group's clips in their order, with those that wait."""

    def __init__(self, batches, order, state, stop):
        self.config = batches.config
        self.stop = stop
        self.cursor = state.cursor

        def prepare(position):
            return batches.prepare(order(position))

        waiting = [(position, prepare(position)) for position in state.waiting]
        self.waiting = [item for item in waiting if item[1] is not None]
        self.upcoming = _read_ahead(prepare, self.cursor, stop, self.config.groups)
        # Also if the program ends first: later TensorFlow would wait for threads that Python has
        # stopped.
        weakref.finalize(self, self.upcoming.close)

    @property
    def state(self) -> GroupState:
        return GroupState(self.cursor, [position for position, _ in self.waiting])

    @property
    def done(self) -> bool:
        """Whether a finite stream has nothing left."""
        return not self.waiting and self.stop is not None and self.cursor >= self.stop

    def fill(self, packer):
        """Packs clips until the group is full or as many wait as may.

        Clips that waited come first.
        """
        waiting, self.waiting = self.waiting, []
        for position, prepared in waiting:
            self._pack(packer, position, prepared)
        while not packer.full and len(self.waiting) < self.config.max_waiting:
            item = next(self.upcoming, None)
            if item is None:
                return
            self.cursor = item[0] + self.config.groups
            if item[1] is not None:
                self._pack(packer, *item)

    def _pack(self, packer, position, prepared):
        if packer.full or not packer.add(prepared):
            if not packer.clips:
                raise InputError(
                    f"Clip {prepared.clip_id!r} with {len(prepared.slot_token)} frames and tokens "
                    f"or its queries do not fit an empty group of {packer.config.rows_per_group} "
                    f"rows and {packer.config.query_rows_per_group} query rows of "
                    f"{packer.config.row_length} slots; raise config.batch.rows_per_group, "
                    "query_rows_per_group or queries_per_clip."
                )
            self.waiting.append((position, prepared))


class _Reader:
    """Prepares clips before they are asked for.

    Attributes:
      prepared: by position; None if the record is skipped, or the error that it raised.
    """

    def __init__(self, prepare):
        self.prepare = prepare
        self.prepared: dict[int, segments.Prepared | InputError | None] = {}

    def read(self, positions):
        for position in positions.tolist():
            try:
                self.prepared[position] = self.prepare(position)
            except InputError as error:
                # TensorFlow would wrap it beyond recognition.
                self.prepared[position] = error

    def take(self, position):
        prepared = self.prepared.pop(position)
        if isinstance(prepared, InputError):
            raise prepared
        return prepared


def _read_ahead(prepare, first, stop, stride):
    """(position, prepared clip or None if its record is skipped) at every position from `first`."""
    reader = _Reader(prepare)
    # TensorFlow never lets go of a function that it was given, so that one must hold no clips.
    weak_read = weakref.WeakMethod(reader.read)

    def read(positions):
        read_now = weak_read()
        if read_now is not None:
            read_now(positions)
        return positions

    stop = np.iinfo(np.int64).max if stop is None else stop
    dataset = tf.data.Dataset.range(first, stop, stride).batch(READ_AT_ONCE)
    dataset = dataset.map(
        lambda positions: tf.numpy_function(read, [positions], tf.int64, stateful=False),
        num_parallel_calls=READERS,
        deterministic=True,
    )
    dataset = dataset.prefetch(READ_AHEAD)
    # Nothing is left to be tuned, and its thread, asleep for up to a minute, would hold up the end.
    options = tf.data.Options()
    options.autotune.enabled = False
    for positions in dataset.with_options(options).as_numpy_iterator():
        for position in positions.tolist():
            yield position, reader.take(position)
