"""Clips with captions of their moments.

For one group a batch has the arrays of `data.pipeline.packing` for C clips, and for N captions

  query_clip         [N] int32      which of the C clips a caption is about
  query_mask         [N] bool
  query_numbers      [N] int32      the captions' records
  caption_ranges     [N, 2] int32   frames of the moment: first, and the one after the last
  caption_token_ids  [N, L] int32   its words, without special tokens
  caption_lengths    [N] int32
"""

import dataclasses
import math

import numpy as np

from data.pipeline import packing, segments
from data.pipeline.units import by_clip, cut
from data.schema import Query


def caption_range(moment, seconds_per_feature, num_frames) -> tuple[int, int]:
    """Frames `[start, end)` of a moment in seconds, as the original computes them; None: all.

    Other than there, a moment after the last frame is the last frame instead of nothing.
    """
    if moment is None:
        return 0, num_frames
    start = min(math.floor(moment[0] / seconds_per_feature), num_frames - 1)
    return start, min(max(round(moment[1] / seconds_per_feature), start + 1), num_frames)


class Captions:
    """Layout of a clip with its captions, or, to be described, its moments."""

    group = staticmethod(by_clip)

    def __init__(self, config, metadata):
        self.config, self.metadata = config, metadata
        self.most = config.queries_per_clip

    def problem(self, query: Query) -> str:
        """Why a caption is not trained on, '' if it is."""
        if not query.text:
            return "moments without a caption"
        # Cut, it would teach the decoder to end where the caption does not.
        most = self.config.max_query_tokens
        return f"captions of more than {most} tokens" if len(query.token_ids) > most else ""

    def prepare(self, clip, number, queries: list[tuple[int, Query]]):
        """The clip as segments, with its captions."""
        prepared = segments.prepare(clip, number, self.config, self.metadata, framed=True)
        frames, step = len(prepared.frame_features), self.metadata.seconds_per_feature
        most = self.config.max_query_tokens
        asked = [
            (n, caption_range(query.moment, step, frames), cut(query.token_ids, most))
            for n, query in queries
        ]
        lost = sum(max(len(query.token_ids) - most, 0) for _, query in queries)
        return dataclasses.replace(
            prepared, annotated=tuple(asked), cut_tokens=prepared.cut_tokens + lost
        )

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Of a batch with nothing in it."""
        captions = self.config.clips_per_group * self.config.queries_per_clip
        width, pad = self.metadata.feature_width, self.metadata.special_ids.pad
        return {
            **packing.clip_arrays(groups, self.config, width, pad),
            "query_clip": packing.filled(groups, (captions,)),
            "query_mask": packing.filled(groups, (captions,), False, bool),
            "query_numbers": packing.filled(groups, (captions,)),
            "caption_ranges": packing.filled(groups, (captions, 2)),
            "caption_token_ids": packing.filled(
                groups, (captions, self.config.max_query_tokens), pad
            ),
            "caption_lengths": packing.filled(groups, (captions,)),
        }

    def query_lengths(self, prepared) -> list[int]:
        """None: captions are not in rows."""
        del prepared
        return []

    def packer(self, arrays):
        """Fills one group."""
        return _CaptionPacker(arrays, self.config)


class _CaptionPacker(packing.ClipPacker):
    def _ask(self, prepared):
        arrays, first = self.arrays, self.counts["queries"]
        for n, (number, frames, words) in enumerate(prepared.annotated, first):
            arrays["query_clip"][n] = self.clips
            arrays["query_mask"][n] = True
            arrays["query_numbers"][n] = number
            arrays["caption_ranges"][n] = frames
            arrays["caption_token_ids"][n, : len(words)] = words
            arrays["caption_lengths"][n] = len(words)
            self.counts["filled_query_slots"] += len(words) + 1
        self.counts["queries"] += len(prepared.annotated)
        return ()
