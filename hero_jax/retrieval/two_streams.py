"""Ranking of clips and moments by two models together, each of which reads one channel (VALUE).

A clip's score is the mean of the models' cosines, or with moments of `exp(temperature · cosine)`. A
span's is as in `hero_jax.retrieval.moments`, with the means of the models' probabilities of starts
and of ends.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hero_jax.models.heads import OUTSIDE, SpanHead, clip_scores
from hero_jax.retrieval import exact
from hero_jax.retrieval.exact import SPAN_BLOCK, BestClips
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.ranking import CLIP_BLOCK, in_blocks, rank_spans, ranking_of_clips
from hero_jax.retrieval.results import Ranking


class EncodedStream(NamedTuple):
    """Clips and queries as one of two models has encoded them.

    span_head: its head of spans.
    queries: `[N, H]`.
    frames: `[C, F, H]`.
    """

    span_head: SpanHead
    queries: np.ndarray
    frames: np.ndarray


def mean_of_exponentials(scores: Sequence[jax.Array], temperature: float) -> jax.Array:
    """Returns the score whose exponential is the mean of those of two scores `[...]`.

    Exponentials are of `temperature` times a score, and without one the score is the mean.
    """
    first, second = scores
    if not temperature:
        return (first + second) / 2
    mean = jnp.logaddexp(temperature * first, temperature * second) - jnp.log(2.0)
    return jnp.where(first > OUTSIDE, mean / temperature, OUTSIDE)


def mean_log_probabilities(logits: Sequence[jax.Array]) -> jax.Array:
    """Returns the logarithm of the mean of the softmaxes of two logits `[..., F]`."""
    return jnp.logaddexp(*map(jax.nn.log_softmax, logits)) - jnp.log(2.0)


def rank(
    streams: Sequence[EncodedStream],
    num_frames: np.ndarray,
    settings: RankingSettings,
    target_clips: np.ndarray,
) -> Ranking:
    """Ranks clips and moments; see `hero_jax.retrieval.ranking.rank`.

    Args:
      streams: of the two models.
      num_frames: `[C]`.
      target_clips: `[N]`, places of the clips that queries are about, -1 for an unknown one.
    """
    heads = [nnx.split(stream.span_head) for stream in streams]
    join = functools.partial(mean_of_exponentials, temperature=settings.temperature)
    top_clips = min(settings.top_clips, len(num_frames))

    @jax.jit
    def run(states, frames, lengths, first, second, targets):
        best = _best_clips((first, second), frames, lengths, top_clips, join)
        count, missing = len(targets), -len(targets) % SPAN_BLOCK
        clips = jnp.concatenate([best.clips, targets[:, None]], axis=1)
        clips, scores, *queries = (
            jnp.pad(x, [(0, missing), (0, 0)]) for x in (clips, best.scores, first, second)
        )
        logits = [
            _span_logits(nnx.merge(graphdef, state), query, clip_frames, lengths, clips)
            for (graphdef, _), state, query, clip_frames in zip(
                heads, states, queries, frames, strict=True
            )
        ]
        moments = rank_spans(scores, clips, mean_log_probabilities(logits), lengths, settings)
        moments = jax.tree.map(lambda x: x[:count], moments)
        return Ranking(*ranking_of_clips(best, settings.temperature), *moments)

    frames = tuple(jnp.asarray(stream.frames) for stream in streams)
    return in_blocks(
        functools.partial(run, [state for _, state in heads], frames, jnp.asarray(num_frames)),
        *(stream.queries for stream in streams),
        target_clips.astype(np.int32),
    )


def rank_clips(
    streams: Sequence[EncodedStream], num_frames: np.ndarray, *, top_clips: int, temperature: float
) -> Ranking:
    """Ranks clips only; see `hero_jax.retrieval.ranking.rank_clips` and `rank`."""

    @jax.jit
    def run(frames, lengths, *queries):
        join = functools.partial(mean_of_exponentials, temperature=0.0)
        best = _best_clips(queries, frames, lengths, min(top_clips, len(num_frames)), join)
        return Ranking(*ranking_of_clips(best, temperature))

    frames = tuple(jnp.asarray(stream.frames) for stream in streams)
    return in_blocks(
        functools.partial(run, frames, jnp.asarray(num_frames)),
        *(stream.queries for stream in streams),
    )


def _best_clips(
    queries: Sequence[jax.Array],
    frames: Sequence[jax.Array],
    num_frames: jax.Array,
    count: int,
    join: Callable[[Sequence[jax.Array]], jax.Array],
) -> BestClips:
    """Returns the best clips by joined scores, of which `block` are computed at once."""
    size = len(num_frames)
    block = min(CLIP_BLOCK, size)
    missing = -size % block

    def blocks(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, block, *x.shape[1:])

    def score(part: tuple) -> jax.Array:
        *of_streams, lengths = part
        valid = jnp.arange(of_streams[0].shape[1]) < lengths[:, None]
        return join([clip_scores(q, x, valid) for q, x in zip(queries, of_streams, strict=True)])

    scores = jax.lax.map(score, (*map(blocks, frames), blocks(num_frames)))
    scores = jnp.moveaxis(scores, 0, 1).reshape(len(queries[0]), -1)[:, :size]
    clips = jnp.broadcast_to(jnp.arange(size), scores.shape)
    return exact.best_of(BestClips(scores, clips), count)


def _span_logits(
    span_head: SpanHead,
    queries: jax.Array,
    frames: jax.Array,
    num_frames: jax.Array,
    clips: jax.Array,
) -> jax.Array:
    """Returns logits `[N, V, 2, F]` of queries in clips `[N, V]`."""

    def of_query(part: tuple[jax.Array, jax.Array]) -> jax.Array:
        query, places = part
        many = jnp.broadcast_to(query, (len(places), len(query)))
        return exact.span_logits(span_head, many, frames[places], num_frames[places])

    return jax.lax.map(of_query, (queries, clips))
