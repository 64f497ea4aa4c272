"""From records to packed host batches: an endless stream that can be resumed, or one pass.

Each of the G groups of a batch has a stream of its own: the positions group, group + G, ... of the
order of the items, and the items that wait because they did not fit. So the content of a batch
depends on the seed and the batch's number, not on how many hosts share the groups.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from data.config import Config
from data.errors import InputError
from data.pipeline import packing
from data.pipeline.layout import Items, Layout
from data.pipeline.order import EpochOrder
from data.pipeline.segments import Rows
from data.pipeline.stream import GroupState, Stream, decode_state, encode_state

# Items that `fitting_rows` looks at, groups that it makes of them to pack their frames, and the
# factor by which query rows exceed their average.
SAMPLE = 512
SAMPLE_GROUPS = 32
QUERY_ROOM = 1.1
# Counts of a batch that describe the state after it; the others are sums over its items.
GAUGES = ("waiting", "corrupt")

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class HostBatch:
    """A host's part of a batch.

    Attributes:
      arrays: the layout's arrays, whose leading axis is the host's groups.
      state: `[groups, 2 + max_waiting]` int64, the state of the groups' streams after the batch,
        from which a run can be resumed.
      counts: sums over the host's groups of `packing.COUNTS` and of the clips of each source,
        `clips/SOURCE`, and the numbers of `waiting` items and of `corrupt` records.
    """

    arrays: dict[str, np.ndarray]
    state: np.ndarray
    counts: dict[str, int]


class Batches(Generic[Item]):
    """Packed batches of one host.

    Args:
      layout: the kind of batch.
      items: what is packed, as the layout's `items` makes it.
      groups: numbers of those of the `config.groups` groups that this host packs.

    Attributes:
      layout, items, groups: as given.
      config: the experiment's `batch` block.
    """

    def __init__(self, layout: Layout[Item], items: Items[Item], groups: Sequence[int]):
        self.layout, self.items, self.groups = layout, items, groups
        self.config = layout.config

    def __len__(self) -> int:
        return len(self.items)

    def train(self, seed: int, state: np.ndarray, first_step: int) -> Iterator[HostBatch]:
        """Yields batches without end, continuing from a state.

        Args:
          seed: the order of the items, and what is drawn for them, depend on it.
          state: the `state` of the batch before, or `data.pipeline.stream.initial_state`.
          first_step: number of the next batch.
        """
        streams = self._streams(self.items.order(seed), decode_state(state), None)
        step = first_step
        while True:
            yield self._batch(streams, seed, step)
            step += 1

    def once(self, seed: int) -> Iterator[HostBatch]:
        """Yields batches of all items, each once and in order; the last batches are not full.

        What is drawn for an item is drawn as in step 0 of training.
        """
        states = [GroupState(group, []) for group in self.groups]
        streams = self._streams(EpochOrder(len(self), None), states, len(self))
        while not all(stream.done for stream in streams):
            yield self._batch(streams, seed, 0)

    def empty(self) -> HostBatch:
        """Returns a batch with nothing in it, for a host that has run out before others."""
        arrays = self.layout.arrays(len(self.groups))
        return HostBatch(arrays, np.zeros((0, 2)), dict.fromkeys(packing.COUNTS, 0))

    def _streams(
        self, order: Callable[[int], int], states: list[GroupState], stop: int | None
    ) -> list[Stream[Item]]:
        items, config = self.items, self.config
        return [
            Stream(
                lambda position: items.prepare(order(position)),
                state,
                stride=config.groups,
                max_waiting=config.max_waiting,
                stop=stop,
            )
            for state in states
        ]

    def _batch(self, streams: list[Stream[Item]], seed: int, step: int) -> HostBatch:
        arrays = self.layout.arrays(len(self.groups))
        counts = dict.fromkeys(packing.COUNTS, 0)
        for g, stream in enumerate(streams):
            group = {name: array[g] for name, array in arrays.items()}
            packer = self.layout.packer(group, seed, step)
            stream.fill(packer)
            for name, value in packer.counts.items():
                counts[name] += value
        state = encode_state([stream.state for stream in streams], self.config.max_waiting)
        counts |= self.items.counts(arrays)
        counts["waiting"] = int(state[:, 1].sum())
        return HostBatch(arrays, state, counts)


def fitting_rows(batches: Batches) -> tuple[int, int, int]:
    """Returns the rows, query rows and frame rows of a group that its clips fill on average.

    There are as many rows as the average clips of a sample need, so that rows run out before places
    for clips do. Query rows have a little room, since rows stay empty when queries do not fit.
    Frame rows are those that as many clips as a group has places for fill when they are packed.

    Raises:
      InputError: there is nothing to pack.
    """
    config = batches.config
    slots, queries, frames = [], [], []
    for item in map(batches.items.prepare, batches.items.sample(SAMPLE).tolist()):
        if item is None:
            continue
        in_rows, in_frame_rows, lengths = batches.layout.slots(item)
        slots.append(in_rows)
        frames.append(in_frame_rows)
        drawn = min(len(lengths), config.queries_per_clip)
        queries.append(np.mean(lengths) * drawn if drawn else 0.0)
    if not slots:
        raise InputError(
            f"dataset {batches.items.name!r} has nothing to pack in the split that rows are "
            "counted for: choose another split, or annotations of its own clips"
        )
    # The longest queries that one clip may bring.
    longest = config.queries_per_clip * (max(config.max_tokens, config.max_query_tokens) + 1)

    def rows(average: float, most: int) -> int:
        return max(round(average), math.ceil(2 * most / config.row_length), 1)

    places = config.clips_per_group / config.row_length
    return (
        rows(places * np.mean(slots), max(slots)),
        rows(math.ceil(QUERY_ROOM * places * np.mean(queries)), longest),
        _frame_rows(np.array(frames), config),
    )


def _frame_rows(frames: np.ndarray, config: Config) -> int:
    """Returns the mean number of rows that random groups of clips of these lengths fill."""
    used, generator = [], np.random.default_rng(0)
    for _ in range(SAMPLE_GROUPS):
        rows = Rows(config.clips_per_group, packing.frame_rows_of(config)[1])
        for length in generator.choice(frames, config.clips_per_group):
            rows.place(np.array([length]))
        used.append(np.count_nonzero(rows.segments))
    return round(np.mean(used))
