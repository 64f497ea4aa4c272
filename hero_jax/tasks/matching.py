"""Queries against clips: what video-subtitle matching and retrieval have in common."""

import jax
import jax.numpy as jnp

from hero_jax.models.batch import frame_mask, without_held_out
from hero_jax.models.heads import clip_scores
from hero_jax.tasks.base import metric
from hero_jax.tasks.losses import cross_entropy, mean, ranking_losses


def matching_losses(model, batch, context, config):
    """The losses of ranking and of spans, for the batch's queries.

    Args:
      config: `ranking` ('hinge' or 'lse'), `margin`, `hard_negatives_from` (a step; -1: never),
        `hard_pool`, `hard_weight`.

    Returns:
      dict of scalars `neg_ctx`, `neg_q` and `span`, and metrics.
    """
    outputs = match(model, batch, context.dropout_key)
    query_mask, clip_mask = outputs["query_mask"], outputs["clip_mask"]
    hard = (config.hard_negatives_from >= 0) & (context.step >= config.hard_negatives_from)
    neg_ctx, neg_q = ranking_losses(
        outputs["scores"],
        outputs["own_clip"],
        outputs["clip_numbers"],
        query_mask,
        clip_mask,
        kind=config.ranking,
        margin=config.margin,
        hard=hard,
        pool=config.hard_pool,
        weight=config.hard_weight,
    )
    span = batch["query_spans"].reshape(-1, 2)
    start = cross_entropy(outputs["start_logits"], span[:, 0], query_mask)
    end = cross_entropy(outputs["end_logits"], span[:, 1], query_mask)
    count = start["count"]
    span_loss = mean(start["loss"] + end["loss"], count)
    scores = jnp.where(clip_mask, outputs["scores"], -jnp.inf)
    # Of a clip that is there twice, either is the right one.
    best, own = (
        jnp.take(outputs["clip_numbers"], place)
        for place in (jnp.argmax(scores, axis=-1), outputs["own_clip"])
    )
    found = jnp.sum(best == own, where=query_mask)
    metrics = {
        "neg_ctx": metric(neg_ctx * count, count),
        "neg_q": metric(neg_q * count, count),
        "span_loss": metric(span_loss * count, count),
        "accuracy": metric(found, count),
        "start_accuracy": metric(start["correct"], count),
        "end_accuracy": metric(end["correct"], count),
    }
    return {"neg_ctx": neg_ctx, "neg_q": neg_q, "span": span_loss}, metrics


def weigh(losses, metrics, context, config):
    """The weighted sum of `matching_losses`, and metrics with it.

    Args:
      config: as in `weigh_ranking`, and `span_weight` and `span_drop_probability` (of leaving the
        span loss out of a step).
    """
    keep = jax.random.bernoulli(context.key, 1 - config.span_drop_probability)
    # A split is scored with all of its losses.
    keep = keep | (context.dropout_key is None)
    ranking, _ = weigh_ranking(losses, metrics, config)
    total = ranking + config.span_weight * keep * losses["span"]
    return total, {"loss": metric(total, 1), **metrics}


def weigh_ranking(losses, metrics, config):
    """The same without spans.

    Args:
      config: `context_weight` and `query_weight` of the two ranking losses.
    """
    total = config.context_weight * losses["neg_ctx"] + config.query_weight * losses["neg_q"]
    return total, {"loss": metric(total, 1), **metrics}


def match(model, batch, dropout_key):
    """Scores of all queries of the batch against all its clips, and spans in their own.

    Returns:
      scores `[N, C]` over the whole batch, own_clip `[N]`, query_mask `[N]`, clip_mask and
      clip_numbers `[C]`, start_logits and end_logits `[N, F]`.
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
            queries.reshape(-1, size), clips.reshape(-1, frames, size), flat_valid
        ),
        "own_clip": (first + query_clip).reshape(-1),
        "query_mask": batch["query_mask"].reshape(-1),
        "clip_mask": flat_valid.any(-1),
        "clip_numbers": batch["clip_numbers"].reshape(-1),
        "start_logits": start.reshape(-1, frames),
        "end_logits": end.reshape(-1, frames),
    }


def encode(model, batch, dropout_key):
    """Query vectors `[G, N, H]` and clips `[G, C, F, H]` whose context lacks the queries."""
    clips = model.encode_clips(without_held_out(batch), key=dropout_key)
    return encode_queries(model, batch, dropout_key), clips


def encode_queries(model, batch, dropout_key):
    """Query vectors `[G, N, H]`."""
    names = ("token_ids", "position_ids", "segment_ids", "index", "mask")
    rows = {name: batch[f"query_{name}"] for name in names}
    rows = rows | {"query_index": rows.pop("index"), "query_mask": rows.pop("mask")}
    return model.encode_queries(rows, key=dropout_key)
