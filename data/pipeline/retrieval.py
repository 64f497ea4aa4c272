"""Queries for retrieval: with their clips to train on, and alone to search with."""

from collections.abc import Iterator, Sequence

import numpy as np

from data.errors import InputError
from data.pipeline import packing, segments
from data.pipeline.units import AnnotatedSplit, cut, one_by_one
from data.schema import Query


class Retrieval:
    """Layout of a clip and a query about it; see `data.pipeline.packing` for the arrays."""

    group = staticmethod(one_by_one)
    most = 1

    def __init__(self, config, metadata):
        self.config, self.metadata = config, metadata

    def problem(self, query: Query) -> str:
        """Why a query is not trained on, '' if it is."""
        most = self.config.max_query_tokens
        return f"queries of more than {most} tokens" if len(query.token_ids) > most else ""

    def prepare(self, clip, number, queries):
        """The clip with its query, as segments."""
        asked = [query for _, query in queries]
        return segments.prepare(clip, number, self.config, self.metadata, asked, framed=True)

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Of a batch with nothing in it."""
        metadata = self.metadata
        return packing.empty_batch(
            groups, self.config, metadata.feature_width, metadata.special_ids.pad
        )

    def query_lengths(self, prepared) -> list[int]:
        """Slots of the query, for which rows of their own are needed."""
        return [len(words) + 1 for words, _ in prepared.annotated]

    def packer(self, arrays):
        """Fills one group."""
        tokens = self.metadata.special_ids
        return packing.GroupPacker(arrays, self.config, tokens, packing.annotated_queries)


class QueryTexts:
    """Batches of a split's queries alone, every query once, in the order of their records.

    For one group a batch has the query arrays of `data.pipeline.packing` and

      query_numbers  [N] int32   the queries' records

    with N as many as the query rows can hold of one slot for `[CLS]` and one word.
    """

    def __init__(self, split: AnnotatedSplit, config, groups: range):
        self.config, self.groups, self.tokens = config, groups, split.metadata.special_ids
        self.queries: Sequence[Query | None] = split.queries

    def once(self, seed: int) -> Iterator[packing.HostBatch]:
        """All queries that this host's groups have to read."""
        del seed
        left = [
            [n for n in range(g, len(self.queries), self.config.groups) if self.queries[n]]
            for g in self.groups
        ]
        while any(left):
            arrays = self._arrays()
            counts = dict.fromkeys(packing.COUNTS, 0)
            for g, numbers in enumerate(left):
                packer = packing.QueryRows(
                    {name: array[g] for name, array in arrays.items()}, self.config, self.tokens
                )
                while numbers and self._add(packer, numbers[0], counts):
                    arrays["query_numbers"][g, packer.queries - 1] = numbers.pop(0)
            yield packing.HostBatch(arrays, np.zeros((0, 2)), counts)

    def empty(self) -> packing.HostBatch:
        """A batch with nothing in it, for a host that has run out before others."""
        return packing.HostBatch(self._arrays(), np.zeros((0, 2)), dict.fromkeys(packing.COUNTS, 0))

    def _add(self, packer, number, counts):
        query = self.queries[number]
        words = cut(query.token_ids, self.config.max_query_tokens)
        if not packer.add([words]):
            if not packer.queries:
                raise InputError(
                    f"Query {query.query_id!r} of {len(words)} tokens does not fit a row; lower "
                    f"config.batch.max_query_tokens below {self.config.row_length}."
                )
            return False
        counts["queries"] += 1
        counts["filled_query_slots"] += len(words) + 1
        counts["cut_tokens"] += len(query.token_ids) - len(words)
        return True

    def _arrays(self):
        queries = self.config.query_rows_per_group * self.config.row_length // 2
        groups = len(self.groups)
        return {
            **packing.query_arrays(groups, self.config, queries, self.tokens.pad),
            "query_numbers": packing.filled(groups, (queries,)),
        }
