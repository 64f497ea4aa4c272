"""Layouts of queries for retrieval: with their clips for training, and alone for searching.

For one group, a batch of query texts has the query arrays of `data.pipeline.packing` and

  query_numbers  [N] int32   number of the query's record

where N is the number of queries of `[CLS]` and one word that fit the query rows.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from data.config import Config
from data.pipeline import asking, packing, segments
from data.pipeline.layout import Limit, Metadata, query_limits, segment_limits
from data.pipeline.order import EpochOrder, spread
from data.pipeline.units import AnnotatedSplit, NumberedQuery, UnitLayout, cut
from data.report import Report
from data.schema import Clip, Query


class Retrieval(UnitLayout):
    """Layout of a clip and a query about it; see `data.pipeline.packing` for the arrays."""

    name = "retrieval"

    def problem(self, query: Query) -> str:
        """Returns why a query is not trained on, '' if it is."""
        most = self.config.max_query_tokens
        return f"queries of more than {most} tokens" if len(query.token_ids) > most else ""

    def prepare(self, clip: Clip, number: int, queries: list[NumberedQuery]) -> segments.Prepared:
        """Returns the clip as segments, with its query."""
        asked = [query for _, query in queries]
        return segments.prepare(clip, number, self.config, self.metadata, asked, framed=True)

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a batch with nothing in it."""
        metadata = self.metadata
        return packing.empty_batch(
            groups, self.config, metadata.feature_width, metadata.special_ids.pad
        )

    def packer(
        self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0
    ) -> packing.GroupPacker:
        """Returns a packer of clips with their queries."""
        del seed, step
        tokens = self.metadata.special_ids
        return packing.GroupPacker(arrays, self.config, tokens, asking.annotated_queries)

    def slots(self, item: segments.Prepared) -> tuple[int, int, list[int]]:
        """Returns the slots of the clip, and those of its query."""
        return (
            int(item.lengths.sum()),
            len(item.frame_features),
            [len(words) + 1 for words, _ in item.annotated],
        )

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits of clips and queries."""
        del block
        return [*segment_limits(config), *query_limits(config)]


class WindowRetrieval(Retrieval):
    """The same, for queries of several windows: a query's span is one of them, drawn in each step.

    The draw depends on the seed, the step and the clip.
    """

    name = "windows"

    def prepare(self, clip: Clip, number: int, queries: list[NumberedQuery]) -> segments.Prepared:
        """Returns the clip as segments, with its query and the spans of all of its windows."""
        prepared = super().prepare(clip, number, queries)
        frames, step = len(prepared.frame_features), self.metadata.seconds_per_feature
        asked, cut_moments = [], 0
        for (words, _), (_, query) in zip(prepared.annotated, queries, strict=True):
            windows = [
                segments.moment_in_frames((start, end), step, frames)
                for start, end in query.moments.tolist()
            ]
            kept: list[tuple[float, float] | None]
            kept = [window for window, _ in windows if window is not None] or [None]
            asked.append((words, [segments.moment_span(w, step, frames) for w in kept]))
            cut_moments += any(is_cut for _, is_cut in windows)
        return dataclasses.replace(prepared, annotated=tuple(asked), cut_moments=cut_moments)

    def packer(
        self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0
    ) -> packing.GroupPacker:
        """Returns a packer of clips with their queries, each with one of its spans."""

        def choose(prepared: segments.Prepared) -> tuple[np.ndarray, list[asking.Asked]]:
            generator = np.random.default_rng([seed, step, prepared.number])
            drawn = [
                (words, spans[generator.integers(len(spans))])
                for words, spans in prepared.annotated
            ]
            return np.empty(0, int), drawn

        return packing.GroupPacker(arrays, self.config, self.metadata.special_ids, choose)


@dataclasses.dataclass(frozen=True)
class QueryText:
    """A query to search with.

    Attributes:
      number: number of the query's record.
      query_id: name of the query.
      words: token ids that are kept.
      cut_tokens: number of token ids that are left out.
    """

    number: int
    query_id: str
    words: list[int]
    cut_tokens: int


class QueryItems:
    """All queries of a split as items.

    Args:
      split: the split; its clips are not read.
      most: maximum number of tokens of a query.
    """

    def __init__(self, split: AnnotatedSplit, most: int):
        self.queries, self.most = split.queries, most
        self.name = split.metadata.name
        self.left_out = Report()
        readable = [number for number, query in enumerate(self.queries) if query is not None]
        self._corrupt = len(self.queries) - len(readable)
        # Without damaged records at the end, no batch of them alone is packed.
        self._length = readable[-1] + 1 if readable else 0

    def __len__(self) -> int:
        return self._length

    def prepare(self, number: int) -> QueryText | None:
        """Returns a query, or None if its record is damaged."""
        query = self.queries[number]
        if query is None:
            return None
        words = cut(query.token_ids, self.most)
        return QueryText(number, query.query_id, words, len(query.token_ids) - len(words))

    def order(self, seed: int) -> EpochOrder:
        """Returns an order that is shuffled in every epoch."""
        return EpochOrder(len(self), seed)

    def sample(self, count: int) -> np.ndarray:
        """Returns the numbers of at most `count` queries, spread evenly."""
        return spread(len(self), count)

    def counts(self, arrays: dict[str, np.ndarray]) -> dict[str, int]:
        """Returns the number of damaged queries."""
        del arrays
        return {"corrupt": self._corrupt}


class QueryTexts:
    """Layout of queries alone, in the order of their records; arrays in the module's docstring."""

    name: ClassVar[str] = "texts"
    annotated: ClassVar[bool] = True

    def __init__(self, config: Config, metadata: Metadata):
        self.config, self.metadata = config, metadata

    def items(self, data: AnnotatedSplit, *, training: bool) -> QueryItems:
        """Returns all queries."""
        del training
        return QueryItems(data, self.config.max_query_tokens)

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a batch with nothing in it."""
        queries = self.config.query_rows_per_group * self.config.row_length // 2
        pad = self.metadata.special_ids.pad
        return {
            **packing.query_arrays(groups, self.config, queries, pad),
            "query_numbers": packing.filled(groups, (queries,)),
        }

    def packer(self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0) -> "_TextPacker":
        """Returns a packer of queries."""
        del seed, step
        return _TextPacker(arrays, self.config, self.metadata)

    def slots(self, item: QueryText) -> tuple[int, int, list[int]]:
        """Returns 0 for the rows of clips and of frames, and the slots of the query."""
        return 0, 0, [len(item.words) + 1]

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits of queries."""
        del block
        return query_limits(config)


class _TextPacker:
    """Fills one group with queries until one does not fit, which keeps them in order."""

    def __init__(self, arrays: dict[str, np.ndarray], config: Config, metadata: Metadata):
        self.arrays, self.config = arrays, config
        self.rows = packing.QueryRows(arrays, config, metadata.special_ids)
        self.counts = dict.fromkeys(packing.COUNTS, 0)
        self.full = False

    @property
    def empty(self) -> bool:
        return not self.rows.queries

    def add(self, item: QueryText) -> bool:
        if not self.rows.add([item.words]):
            self.full = True
            return False
        self.arrays["query_numbers"][self.rows.queries - 1] = item.number
        self.counts["queries"] += 1
        self.counts["filled_query_slots"] += len(item.words) + 1
        self.counts["cut_tokens"] += item.cut_tokens
        return True

    def refusal(self, item: QueryText) -> str:
        return (
            f"query {item.query_id!r} of {len(item.words)} tokens does not fit a row: lower "
            f"batch.max_query_tokens below {self.config.row_length}"
        )
