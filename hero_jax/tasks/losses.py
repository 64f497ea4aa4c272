"""Losses as masked sums and counts, so that what is averaged over is always explicit.

Formulas: HERO (Li et al., EMNLP 2020), section 3.2, as the original implementation computes them.
"""

import math

import jax
import jax.numpy as jnp

# Losses that rank a positive above negatives.
RANKING_LOSSES = ("hinge", "lse")


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


def smoothed(logits, labels, smoothing):
    """Kullback-Leibler divergence of a softmax from smoothed labels.

    The target gives 1 - smoothing to the label and the rest in equal parts to all others.

    Args:
      logits: `[..., V]` float32; labels: `[...]`.

    Returns:
      `[...]` float32.
    """
    rest = smoothing / (logits.shape[-1] - 1)
    label = 1 - smoothing
    entropy = -label * math.log(label) - (smoothing * math.log(rest) if smoothing else 0.0)
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0] - normalizer
    # By the mean: the sum over a large vocabulary would lose digits.
    everything = logits.shape[-1] * jnp.mean(logits - normalizer[..., None], axis=-1)
    return -entropy - (label - rest) * chosen - rest * everything


def mean(total, count):
    """total / count, and 0 where nothing was counted."""
    return total / jnp.maximum(count, 1)


def sum_over_selected(function, selected, chunk_size):
    """Sums a function over the selected slots only, a chunk of them at a time.

    A head over 15% of the slots need not run over the others, yet shapes are fixed and how many
    there are is not known before. So the selected slots are sorted to the front and taken chunk by
    chunk, as many chunks as hold any. A chunk's gradient is made along with its value, so that
    memory is that of one chunk and nothing is computed again.

    Args:
      function: `(index [G, chunk], valid [G, chunk]) -> dict of float32 sums`, where index points
        to slots. Its `loss` is differentiated by all that the function closes over, the other sums
        are not.
      selected: `[G, N]` bool.
      chunk_size: slots of a group in one chunk.

    Returns:
      The dict, summed over chunks.
    """
    groups, slots = selected.shape
    chunk_size = min(chunk_size, slots)
    chunks = math.ceil(slots / chunk_size)
    index = jnp.argsort(~selected, axis=-1, stable=True)
    index = jnp.pad(index, ((0, 0), (0, chunks * chunk_size - slots)))
    index = index.reshape(groups, chunks, chunk_size).swapaxes(0, 1)
    counts = jnp.sum(selected, axis=-1)
    rank = jnp.arange(chunks * chunk_size).reshape(chunks, 1, chunk_size)
    valid = rank < counts[:, None]
    used = -(-jnp.max(counts) // chunk_size)
    function, operands = jax.closure_convert(function, index[0], valid[0])

    def loss_and_sums(operands, number):
        sums = function(index[number], valid[number], *operands)
        return sums["loss"], sums

    def over_chunks(one):
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), jax.eval_shape(one, 0))
        return jax.lax.fori_loop(
            0, used, lambda number, totals: jax.tree.map(jnp.add, totals, one(number)), zeros
        )

    @jax.custom_vjp
    def run(operands):
        return over_chunks(lambda number: loss_and_sums(operands, number)[1])

    def forward(operands):
        gradient = jax.grad(loss_and_sums, has_aux=True)
        gradients, sums = over_chunks(lambda number: gradient(operands, number))
        return sums, gradients

    def backward(gradients, cotangents):
        scaled = (g * cotangents["loss"] for g in gradients)
        return ([g.astype(x.dtype) for g, x in zip(scaled, operands, strict=True)],)

    run.defvjp(forward, backward)
    return run(operands)


def ranking_losses(
    scores, own_clip, clip_numbers, query_mask, clip_mask, *, kind, margin, hard, pool, weight
):
    """The two ranking losses of video-subtitle matching.

    Args:
      scores: `[N, C]` of N queries and C clips.
      own_clip: `[N]`, the clip of each query.
      clip_numbers: `[C]`; clips of the same number are one clip that is there twice, and none is
        another's negative.
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
    own_number = jnp.take(clip_numbers, own_clip)
    other_clip = (clip_numbers != own_number[:, None]) & clip_mask
    # [n, m]: how query m scores against the clip of query n.
    against_own = scores.T[own_clip]
    other_query = (own_number != own_number[:, None]) & query_mask

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
