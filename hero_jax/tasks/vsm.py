"""Video-subtitle matching: which clip, and which span in it, a held-out subtitle belongs to."""

import jax
import jax.numpy as jnp
import numpy as np

from hero_jax.models.heads import clip_scores
from hero_jax.tasks.base import Task
from hero_jax.tasks.matching import encode, matching_losses, weigh

# Queries scored at once against a split's clips.
QUERY_BLOCK = 256


class VideoSubtitleMatching(Task):
    """Ranking over clips and span prediction, for the batch's queries.

    config: as `matching_losses` and `weigh` take it.
    """

    def loss(self, model, batch, context):
        return weigh(*self.losses(model, batch, context), context, self.config)

    def losses(self, model, batch, context):
        return matching_losses(model, batch, context, self.config)

    def predict(self, model, batch):
        queries, clips = encode(model, batch, None)
        return {
            "queries": queries,
            "query_mask": batch["query_mask"],
            "query_clip": jnp.take_along_axis(batch["clip_numbers"], batch["query_clip"], axis=1),
            "frames": clips,
            "num_frames": batch["num_frames"],
            "clip_numbers": batch["clip_numbers"],
        }

    def summarize(self, predictions, split):
        del split
        clips = predictions["num_frames"] > 0
        frames, num_frames = predictions["frames"][clips], predictions["num_frames"][clips]
        numbers = predictions["clip_numbers"][clips]
        chosen = predictions["query_mask"]
        queries = predictions["queries"][chosen]
        if not len(queries):
            return {"queries": 0.0, "clips": float(len(numbers))}
        own = np.argsort(numbers)[
            np.searchsorted(np.sort(numbers), predictions["query_clip"][chosen])
        ]
        ranks = corpus_ranks(queries, own, frames, num_frames)
        recalls = {f"r@{k}": float(np.mean(ranks < k)) for k in (1, 5, 10)}
        return {
            **recalls,
            "median_rank": float(np.median(ranks)) + 1,
            "chance_r@1": 1 / len(numbers),
            "queries": float(len(queries)),
            "clips": float(len(numbers)),
        }


def corpus_ranks(queries, own, frames, num_frames):
    """How many clips of a corpus score higher than a query's own, ties by index: `[N]`.

    Args:
      queries `[N, H]`, own `[N]` (index of a clip), frames `[C, F, H]`, num_frames `[C]`.
    """
    valid = jnp.arange(frames.shape[1]) < num_frames[:, None]
    frames = jnp.asarray(frames)
    score = jax.jit(clip_scores)
    ranks = []
    for first in range(0, len(queries), QUERY_BLOCK):
        block = queries[first : first + QUERY_BLOCK]
        block = np.pad(block, ((0, QUERY_BLOCK - len(block)), (0, 0)))
        scores = np.asarray(score(block, frames, valid))[: len(queries) - first]
        mine = own[first : first + QUERY_BLOCK, None]
        own_score = np.take_along_axis(scores, mine, axis=1)
        before = (scores == own_score) & (np.arange(len(frames)) < mine)
        ranks.append(np.sum((scores > own_score) | before, axis=1))
    return np.concatenate(ranks)
