"""Losses as masked sums and counts, so that what is averaged over is always explicit.

Formulas: HERO (Li et al., EMNLP 2020), section 3.2, as the original implementation computes them.
"""

import math

import jax
import jax.numpy as jnp


def cross_entropy(logits, labels, valid):
    """Sums over valid positions.

    Args:
      logits: `[..., K]` float32; labels: `[...]`, read where valid; valid: `[...]` bool.

    Returns:
      dict of float32 scalars: `loss` and `correct` sums, `count`.
    """
    labels = jnp.where(valid, labels, 0)
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    # The first of equals, as argmax has it.
    correct = jnp.argmax(logits, axis=-1) == labels
    return {
        "loss": jnp.sum(losses, where=valid),
        "correct": jnp.sum(correct, where=valid, dtype=jnp.float32),
        "count": jnp.sum(valid, dtype=jnp.float32),
    }


def mean(total, count):
    """total / count, and 0 where nothing was counted."""
    return total / jnp.maximum(count, 1)


def sum_over_selected(function, selected, chunk_size):
    """Sums a function over the selected slots only, a chunk of them at a time.

    A head over 15% of the slots need not run over the others, yet shapes are fixed and how many
    there are is not known before. So the selected slots are sorted to the front and taken chunk by
    chunk; a chunk in which no group has any is skipped. Inside, memory is that of one chunk: the
    chunk is computed again for the gradient.

    Args:
      function: `(index [G, chunk], valid [G, chunk]) -> pytree of sums`, where index points to
        slots; whatever it returns for chunks without valid slots must be zeros.
      selected: `[G, N]` bool.
      chunk_size: slots of a group in one chunk.

    Returns:
      The pytree, summed over chunks.
    """
    groups, slots = selected.shape
    chunk_size = min(chunk_size, slots)
    chunks = math.ceil(slots / chunk_size)
    index = jnp.argsort(~selected, axis=-1, stable=True)
    index = jnp.pad(index, ((0, 0), (0, chunks * chunk_size - slots)))
    index = index.reshape(groups, chunks, chunk_size).swapaxes(0, 1)
    rank = jnp.arange(chunks * chunk_size).reshape(chunks, 1, chunk_size)
    valid = rank < jnp.sum(selected, axis=-1)[:, None]
    function = jax.checkpoint(function)
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(function, index[0], valid[0]),
    )

    def body(totals, chunk):
        sums = jax.lax.cond(jnp.any(chunk[1]), function, lambda *_: zeros, *chunk)
        return jax.tree.map(jnp.add, totals, sums), None

    return jax.lax.scan(body, zeros, (index, valid))[0]


def take_slots(x, index):
    """`[G, N, ...]` at `[G, K]` -> `[G, K, ...]`."""
    return jax.vmap(lambda entries, chosen: entries[chosen])(x, index)


def ranking_losses(scores, own_clip, query_mask, clip_mask, *, kind, margin, hard, pool, weight):
    """The two ranking losses of video-subtitle matching.

    Args:
      scores: `[N, C]` of N queries and C clips.
      own_clip: `[N]`, the clip of each query.
      query_mask: `[N]`; clip_mask: `[C]`.
      kind: 'hinge': `max(0, margin + negative - positive)`, or 'lse': `log(1 + exp(negative -
        positive))`.
      hard: bool scalar. If True, a row's `pool` best scored negatives weigh `weight` and the others
        0.1; otherwise all weigh 1.

    Returns:
      loss_neg_ctx and loss_neg_q: for each query the mean over the other clips, and over the
      queries of other clips against its own, then the mean over queries.
    """
    positive = jnp.take_along_axis(scores, own_clip[:, None], axis=1)
    other_clip = (jnp.arange(scores.shape[1]) != own_clip[:, None]) & clip_mask
    # [n, m]: how query m scores against the clip of query n.
    against_own = scores.T[own_clip]
    other_query = (own_clip != own_clip[:, None]) & query_mask

    def rank(negative, allowed):
        difference = negative - positive
        if kind == "hinge":
            losses = jax.nn.relu(margin + difference)
        elif kind == "lse":
            losses = jax.nn.softplus(difference)
        else:
            raise ValueError(f"Unknown ranking loss {kind!r}.")
        losses = jnp.where(allowed, losses, 0)
        # Both losses grow with the negative's score: the best scored have the largest.
        hardest = jax.lax.top_k(losses, min(pool, losses.shape[1]))[0].sum(-1)
        others = jnp.where(hard, 0.1, 1.0)
        total = others * losses.sum(-1) + jnp.where(hard, weight - 0.1, 0.0) * hardest
        per_query = mean(total, allowed.sum(-1))
        return mean(jnp.sum(per_query, where=query_mask), query_mask.sum())

    return rank(scores, other_clip), rank(against_own, other_query)
