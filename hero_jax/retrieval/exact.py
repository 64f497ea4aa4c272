"""The two stages of the exact search, whatever provides the clips.

Blocks of clips are scored against all queries and merged into the best clips of each query
(`merge_block`, `merge_scores`). Moments are then ranked in those clips alone (`span_logits`,
`best_moments`). So memory depends on the size of a block, never on queries times clips.

There are two providers: `hero_jax.retrieval.ranking` holds a corpus on the devices of a mesh, and
`hero_jax.retrieval.scan` streams an index from disk. Equal scores are in the order of clips, then
of spans; a provider gives blocks in the order of clips.

The scores are those of the original (HERO, Li et al., EMNLP 2020, and its evaluation of TVR); see
`hero_jax.retrieval.moments` for those of moments.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hero_jax.models.heads import SpanHead, clip_scores
from hero_jax.retrieval.moments import RankingSettings, rank_moments, suppress
from hero_jax.retrieval.results import Array, Moments

# Queries whose spans are ranked at once.
SPAN_BLOCK = 8


class ClipBlock(NamedTuple):
    """Consecutive clips that are scored at once.

    frames: `[C, F, H]` in any float dtype.
    num_frames: `[C]` integers; 0 for a clip that is never found.
    first: number of the first clip.
    """

    frames: Array
    num_frames: Array
    first: Array | int


class BestClips(NamedTuple):
    """The best V clips of N queries, best first.

    scores: `[N, V]` float32, the cosine of the best frame; `heads.OUTSIDE` or -inf for none.
    clips: `[N, V]` int32, numbers of the clips.
    """

    scores: Array
    clips: Array


def no_clips(num_queries: int, count: int) -> BestClips:
    """Returns the `count` best clips before any block is merged."""
    return BestClips(jnp.full((num_queries, count), -jnp.inf), jnp.full((num_queries, count), -1))


def merge_block(best: BestClips, queries: Array, block: ClipBlock) -> BestClips:
    """Returns the best clips of those so far and of a block.

    Args:
      queries: `[N, H]`.
    """
    valid = jnp.arange(block.frames.shape[1]) < block.num_frames[:, None]
    scores = clip_scores(jnp.asarray(queries), jnp.asarray(block.frames), valid)
    return merge_scores(best, scores, block.first)


def merge_scores(best: BestClips, scores: Array, first: Array | int) -> BestClips:
    """Returns the best clips of those so far and of consecutive clips after them.

    Args:
      scores: `[N, C]` of the clips with numbers from `first` on.
    """
    clips = jnp.broadcast_to(first + jnp.arange(scores.shape[1]), scores.shape)
    # Of equal scores the first stays first.
    joined = BestClips(
        jnp.concatenate([best.scores, scores], axis=1), jnp.concatenate([best.clips, clips], axis=1)
    )
    return best_of(joined, best.scores.shape[1])


def best_of(candidates: BestClips, count: int) -> BestClips:
    """Returns the `count` best clips of each query, of equal scores the first."""
    scores, places = jax.lax.top_k(candidates.scores, count)
    return BestClips(scores, jnp.take_along_axis(candidates.clips, places, axis=1))


def as_bits(frames: np.ndarray) -> np.ndarray:
    """Returns bfloat16 as the integers of the same bits, other dtypes as they are."""
    return frames.view(np.uint16) if frames.dtype == jnp.bfloat16 else frames


def from_bits(frames: jax.Array) -> jax.Array:
    """Returns frames that went through `as_bits` as floating-point numbers.

    A CPU computes with bfloat16 as float32. Given an array of bfloat16, the compiler would convert
    the entire array before it takes the first slice, for which the memory may not suffice.
    """
    is_bits = frames.dtype == jnp.uint16
    return jax.lax.bitcast_convert_type(frames, jnp.bfloat16) if is_bits else frames


def span_logits(span_head: SpanHead, queries: Array, frames: Array, num_frames: Array) -> jax.Array:
    """Computes start and end logits, `[..., 2, F]` float32.

    Args:
      queries: `[..., H]`.
      frames: `[..., F, H]`, the frames of a clip for each query.
      num_frames: `[...]`.
    """
    valid = jnp.arange(frames.shape[-2]) < num_frames[..., None]
    return jnp.stack(span_head(jnp.asarray(queries), jnp.asarray(frames), valid), axis=-2)


def best_moments(
    scores: Array, clips: Array, num_frames: Array, logits: Array, settings: RankingSettings
) -> tuple[Moments, Moments | None]:
    """Ranks moments in the best clips of each query.

    Args:
      scores: `[N, V]`, scores of the clips; N is at most `SPAN_BLOCK` or a multiple of it.
      clips: `[N, V]`, their numbers.
      num_frames: `[N, V]`, their lengths; 0 for a clip to leave out.
      logits: `[N, V, 2, F]`, see `span_logits`.

    Returns:
      The moments, and those that are left after non-maximum suppression; None for the latter if
      `settings.nms_iou` is 0.
    """

    def rank(rows):
        scores, clips, num_frames, logits = rows
        return rank_moments(scores, logits[:, :, 0], logits[:, :, 1], num_frames, settings, clips)

    # Blocks of one size make the result independent of the number of devices.
    size = min(SPAN_BLOCK, len(scores))
    rows = (scores, clips, num_frames, logits)
    blocks = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), rows)
    moments = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.lax.map(rank, blocks))
    return moments, suppress(moments, settings) if settings.nms_iou else None
