"""Layouts of clips: for pre-training, with subtitles for queries, and as a corpus to search."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from data.config import Config
from data.pipeline import asking, packing, segments
from data.pipeline.layout import Limit, Metadata, query_limits, segment_limits
from data.pipeline.mixture import Mixture, MixtureOrder
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import Clip, Query


class ClipItems:
    """Clips of one dataset or of a mixture; training takes each dataset by its weight.

    Args:
      clips: the clips.
      prepare: lays a clip out, given it and the number of its record.
    """

    def __init__(self, clips: Split | Mixture, prepare: Callable[[Clip, int], segments.Prepared]):
        self.mixture = (
            clips if isinstance(clips, Mixture) else Mixture({clips.metadata.name: clips})
        )
        self.name = self.mixture.metadata.name
        self.left_out = Report()
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self.mixture)

    def prepare(self, number: int) -> segments.Prepared | None:
        """Returns a clip laid out as segments, or None if it is damaged and skipped."""
        clip = self.mixture.read(number)
        return None if clip is None else self._prepare(clip, number)

    def order(self, seed: int) -> MixtureOrder:
        """Returns the order of training."""
        return self.mixture.order(seed)

    def sample(self, count: int) -> np.ndarray:
        """Returns the numbers of at most `count` clips, spread evenly."""
        return self.mixture.sample(count)

    def counts(self, arrays: dict[str, np.ndarray]) -> dict[str, int]:
        """Returns the numbers of a batch's clips by dataset, and of damaged records so far."""
        return self.mixture.counts(arrays)


class _ClipLayout:
    """Base of the layouts of clips: their items, and arrays of clips and of queries in rows."""

    name: ClassVar[str]
    annotated: ClassVar[bool] = False

    def __init__(self, config: Config, metadata: Metadata):
        self.config, self.metadata = config, metadata

    def items(self, data: Split | Mixture, *, training: bool) -> ClipItems:
        """Returns all clips."""
        del training
        return ClipItems(data, self.prepare)

    def prepare(self, clip: Clip, number: int) -> segments.Prepared:
        """Returns a clip laid out as segments."""
        raise NotImplementedError

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a batch with nothing in it; see `data.pipeline.packing`."""
        metadata = self.metadata
        return packing.empty_batch(
            groups, self.config, metadata.feature_width, metadata.special_ids.pad
        )

    def slots(self, item: segments.Prepared) -> tuple[int, int, list[int]]:
        """Returns the slots of a clip, and those of each subtitle that may be drawn as a query."""
        return (
            int(item.lengths.sum()),
            len(item.frame_features),
            [len(item.subtitles[j]) + 1 for j in item.spans],
        )


class Clips(_ClipLayout):
    """Layout of pre-training: clips with queries that are drawn from their subtitles.

    Args:
      config, metadata: as in `data.pipeline.layout.Layout`.
      queries: annotated queries that take the place of drawn subtitles.
    """

    name = "clips"

    def __init__(self, config: Config, metadata: Metadata, queries: QuerySplit | None = None):
        super().__init__(config, metadata)
        self.queries = None if queries is None else _queries_by_clip(queries)

    def prepare(self, clip: Clip, number: int) -> segments.Prepared:
        """Returns a clip laid out as segments, with its annotated queries if there are any."""
        queries: Sequence[Query] = ()
        if self.queries is not None:
            queries = self.queries.get(clip.clip_id, ())
        return segments.prepare(clip, number, self.config, self.metadata, queries)

    def packer(
        self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0
    ) -> packing.GroupPacker:
        """Returns a packer that draws queries by seed, step and clip, or takes annotated ones."""
        choose: asking.Choose = asking.annotated_queries
        if self.queries is None:
            choose = asking.drawn_subtitles(seed, step, self.config.queries_per_clip)
        return packing.GroupPacker(arrays, self.config, self.metadata.special_ids, choose)

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits of clips, and of subtitles and annotated queries as queries."""
        del block
        batch = config.batch
        return [
            *segment_limits(config),
            Limit("batch.max_frames", batch.max_frames, "model.max_frames"),
            Limit("batch.max_tokens + 1", batch.max_tokens + 1, "model.query_positions"),
            # Subtitles are cut to fit a row with their frames, queries are not.
            Limit("batch.max_tokens + 1", batch.max_tokens + 1, "batch.row_length"),
            *query_limits(config),
        ]


class CorpusClips(_ClipLayout):
    """Layout of clips without queries."""

    name = "corpus"

    def prepare(self, clip: Clip, number: int) -> segments.Prepared:
        """Returns a clip laid out as segments that have frames."""
        return segments.prepare(clip, number, self.config, self.metadata, framed=True)

    def packer(
        self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0
    ) -> packing.GroupPacker:
        """Returns a packer of clips alone."""
        del seed, step
        tokens = self.metadata.special_ids
        return packing.GroupPacker(arrays, self.config, tokens, asking.no_queries)

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits of clips."""
        del block
        return segment_limits(config)


def _queries_by_clip(queries: QuerySplit) -> Mapping[str, list[Query]]:
    """Returns the queries of every clip, without those that name no clip."""
    by_clip: dict[str, list[Query]] = defaultdict(list)
    for number in range(len(queries)):
        query = queries.read(number)
        if query is not None and query.clip_id:
            by_clip[query.clip_id].append(query)
    return dict(by_clip)
