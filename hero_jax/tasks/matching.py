"""Queries against clips: shared by video-subtitle matching and retrieval."""

import dataclasses

import jax
import jax.numpy as jnp

from hero_jax.division import WHOLE, Shards
from hero_jax.models.batch import Batch, frame_mask, without_held_out
from hero_jax.models.heads import clip_scores
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import Context, Loss, TaskSettings, metric
from hero_jax.tasks.losses import RANKING_LOSSES, cross_entropy, mean, ranking_losses


@dataclasses.dataclass(frozen=True)
class RankingLossSettings(TaskSettings):
    """Settings of the losses that rank clips for a query and queries for a clip.

    Attributes:
      ranking: 'hinge' or 'lse'; see `hero_jax.tasks.losses.ranking_losses`.
      margin: of the hinge.
      context_weight, query_weight: of the loss over clips and of the loss over queries.
      hard_negatives_from: step from which hard negatives are weighted; -1 for never.
      hard_pool: number of hard negatives of a query.
      hard_weight: their weight.
    """

    ranking: str = "hinge"
    margin: float = 0.1
    context_weight: float = 8.0
    query_weight: float = 8.0
    hard_negatives_from: int = 2_000
    hard_pool: int = 20
    hard_weight: float = 10.0

    def __post_init__(self):
        self.require(
            "ranking", self.ranking in RANKING_LOSSES, f"one of {', '.join(RANKING_LOSSES)}"
        )
        self.require("hard_pool", self.hard_pool >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class MatchingSettings(RankingLossSettings):
    """Settings of ranking losses beside a loss of spans.

    Attributes:
      span_weight: of the loss of a span's first and last frame.
      span_drop_probability: probability of leaving that loss out of a step.
    """

    span_weight: float = 0.01
    span_drop_probability: float = 0.8

    def __post_init__(self):
        super().__post_init__()
        self.require_share("span_drop_probability")


def matching_losses(
    model: HERO, batch: Batch, context: Context, settings: RankingLossSettings
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Returns the losses of a model on a batch, and metrics; see `losses_of_matches`."""
    outputs = match(model, batch, context.dropout_key, context.shards)
    return losses_of_matches(outputs, batch, context.step, settings, context.shards)


def losses_of_matches(
    outputs: dict[str, jax.Array],
    batch: Batch,
    step: jax.Array | int,
    settings: RankingLossSettings,
    shards: Shards = WHOLE,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Returns the losses of ranking and of spans for the batch's queries, and metrics.

    The losses are the scalars `neg_ctx`, `neg_q` and `span`, a shard's shares.

    Args:
      outputs: what `match` returned for the batch.
      batch: a batch with `query_spans`.
      step: number of the step.
      settings: of the losses.
      shards: of the batch.
    """
    query_mask, clip_mask = outputs["query_mask"], outputs["clip_mask"]
    hard_from = settings.hard_negatives_from
    neg_ctx, neg_q = ranking_losses(
        outputs["scores"],
        outputs["own_clip"],
        outputs["clip_numbers"],
        query_mask,
        clip_mask,
        kind=settings.ranking,
        margin=settings.margin,
        hard=(hard_from >= 0) & (step >= hard_from),
        pool=settings.hard_pool,
        weight=settings.hard_weight,
        shards=shards,
    )
    span = batch["query_spans"].reshape(-1, 2)
    start = cross_entropy(outputs["start_logits"], span[:, 0], query_mask)
    end = cross_entropy(outputs["end_logits"], span[:, 1], query_mask)
    count = start["count"]
    in_batch = shards.sum(count)
    span_loss = mean(start["loss"] + end["loss"], in_batch)
    scores = jnp.where(clip_mask, outputs["scores"], -jnp.inf)
    best = jnp.argmax(shards.to_rows(jax.lax.stop_gradient(scores)), axis=-1)
    # If a clip is in the batch twice, either is right.
    numbers = outputs["clip_numbers"]
    right = jnp.take(shards.gather(numbers), best) == jnp.take(numbers, outputs["own_clip"])
    correct = jnp.sum(right, where=query_mask)
    metrics = {
        "neg_ctx": metric(neg_ctx * in_batch, count),
        "neg_q": metric(neg_q * in_batch, count),
        "span_loss": metric(span_loss * in_batch, count),
        "accuracy": metric(correct, count),
        "start_accuracy": metric(start["correct"], count),
        "end_accuracy": metric(end["correct"], count),
    }
    return {"neg_ctx": neg_ctx, "neg_q": neg_q, "span": span_loss}, metrics


def weigh(
    losses: dict[str, jax.Array],
    metrics: dict[str, jax.Array],
    context: Context,
    settings: MatchingSettings,
) -> Loss:
    """Returns the weighted sum of `matching_losses`, and metrics with it."""
    keep = jax.random.bernoulli(context.key, 1 - settings.span_drop_probability)
    # Evaluation scores a split with all of its losses.
    keep = keep | (context.dropout_key is None)
    ranking, _ = weigh_ranking(losses, metrics, context, settings)
    total = ranking + settings.span_weight * keep * losses["span"]
    return total, {"loss": metric(total, context.shards.is_first), **metrics}


def weigh_ranking(
    losses: dict[str, jax.Array],
    metrics: dict[str, jax.Array],
    context: Context,
    settings: RankingLossSettings,
) -> Loss:
    """Returns the weighted sum of the two ranking losses, and metrics with it."""
    total = settings.context_weight * losses["neg_ctx"] + settings.query_weight * losses["neg_q"]
    return total, {"loss": metric(total, context.shards.is_first), **metrics}


def match(
    model: HERO, batch: Batch, dropout_key: jax.Array | None, shards: Shards = WHOLE
) -> dict[str, jax.Array]:
    """Scores all queries of the batch against its clips, and spans in their own.

    Of a batch in several shards, each has N queries and C clips. It scores the queries of all
    against its clips: queries are sent, since a clip is a hundred times as large.

    Returns:
      scores `[N · shards, C]`, own_clip `[N]`, query_mask `[N]`, clip_mask and clip_numbers `[C]`,
      start_logits and end_logits `[N, F]`.
    """
    queries, clips = encode(model, batch, dropout_key)
    valid = frame_mask(batch)
    query_clip = batch["query_clip"]
    own_frames, own_valid = jax.vmap(lambda x, v, own: (x[own], v[own]))(clips, valid, query_clip)
    start, end = model.span_head(queries, own_frames, own_valid)
    groups, clips_per_group, frames, size = clips.shape
    first = jnp.arange(groups)[:, None] * clips_per_group
    flat_valid = valid.reshape(-1, frames)
    return {
        "scores": clip_scores(
            shards.gather(queries.reshape(-1, size)), clips.reshape(-1, frames, size), flat_valid
        ),
        "own_clip": (first + query_clip).reshape(-1),
        "query_mask": batch["query_mask"].reshape(-1),
        "clip_mask": flat_valid.any(-1),
        "clip_numbers": batch["clip_numbers"].reshape(-1),
        "start_logits": start.reshape(-1, frames),
        "end_logits": end.reshape(-1, frames),
    }


def encode(model: HERO, batch: Batch, dropout_key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Returns query vectors `[G, N, H]`, and clips `[G, C, F, H]` encoded without the queries."""
    clips = model.encode_clips(without_held_out(batch), key=dropout_key)
    return encode_queries(model, batch, dropout_key), clips


def encode_queries(model: HERO, batch: Batch, dropout_key: jax.Array | None) -> jax.Array:
    """Returns query vectors `[G, N, H]`."""
    names = ("token_ids", "position_ids", "segment_ids", "index", "mask")
    rows = {name: batch[f"query_{name}"] for name in names}
    rows = rows | {"query_index": rows.pop("index"), "query_mask": rows.pop("mask")}
    return model.encode_queries(rows, key=dropout_key)
