"""Clips with captions of their moments.

For one group a batch has the arrays of `data.pipeline.packing` for C clips, and for N captions of
at most L tokens

  query_clip         [N] int32      number of the clip that a caption is about, of C
  query_mask         [N] bool       True for a caption, False for padding
  query_numbers      [N] int32      number of the caption's record
  caption_ranges     [N, 2] int32   first frame of the moment, and the frame after its last
  caption_token_ids  [N, L] int32   words without special tokens
  caption_lengths    [N] int32      number of words
"""

import dataclasses
import math

import numpy as np

from data.config import Config
from data.pipeline import packing, segments
from data.pipeline.layout import Limit, Metadata, segment_limits
from data.pipeline.units import NumberedQuery, UnitLayout, by_clip, cut
from data.schema import Clip, Query


def caption_range(
    moment: tuple[float, float] | None, seconds_per_feature: float, num_frames: int
) -> tuple[int, int]:
    """Returns the frames `[start, end)` of a moment, as the original computes them.

    Unlike in the original, a moment after the last frame is the last frame instead of no frame.

    Args:
      moment: first and last second; None for the whole clip.
      seconds_per_feature: seconds between two frames.
      num_frames: number of the clip's frames.
    """
    if moment is None:
        return 0, num_frames
    start = min(math.floor(moment[0] / seconds_per_feature), num_frames - 1)
    return start, min(max(round(moment[1] / seconds_per_feature), start + 1), num_frames)


class Captions(UnitLayout):
    """Layout of a clip with captions of its moments, or with moments that need a caption.

    In evaluation a moment is described once, however many captions it has.
    """

    name = "captions"
    first_of_group = True

    def __init__(self, config: Config, metadata: Metadata):
        super().__init__(config, metadata)
        self.most = config.queries_per_clip

    def group(self, number: int, query: Query) -> str:
        """Returns a key by which all captions of a clip belong together."""
        return by_clip(number, query)

    def problem(self, query: Query) -> str:
        """Returns why a caption is not trained on, '' if it is."""
        if not query.text:
            return "moments without a caption"
        # A cut caption would teach the decoder to end in the middle of a sentence.
        most = self.config.max_query_tokens
        return f"captions of more than {most} tokens" if len(query.token_ids) > most else ""

    def prepare(self, clip: Clip, number: int, queries: list[NumberedQuery]) -> segments.Prepared:
        """Returns the clip as segments, with its captions."""
        prepared = segments.prepare(clip, number, self.config, self.metadata, framed=True)
        frames, step = len(prepared.frame_features), self.metadata.seconds_per_feature
        most = self.config.max_query_tokens
        moments = [segments.moment_in_frames(q.moment, step, frames) for _, q in queries]
        asked = [
            (n, caption_range(moment, step, frames), cut(query.token_ids, most))
            for (n, query), (moment, _) in zip(queries, moments, strict=True)
        ]
        lost = sum(max(len(query.token_ids) - most, 0) for _, query in queries)
        return dataclasses.replace(
            prepared,
            annotated=tuple(asked),
            cut_tokens=prepared.cut_tokens + lost,
            cut_moments=sum(is_cut for _, is_cut in moments),
        )

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a batch with nothing in it."""
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

    def slots(self, item: segments.Prepared) -> tuple[int, int, list[int]]:
        """Returns the slots of the clip, and none for captions, which are not in rows."""
        return int(item.lengths.sum()), len(item.frame_features), []

    def packer(
        self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0
    ) -> "_CaptionPacker":
        """Returns a packer of clips with their captions."""
        del seed, step
        return _CaptionPacker(arrays, self.config)

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits of clips, and of captions in the decoder of the task's settings."""
        longest, positions = config.batch.max_query_tokens + 1, f"{block}.decoder_positions"
        return [*segment_limits(config), Limit("batch.max_query_tokens + 1", longest, positions)]


class _CaptionPacker(packing.ClipPacker):
    def _ask(self, prepared: segments.Prepared) -> tuple[()]:
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
