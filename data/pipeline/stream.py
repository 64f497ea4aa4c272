"""One group's stream of items: its position in their order, and a few items prepared ahead."""

import collections
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Generic, TypeVar

import numpy as np

from data.errors import InputError
from data.pipeline.layout import Packer

# Threads that prepare a group's items, and how many items they may be ahead.
READERS = 2
READ_AHEAD = 8

Item = TypeVar("Item")


@dataclasses.dataclass
class GroupState:
    """State of a group's stream: its next position, and the positions of waiting items."""

    cursor: int
    waiting: list[int]


def encode_state(states: list[GroupState], max_waiting: int) -> np.ndarray:
    """Returns states as `[groups, 2 + max_waiting]` int64.

    A row holds the cursor, the number of waiting items, their positions, and zeros.
    """
    encoded = np.zeros((len(states), 2 + max_waiting), np.int64)
    for row, state in zip(encoded, states, strict=True):
        row[:2] = state.cursor, len(state.waiting)
        row[2 : 2 + len(state.waiting)] = state.waiting
    return encoded


def decode_state(encoded: np.ndarray) -> list[GroupState]:
    """Inverts `encode_state`."""
    return [GroupState(int(row[0]), [int(p) for p in row[2 : 2 + row[1]]]) for row in encoded]


def initial_state(groups: range, max_waiting: int) -> np.ndarray:
    """Returns the encoded state of a host's groups before anything has been read."""
    return encode_state([GroupState(group, []) for group in groups], max_waiting)


class Stream(Generic[Item]):
    """One group's items in order, together with those that wait because they did not fit.

    Args:
      prepare: returns the item at a position, or None for a damaged record that is skipped. It is
        called from several threads.
      state: state to continue from.
      stride: distance between two positions of the group: the number of groups.
      max_waiting: number of items that may wait.
      stop: end of the positions, or None for an endless stream.
    """

    def __init__(
        self,
        prepare: Callable[[int], Item | None],
        state: GroupState,
        *,
        stride: int,
        max_waiting: int,
        stop: int | None = None,
    ):
        self.stride, self.max_waiting, self.stop = stride, max_waiting, stop
        self.cursor = state.cursor
        self.waiting: list[tuple[int, Item]] = []
        for position in state.waiting:
            item = prepare(position)
            if item is not None:
                self.waiting.append((position, item))
        positions: Iterator[int] = itertools.count(self.cursor, stride)
        if stop is not None:
            positions = itertools.takewhile(lambda position: position < stop, positions)
        self.upcoming = read_ahead(prepare, positions)

    @property
    def state(self) -> GroupState:
        """State from which a new stream continues like this one."""
        return GroupState(self.cursor, [position for position, _ in self.waiting])

    @property
    def done(self) -> bool:
        """Returns whether a finite stream has nothing left."""
        return not self.waiting and self.stop is not None and self.cursor >= self.stop

    def fill(self, packer: Packer[Item]) -> None:
        """Packs items until the group is full or `max_waiting` items wait.

        Items that waited come first.

        Raises:
          InputError: an item does not fit an empty group, or a damaged record is not skipped.
        """
        waiting, self.waiting = self.waiting, []
        for position, item in waiting:
            self._pack(packer, position, item)
        while not packer.full and len(self.waiting) < self.max_waiting:
            upcoming = next(self.upcoming, None)
            if upcoming is None:
                return
            position, prepared = upcoming
            self.cursor = position + self.stride
            if prepared is not None:
                self._pack(packer, position, prepared)

    def _pack(self, packer: Packer[Item], position: int, item: Item) -> None:
        if packer.full or not packer.add(item):
            if packer.empty:
                raise InputError(packer.refusal(item))
            self.waiting.append((position, item))


class _Reader(Generic[Item]):
    """Calls `prepare` in the threads of a pool until it is stopped.

    Queued calls refer to the reader instead of to `prepare`, so a stopped reader keeps no dataset
    in memory.
    """

    def __init__(self, prepare: Callable[[int], Item | None]):
        self.prepare: Callable[[int], Item | None] | None = prepare
        self.threads: set[int] = set()

    def start(self) -> None:
        self.threads.add(threading.get_ident())

    def read(self, position: int) -> Item | None:
        prepare = self.prepare
        return None if prepare is None else prepare(position)

    def stop(self, reads: collections.deque[futures.Future]) -> None:
        """Lets queued reads end at once, and waits for those that are running."""
        self.prepare = None
        # Python's garbage collector may call this in one of the threads that it would wait for.
        if threading.get_ident() not in self.threads:
            futures.wait(reads)


def read_ahead(
    prepare: Callable[[int], Item | None], positions: Iterator[int]
) -> Iterator[tuple[int, Item | None]]:
    """Yields every position in order with what `prepare` returns for it.

    Threads call `prepare` at most `READ_AHEAD` positions ahead. An error that it raises is raised
    where its position comes. The threads end with the iterator: at its end, after an error, or when
    it is closed or no longer referenced.
    """
    reader = _Reader(prepare)
    # The frame of this generator would keep it alive after the reader has stopped.
    del prepare
    pool = futures.ThreadPoolExecutor(READERS, "read_ahead", initializer=reader.start)
    reads: collections.deque[futures.Future] = collections.deque()
    ahead: collections.deque[int] = collections.deque()
    try:
        while True:
            for position in itertools.islice(positions, READ_AHEAD - len(reads)):
                ahead.append(position)
                reads.append(pool.submit(reader.read, position))
            if not reads:
                return
            yield ahead.popleft(), reads.popleft().result()
    finally:
        # Not `pool.shutdown`: its locks are not safe in the garbage collector. Without references
        # the pool ends its threads by itself.
        reader.stop(reads)
