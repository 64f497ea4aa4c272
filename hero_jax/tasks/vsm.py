"""Video-subtitle matching: which clip, and which span in it, a held-out subtitle belongs to."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from data.pipeline.units import AnnotatedSplit
from hero_jax.models.batch import Batch
from hero_jax.models.heads import clip_scores
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import Context, Loss, Task
from hero_jax.tasks.matching import MatchingSettings, encode, matching_losses, weigh
from hero_jax.tasks.work import Work

# Queries scored at once against a split's clips.
QUERY_BLOCK = 256


@dataclasses.dataclass(frozen=True)
class VideoSubtitleMatchingSettings(MatchingSettings):
    """Settings of video-subtitle matching; see `MatchingSettings`."""

    hard_negatives_from: int = 20_000


class VideoSubtitleMatching(Task):
    """Ranks clips for held-out subtitles, and finds their spans (VSM)."""

    Settings = VideoSubtitleMatchingSettings
    trains_search = True
    query_metrics = "queries"

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        losses, metrics = matching_losses(model, batch, context, self.settings)
        return weigh(losses, metrics, context, self.settings)

    def products(self, work: Work) -> float:
        return work.clips + work.queries

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        queries, clips = encode(model, batch, None)
        return {
            "queries": queries,
            "query_mask": batch["query_mask"],
            "query_clip": jnp.take_along_axis(batch["clip_numbers"], batch["query_clip"], axis=1),
            "frames": clips,
            "num_frames": batch["num_frames"],
            "clip_numbers": batch["clip_numbers"],
        }

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        del split
        is_clip = predictions["num_frames"] > 0
        frames, num_frames = predictions["frames"][is_clip], predictions["num_frames"][is_clip]
        numbers = predictions["clip_numbers"][is_clip]
        is_query = predictions["query_mask"]
        queries = predictions["queries"][is_query]
        if not len(queries):
            return {"queries": 0, "clips": len(numbers)}
        own = np.argsort(numbers)[
            np.searchsorted(np.sort(numbers), predictions["query_clip"][is_query])
        ]
        ranks = corpus_ranks(queries, own, frames, num_frames)
        recalls = {f"r@{k}": float(np.mean(ranks < k)) for k in (1, 5, 10)}
        return {
            **recalls,
            "median_rank": float(np.median(ranks)) + 1,
            "chance_r@1": 1 / len(numbers),
            "queries": len(queries),
            "clips": len(numbers),
        }


def corpus_ranks(
    queries: np.ndarray, own_clip: np.ndarray, frames: np.ndarray, num_frames: np.ndarray
) -> np.ndarray:
    """Returns how many clips of a corpus score higher than a query's own, ties by index, `[N]`.

    Args:
      queries: `[N, H]`.
      own_clip: `[N]`, places in the corpus.
      frames: `[C, F, H]`.
      num_frames: `[C]`.
    """
    valid = jnp.arange(frames.shape[1]) < num_frames[:, None]
    on_device = jnp.asarray(frames)
    score = jax.jit(clip_scores)
    ranks = []
    for first in range(0, len(queries), QUERY_BLOCK):
        block = queries[first : first + QUERY_BLOCK]
        block = np.pad(block, ((0, QUERY_BLOCK - len(block)), (0, 0)))
        scores = np.asarray(score(block, on_device, valid))[: len(queries) - first]
        own = own_clip[first : first + QUERY_BLOCK, None]
        own_score = np.take_along_axis(scores, own, axis=1)
        before = (scores == own_score) & (np.arange(len(frames)) < own)
        ranks.append(np.sum((scores > own_score) | before, axis=1))
    return np.concatenate(ranks)
