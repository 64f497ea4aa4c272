"""From records to packed host batches: an endless, resumable stream, or one pass over a split.

Each of the G groups of a batch has a stream of its own, the positions p = group, group + G, ... of
the order of the clips, and clips that wait because they did not fit. So what a batch holds depends
on the seed and the batch's number, not on how many hosts share the groups.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from data.errors import InputError
from data.pipeline import packing, segments
from data.pipeline.mixture import Mixture
from data.pipeline.order import EpochOrder
from data.pipeline.stream import GroupState, _Stream, decode_state, encode_state
from data.pipeline.units import AnnotatedSplit, Unit
from data.records.reader import QuerySplit, Split
from data.schema import Query

# Clips looked at to find out how many rows a batch needs, and room left in query rows.
SAMPLE = 512
QUERY_ROOM = 1.1
# Counts of a batch that say how things stand after it; the others are sums over its clips.
GAUGES = ("waiting", "corrupt")


def _queries_by_clip(queries: QuerySplit) -> dict[str, list[Query]]:
    """Queries of every clip; those that name no clip cannot be placed."""
    by_clip = defaultdict(list)
    for number in range(len(queries)):
        query = queries.read(number)
        if query is not None and query.clip_id:
            by_clip[query.clip_id].append(query)
    return dict(by_clip)


class Batches:
    """Packed batches of one host.

    Args:
      clips: where the clips are; of a mixture, training takes each source by its weight.
      config: the experiment's `batch` block.
      groups: which of the `config.groups` groups this host packs.
      queries: annotated queries to use in place of subtitles, or None.
    """

    def __init__(
        self, clips: Split | Mixture, config, groups: range, queries: QuerySplit | None = None
    ):
        self.mixture = (
            clips if isinstance(clips, Mixture) else Mixture({clips.metadata.name: clips})
        )
        self.config = config
        self.groups = groups
        self.metadata = self.mixture.metadata
        self.tokens = self.metadata.special_ids
        self.queries = None if queries is None else _queries_by_clip(queries)

    def train(self, seed: int, state: np.ndarray, first_step: int) -> Iterator[packing.HostBatch]:
        """The endless stream from `state` on, whose next batch is number `first_step`."""
        order = self._order(seed)
        streams = [
            _Stream(self, order, group_state, stop=None) for group_state in decode_state(state)
        ]
        step = first_step
        while True:
            yield self._batch(streams, self._packer(seed, step))
            step += 1

    def once(self, seed: int) -> Iterator[packing.HostBatch]:
        """Every clip of the split once, in order; the last batches are not full.

        Queries are drawn as in training's step 0, or annotated ones if there are any.
        """
        order = EpochOrder(len(self), None)
        streams = [
            _Stream(self, order, GroupState(group, []), stop=len(self)) for group in self.groups
        ]
        while not all(stream.done for stream in streams):
            yield self._batch(streams, self._packer(seed, 0))

    def empty(self) -> packing.HostBatch:
        """A batch with nothing in it, for a host that has run out before others."""
        arrays = self._arrays()
        return packing.HostBatch(arrays, np.zeros((0, 2)), dict.fromkeys(packing.COUNTS, 0))

    def __len__(self) -> int:
        return len(self.mixture)

    def sample(self, count: int) -> np.ndarray:
        """Numbers that `prepare` takes, at most so many, spread evenly."""
        return self.mixture.sample(count)

    def _order(self, seed):
        return self.mixture.order(seed)

    def _arrays(self):
        return packing.empty_batch(
            len(self.groups), self.config, self.metadata.feature_width, self.tokens.pad
        )

    def _packer(self, seed, step):
        """Makes the packer of a group's arrays in a step."""
        choose = (
            packing.drawn_subtitles(seed, step, self.config.queries_per_clip)
            if self.queries is None
            else packing.annotated_queries
        )
        return lambda group: packing.GroupPacker(group, self.config, self.tokens, choose)

    def prepare(self, number: int) -> segments.Prepared | None:
        """Record `number` laid out for packing; None if it is damaged and skipped."""
        clip = self.mixture.read(number)
        if clip is None:
            return None
        queries = () if self.queries is None else self.queries.get(clip.clip_id, ())
        return segments.prepare(clip, number, self.config, self.metadata, queries)

    def query_lengths(self, prepared: segments.Prepared) -> list[int]:
        """Slots of each query that a clip may bring."""
        return [len(prepared.subtitles[j]) + 1 for j in prepared.spans]

    def _batch(self, streams, new_packer):
        arrays = self._arrays()
        counts = dict.fromkeys(packing.COUNTS, 0)
        for g, stream in enumerate(streams):
            group = {name: array[g] for name, array in arrays.items()}
            packer = new_packer(group)
            stream.fill(packer)
            for name, value in packer.counts.items():
                counts[name] += value
        sources = self.mixture.sources(arrays["clip_numbers"][arrays["num_frames"] > 0])
        for source, name in enumerate(self.mixture.splits):
            counts[f"clips/{name}"] = int((sources == source).sum())
        state = encode_state([stream.state for stream in streams], self.config.max_waiting)
        counts["waiting"] = int(state[:, 1].sum())
        counts["corrupt"] = self.mixture.corrupt
        return packing.HostBatch(arrays, state, counts)


