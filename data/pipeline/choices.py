"""Clips read once with each of several texts: answers to a question, or a pair of statements.

As in the original, the text `[SEP] question [SEP] answer`, `[SEP] event` for a question without
words, or `[SEP] statement` follows the words of every subtitle, and also the frames of the clip.
For one group a batch has the arrays of `data.pipeline.packing` for C clips in V versions, and for
texts of at most L tokens

  text_token_ids  [C·V, L] int32   text of a version
  text_lengths    [C·V] int32      number of its tokens; 0 for a version that does not exist
  labels          [C, V] int32     1: right answer or true statement, 0: wrong one, -1: unknown
  choice_mask     [C, V] bool      True for a version, False for padding
  query_numbers   [C, V] int32     number of the query's record
  query_spans     [C, 2] int32     first and last frame of the moment, inclusive
  span_mask       [C] bool         whether the moment is known
"""

import dataclasses
import itertools

import numpy as np

from data.config import Config
from data.errors import InputError
from data.pipeline import packing, segments
from data.pipeline.layout import Limit, Metadata, segment_limits
from data.pipeline.units import NumberedQuery, UnitLayout, by_group, cut, one_by_one
from data.schema import Clip, Query

# Special tokens in the longest text: `[SEP] question [SEP] answer`.
SPECIAL_TOKENS = 2


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The texts that a clip is read with.

    Attributes:
      texts: token ids of each version.
      labels: label of each version, see the module's docstring.
      numbers: number of the query's record for each version.
      span: first and last frame of the moment, None if it is not known.
    """

    texts: list[list[int]]
    labels: list[int]
    numbers: tuple[int, ...]
    span: tuple[int, int] | None


class Choices(UnitLayout):
    """Layout of a clip with its versions. A unit is a question, or the statements of a pair."""

    name = "choices"

    def __init__(self, config: Config, metadata: Metadata):
        super().__init__(config, metadata)
        self.statements = metadata.query_type == "statement"
        self.most = config.choices if self.statements else 1

    def group(self, number: int, query: Query) -> object:
        """Returns a key by which the statements of a pair belong together."""
        return (by_group if self.statements else one_by_one)(number, query)

    def problem(self, query: Query) -> str:
        """Returns why a query is not trained on, '' if it is."""
        most, longest = self.config.max_query_tokens, max(query.answer_token_counts, default=0)
        if query.label < 0:
            return "queries without a label"
        if len(query.token_ids) + longest > most:
            return f"queries of more than {most} tokens, the longest answer included"
        return ""

    def prepare(self, clip: Clip, number: int, queries: list[NumberedQuery]) -> segments.Prepared:
        """Returns the clip in its versions, as segments.

        Raises:
          InputError: there are more texts than `config.choices`, or as `segments.prepare`.
        """
        texts, lost = (self._statements if self.statements else self._answers)(queries)
        if len(texts) > self.config.choices:
            raise InputError(
                f"question {queries[0][1].query_id!r} has {len(texts)} answers: set batch.choices="
                f"{self.config.choices} to the most that a question has"
            )
        prepared = segments.prepare(
            clip, number, self.config, self.metadata, tails=texts, framed=True
        )
        frames = len(prepared.frame_features)
        step = self.metadata.seconds_per_feature
        moment, is_cut = segments.moment_in_frames(
            None if self.statements else queries[0][1].moment, step, frames
        )
        asked = _Asked(
            texts,
            self._labels(queries, len(texts)),
            tuple(n for n, _ in queries) if self.statements else (queries[0][0],) * len(texts),
            moment and segments.moment_span(moment, step, frames),
        )
        return dataclasses.replace(
            prepared,
            annotated=(asked,),
            cut_tokens=prepared.cut_tokens + lost,
            cut_moments=int(is_cut),
        )

    def _statements(self, queries: list[NumberedQuery]) -> tuple[list[list[int]], int]:
        """Returns the text of each statement, and the number of tokens cut."""
        sep, most = self.metadata.special_ids.sep, self.config.max_query_tokens
        texts = [[sep, *cut(query.token_ids, most)] for _, query in queries]
        return texts, sum(max(len(query.token_ids) - most, 0) for _, query in queries)

    def _answers(self, queries: list[NumberedQuery]) -> tuple[list[list[int]], int]:
        """Returns the text of each answer with its question, and the number of tokens cut."""
        (_, query), sep = queries[0], self.metadata.special_ids.sep
        ends = itertools.accumulate(query.answer_token_counts.tolist(), initial=0)
        answers = [query.answer_token_ids[s:e].tolist() for s, e in itertools.pairwise(ends)]
        kept = [cut(answer, self.config.max_query_tokens) for answer in answers]
        # The question is cut before the answers, since the versions differ in the answers.
        room = self.config.max_query_tokens - max(map(len, kept), default=0)
        question = cut(query.token_ids, room)
        lost = sum(map(len, answers)) - sum(map(len, kept)) + len(query.token_ids) - len(question)
        # Events that may follow a clip have no question.
        asked = [sep, *question] if len(query.token_ids) else []
        return [[*asked, sep, *answer] for answer in kept], lost

    def _labels(self, queries: list[NumberedQuery], versions: int) -> list[int]:
        if self.statements:
            return [query.label for _, query in queries]
        label = queries[0][1].label
        return [-1 if label < 0 else int(version == label) for version in range(versions)]

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a batch with nothing in it."""
        clips, versions = self.config.clips_per_group, self.config.choices
        width, pad = self.metadata.feature_width, self.metadata.special_ids.pad
        texts = clips * versions
        return {
            **packing.clip_arrays(groups, self.config, width, pad, versions),
            "text_token_ids": packing.filled(
                groups, (texts, self.config.max_query_tokens + SPECIAL_TOKENS), pad
            ),
            "text_lengths": packing.filled(groups, (texts,)),
            "labels": packing.filled(groups, (clips, versions), -1),
            "choice_mask": packing.filled(groups, (clips, versions), False, bool),
            "query_numbers": packing.filled(groups, (clips, versions)),
            "query_spans": packing.filled(groups, (clips, 2)),
            "span_mask": packing.filled(groups, (clips,), False, bool),
        }

    def slots(self, item: segments.Prepared) -> tuple[int, int, list[int]]:
        """Returns the slots of the clip; its texts are in the same rows, after the subtitles."""
        return int(item.lengths.sum()), len(item.frame_features), []

    def packer(
        self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0
    ) -> "_ChoicePacker":
        """Returns a packer of clips in their versions."""
        del seed, step
        return _ChoicePacker(arrays, self.config)

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits of clips whose segments end with a text."""
        del block
        batch = config.batch
        places = batch.max_frames + batch.max_subtitles
        in_sequence = Limit(
            "batch.max_frames + batch.max_subtitles", places, "model.clip_positions"
        )
        return [
            *segment_limits(config, batch.max_query_tokens + SPECIAL_TOKENS),
            *([in_sequence] if batch.max_subtitles else []),
        ]


class _ChoicePacker(packing.ClipPacker):
    def _frame_slots(self, prepared: segments.Prepared) -> int:
        # The model puts the text of a version after the frames, so a clip has a row for itself.
        return self.config.max_frames

    def _ask(self, prepared: segments.Prepared) -> tuple[()]:
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
