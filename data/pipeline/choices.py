"""Clips read once with each of several texts: answers to a question, or a pair of statements.

As in the original, the text follows the words of every subtitle, `[SEP] question [SEP] answer` or
`[SEP] statement`, and again the frames of the clip. For one group a batch has the arrays of
`data.pipeline.packing` for C clips in V versions, and

  text_token_ids  [C·V, L] int32   the text of a version
  text_lengths    [C·V] int32      0: there is no such version
  labels          [C, V] int32     1: right answer or true statement, 0: wrong one, -1: unknown
  choice_mask     [C, V] bool
  query_numbers   [C, V] int32     the queries' records
  query_spans     [C, 2] int32     first and last frame of the moment, inclusive
  span_mask       [C] bool         whether the moment is known
"""

import dataclasses
import itertools

import numpy as np

from data.errors import InputError
from data.pipeline import packing, segments
from data.pipeline.units import by_group, cut, one_by_one
from data.schema import Query


@dataclasses.dataclass(frozen=True)
class _Asked:
    """texts, labels and numbers of each version; span: of frames, None if it is not known."""

    texts: list[list[int]]
    labels: list[int]
    numbers: tuple[int, ...]
    span: tuple[int, int] | None


class Choices:
    """Layout of a clip with its versions. A unit is a question, or the statements of a pair."""

    def __init__(self, config, metadata):
        self.config, self.metadata = config, metadata
        self.statements = metadata.query_type == "statement"
        self.group = by_group if self.statements else one_by_one
        self.most = config.choices if self.statements else 1

    def problem(self, query: Query) -> str:
        """Why a query is not trained on, '' if it is."""
        most, longest = self.config.max_query_tokens, max(query.answer_token_counts, default=0)
        if query.label < 0:
            return "queries without a label"
        if len(query.token_ids) + longest > most:
            return f"queries of more than {most} tokens, the longest answer included"
        return ""

    def prepare(self, clip, number, queries: list[tuple[int, Query]]):
        """The clip in its versions, as segments."""
        texts, lost = (self._statements if self.statements else self._answers)(queries)
        if len(texts) > self.config.choices:
            raise InputError(
                f"Question {queries[0][1].query_id!r} has {len(texts)} answers; set "
                "config.batch.choices to the most that a question has."
            )
        prepared = segments.prepare(
            clip, number, self.config, self.metadata, tails=texts, framed=True
        )
        moment = None if self.statements else queries[0][1].moment
        frames = len(prepared.frame_features)
        step = self.metadata.seconds_per_feature
        asked = _Asked(
            texts,
            self._labels(queries, len(texts)),
            tuple(n for n, _ in queries) if self.statements else (queries[0][0],) * len(texts),
            moment and segments.moment_span(moment, step, frames),
        )
        return dataclasses.replace(
            prepared, annotated=(asked,), cut_tokens=prepared.cut_tokens + lost
        )

    def _statements(self, queries):
        sep, most = self.metadata.special_ids.sep, self.config.max_query_tokens
        texts = [[sep, *cut(query.token_ids, most)] for _, query in queries]
        return texts, sum(max(len(query.token_ids) - most, 0) for _, query in queries)

    def _answers(self, queries):
        (_, query), sep = queries[0], self.metadata.special_ids.sep
        ends = itertools.accumulate(query.answer_token_counts.tolist(), initial=0)
        answers = [query.answer_token_ids[s:e].tolist() for s, e in itertools.pairwise(ends)]
        kept = [cut(answer, self.config.max_query_tokens) for answer in answers]
        # The answers tell versions apart, so the question is cut first.
        room = self.config.max_query_tokens - max(map(len, kept), default=0)
        question = cut(query.token_ids, room)
        lost = sum(map(len, answers)) - sum(map(len, kept)) + len(query.token_ids) - len(question)
        return [[sep, *question, sep, *answer] for answer in kept], lost

    def _labels(self, queries, versions):
        if self.statements:
            return [query.label for _, query in queries]
        label = queries[0][1].label
        return [-1 if label < 0 else int(version == label) for version in range(versions)]

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Of a batch with nothing in it."""
        clips, versions = self.config.clips_per_group, self.config.choices
        width, pad = self.metadata.feature_width, self.metadata.special_ids.pad
        texts = clips * versions
        return {
            **packing.clip_arrays(groups, self.config, width, pad, versions),
            "text_token_ids": packing.filled(
                groups, (texts, self.config.max_query_tokens + 2), pad
            ),
            "text_lengths": packing.filled(groups, (texts,)),
            "labels": packing.filled(groups, (clips, versions), -1),
            "choice_mask": packing.filled(groups, (clips, versions), False, bool),
            "query_numbers": packing.filled(groups, (clips, versions)),
            "query_spans": packing.filled(groups, (clips, 2)),
            "span_mask": packing.filled(groups, (clips,), False, bool),
        }

    def query_lengths(self, prepared) -> list[int]:
        """None: the texts are in rows with the subtitles."""
        del prepared
        return []

    def packer(self, arrays):
        """Fills one group."""
        return _ChoicePacker(arrays, self.config)


class _ChoicePacker(packing.ClipPacker):
    def _ask(self, prepared):
        (asked,), c, arrays = prepared.annotated, self.clips, self.arrays
        versions = len(asked.texts)
        first = c * self.config.choices
        for place, text in enumerate(asked.texts, first):
            arrays["text_token_ids"][place, : len(text)] = text
            arrays["text_lengths"][place] = len(text)
        arrays["labels"][c, :versions] = asked.labels
        arrays["choice_mask"][c, :versions] = True
        arrays["query_numbers"][c, :versions] = asked.numbers
        if asked.span is not None:
            arrays["query_spans"][c] = asked.span
            arrays["span_mask"][c] = True
        self.counts["queries"] += versions
        self.counts["filled_query_slots"] += sum(map(len, asked.texts))
        return ()