class UnitBatches(Batches):
    """Packed batches of a downstream task: clips with what is asked of them.

    Args:
      split: of clips and queries.
      units: what is read together.
      layout: `Choices`, `Captions` or `Retrieval` of the split's dataset.
      config: the experiment's `batch` block.
      groups: which of the `config.groups` groups this host packs.
    """

    def __init__(self, split: AnnotatedSplit, units: Sequence[Unit], layout, config, groups: range):
        super().__init__(split.clips, config, groups)
        self.split, self.units, self.layout = split, units, layout

    def __len__(self) -> int:
        return len(self.units)

    def sample(self, count: int) -> np.ndarray:
        """Numbers of at most so many units, spread evenly."""
        return np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)

    def _order(self, seed):
        return EpochOrder(len(self), seed)

    def _arrays(self):
        return self.layout.arrays(len(self.groups))

    def _packer(self, seed, step):
        del seed, step
        return self.layout.packer

    def query_lengths(self, prepared: segments.Prepared) -> list[int]:
        """Slots of each query of a unit, if they are in rows of their own."""
        return self.layout.query_lengths(prepared)

    def prepare(self, number: int) -> segments.Prepared | None:
        """Unit `number` laid out for packing; None if its clip is damaged and skipped."""
        unit = self.units[number]
        clip = self.mixture.read(unit.clip)
        if clip is None:
            return None
        queries = [(n, self.split.queries[n]) for n in unit.queries]
        return self.layout.prepare(clip, unit.clip, queries)


class CorpusBatches(Batches):
    """Packed batches of clips alone, of which nothing is asked."""

    def _packer(self, seed, step):
        del seed, step
        choose = packing.no_queries
        return lambda group: packing.GroupPacker(group, self.config, self.tokens, choose)

    def prepare(self, number: int) -> segments.Prepared | None:
        """Record `number` laid out for packing; None if it is damaged and skipped."""
        clip = self.mixture.read(number)
        if clip is None:
            return None
        return segments.prepare(clip, number, self.config, self.metadata, framed=True)


def fitting_rows(batches: Batches) -> tuple[int, int]:
    """Rows and query rows of a group that its clips fill on average, from a sample of them.

    Rows are as many as the average clips need, so that rows and not places for clips run out; query
    rows have a little room, since what does not fit them keeps rows empty.

    Raises:
      InputError: there is nothing to pack.
    """
    config = batches.config
    slots, queries = [], []
    for clip in filter(None, map(batches.prepare, batches.sample(SAMPLE).tolist())):
        slots.append(clip.lengths.sum())
        words = batches.query_lengths(clip)
        drawn = min(len(words), config.queries_per_clip)
        queries.append(np.mean(words) * drawn if drawn else 0.0)
    if not slots:
        raise InputError(
            f"Dataset {batches.metadata.name!r} has nothing to pack in the split that rows are "
            "counted for: choose another split, or annotations of its own clips."
        )
    # The longest queries that one clip may bring.
    most = config.queries_per_clip * (max(config.max_tokens, config.max_query_tokens) + 1)

    def rows(average, most):
        return max(round(average), math.ceil(2 * most / config.row_length), 1)

    places = config.clips_per_group / config.row_length
    return (
        rows(places * np.mean(slots), max(slots)),
        rows(math.ceil(QUERY_ROOM * places * np.mean(queries)), most),
    )
