"""Batches of moments to caption."""

import numpy as np

from tests.hero_jax.tiny import TOKENS, pack

CAPTIONS, LENGTH = 8, 5


def moments_batch(groups, moments, config, captions=None):
    """Returns packed clips with moments.

    Args:
      groups: lists of `(number, clip)`, as in `tiny.pack`.
      moments: for each group `(clip in the group, start, end, number of the record)`.
      config: the experiment's settings.
      captions: words by number of the record; None for moments without captions.
    """
    count = len(groups)
    batch = pack(groups, config)
    batch |= {
        "query_clip": np.zeros((count, CAPTIONS), np.int32),
        "query_mask": np.zeros((count, CAPTIONS), bool),
        "query_numbers": np.zeros((count, CAPTIONS), np.int32),
        "caption_ranges": np.zeros((count, CAPTIONS, 2), np.int32),
        "caption_token_ids": np.full((count, CAPTIONS, LENGTH), TOKENS.pad, np.int32),
        "caption_lengths": np.zeros((count, CAPTIONS), np.int32),
    }
    for g, group in enumerate(moments):
        for n, (clip, start, end, number) in enumerate(group):
            words = captions[number] if captions else []
            batch["query_clip"][g, n] = clip
            batch["query_mask"][g, n] = True
            batch["query_numbers"][g, n] = number
            batch["caption_ranges"][g, n] = start, end
            batch["caption_token_ids"][g, n, : len(words)] = words
            batch["caption_lengths"][g, n] = len(words)
    return batch
