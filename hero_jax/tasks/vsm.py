"""Video-subtitle matching: which clip, and which span in it, a held-out subtitle belongs to."""

import jax
import jax.numpy as jnp
import numpy as np

from hero_jax.draws import is_text
from hero_jax.heads import clip_scores
from hero_jax.losses import cross_entropy, mean, ranking_losses
from hero_jax.model import frame_mask, same_segment
from hero_jax.task import Task, metric

# Queries scored at once against a split's clips.
QUERY_BLOCK = 256


class VideoSubtitleMatching(Task):
    """Ranking over clips and span prediction, for the batch's queries.

    config: `ranking` ('hinge' or 'lse'), `margin`, `context_weight` and `query_weight` of the two
    ranking losses, `span_weight`, `span_drop_probability` (of leaving the span loss out of a step),
    `hard_negatives_from` (a step; -1: never), `hard_pool`, `hard_weight`.
    """

    def loss(self, model, batch, context):
        config = self.config
        losses, metrics = self.losses(model, batch, context)
        keep = jax.random.bernoulli(context.key, 1 - config.span_drop_probability)
        # A split is scored with all of its losses.
        keep = keep | (context.dropout_key is None)
        total = (
            config.context_weight * losses["neg_ctx"]
            + config.query_weight * losses["neg_q"]
            + config.span_weight * keep * losses["span"]
        )
        return total, {"loss": metric(total, 1), **metrics}

    def losses(self, model, batch, context):
        config = self.config
        outputs = match(model, batch, context.dropout_key)
        query_mask, clip_mask = outputs["query_mask"], outputs["clip_mask"]
        hard = (config.hard_negatives_from >= 0) & (context.step >= config.hard_negatives_from)
        neg_ctx, neg_q = ranking_losses(
            outputs["scores"],
            outputs["own_clip"],
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
        found = jnp.sum(jnp.argmax(scores, axis=-1) == outputs["own_clip"], where=query_mask)
        metrics = {
            "neg_ctx": metric(neg_ctx * count, count),
            "neg_q": metric(neg_q * count, count),
            "span_loss": metric(span_loss * count, count),
            "accuracy": metric(found, count),
            "start_accuracy": metric(start["correct"], count),
            "end_accuracy": metric(end["correct"], count),
        }
        return {"neg_ctx": neg_ctx, "neg_q": neg_q, "span": span_loss}, metrics

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

    def summarize(self, predictions):
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


def match(model, batch, dropout_key):
    """Scores of all queries of the batch against all its clips, and spans in their own.

    Returns:
      scores `[N, C]` over the whole batch, own_clip `[N]`, query_mask `[N]`, clip_mask `[C]`,
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
            queries.reshape(-1, size), clips.reshape(-1, frames, size), flat_valid
        ),
        "own_clip": (first + query_clip).reshape(-1),
        "query_mask": batch["query_mask"].reshape(-1),
        "clip_mask": flat_valid.any(-1),
        "start_logits": start.reshape(-1, frames),
        "end_logits": end.reshape(-1, frames),
    }


def encode(model, batch, dropout_key):
    """Query vectors `[G, N, H]` and clips `[G, C, F, H]` whose context lacks the queries."""
    queries = {
        "token_ids": batch["query_token_ids"],
        "position_ids": batch["query_position_ids"],
        "segment_ids": batch["query_segment_ids"],
        "query_index": batch["query_index"],
        "query_mask": batch["query_mask"],
    }
    clips = model.encode_clips(without_held_out(batch), key=dropout_key)
    return model.encode_queries(queries, key=dropout_key), clips


def without_held_out(batch):
    """The batch with the words of held-out subtitles gone and later words moved up."""
    segment_ids = jnp.where(batch["held_out"], 0, batch["segment_ids"])
    text = is_text(batch) & ~batch["held_out"]
    slots = jnp.arange(segment_ids.shape[-1])
    before = same_segment(segment_ids) & text[..., None, :] & (slots < slots[:, None])
    position_ids = jnp.where(text, before.sum(-1), batch["position_ids"])
    return {**batch, "segment_ids": segment_ids, "position_ids": position_ids}
