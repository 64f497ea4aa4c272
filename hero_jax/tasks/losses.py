"""Losses as masked sums and counts, which make the denominator of every mean explicit.

The formulas are those of HERO (Li et al., EMNLP 2020), section 3.2, as the original implementation
computes them.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hero_jax.division import WHOLE, Shards

# Losses that rank a positive above negatives.
RANKING_LOSSES = ("hinge", "lse")

# Sums by name, float32 scalars.
Sums = dict[str, jax.Array]
# A number on the host or the device.
Scalar = jax.Array | float


def cross_entropy(logits: jax.Array, labels: jax.Array, valid: jax.Array) -> Sums:
    """Returns sums over valid positions of the cross-entropy of a softmax.

    Args:
      logits: `[..., K]` float32.
      labels: `[...]`; a label at a position that is not valid is ignored.
      valid: `[...]` bool.

    Returns:
      `loss`, the sum of the losses; `correct`, the number of labels with the largest logit;
      `count`, the number of valid positions.
    """
    labels = jnp.where(valid, labels, 0)
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    return {
        "loss": jnp.sum(losses, where=valid),
        "correct": jnp.sum(is_largest(logits, labels), where=valid, dtype=jnp.float32),
        "count": jnp.sum(valid, dtype=jnp.float32),
    }


def is_largest(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Checks if labels `[...]` have the largest of the logits `[..., K]`, the first if several do.

    XLA's argmax compares pairs of values and places; on a CPU it takes several times as long.
    Earlier places are counted rather than found: a TPU does it in the pass that sums exponentials.
    """
    labels = labels[..., None]
    largest = jnp.max(logits, axis=-1, keepdims=True)
    place = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    earlier = jnp.sum((logits == largest) & (place < labels), axis=-1, dtype=jnp.float32)
    return (jnp.take_along_axis(logits, labels, axis=-1) == largest)[..., 0] & (earlier == 0)


def smoothed(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """Returns the Kullback-Leibler divergence of a softmax from smoothed labels.

    The target gives 1 - smoothing to the label and divides the rest equally among all others.

    Args:
      logits: `[..., V]` float32.
      labels: `[...]`.
      smoothing: probability of all other labels together, from 0 and below 1.

    Returns:
      `[...]` float32.
    """
    off_value = smoothing / (logits.shape[-1] - 1)
    on_value = 1 - smoothing
    entropy = -on_value * math.log(on_value)
    if smoothing:
        entropy -= smoothing * math.log(off_value)
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0] - normalizer
    # The mean is taken because a sum over a large vocabulary would lose digits.
    total = logits.shape[-1] * jnp.mean(logits - normalizer[..., None], axis=-1)
    return -entropy - (on_value - off_value) * chosen - off_value * total


def mean(total: Scalar, count: Scalar) -> jax.Array:
    """Returns `total / count`; a count of 0 divides by 1, so the mean of nothing is 0."""
    return total / jnp.maximum(count, 1)


def sum_over_selected(
    function: Callable[..., Sums], selected: jax.Array, sizes: tuple[int, int]
) -> Sums:
    """Sums a function over the selected slots only.

    A head that needs 15% of the slots should not run over the others, but shapes are fixed and the
    number of selected slots is only known on the device. Therefore the selected slots are sorted to
    the front. A first chunk should take all of them; if there are more, a loop over other chunks
    takes the rest. The gradient of a chunk is computed along with its value, so memory is that of
    one chunk and nothing is recomputed.

    Args:
      function: `(index [G, chunk], valid [G, chunk]) -> sums`, where `index` has numbers of slots,
        for chunks of any size. The gradient of its `loss` flows to all arrays that the function
        closes over; that of the other sums does not.
      selected: `[G, N]` bool.
      sizes: numbers of slots of a group in the first chunk and in the others.

    Returns:
      The sums over all chunks.
    """
    first, rest, used = _chunks(selected, *sizes)
    of_first, operands = jax.closure_convert(function, *first)
    # It closes over the same arrays, whatever the size of the chunk.
    of_rest = jax.closure_convert(function, *(x[0] for x in rest))[0] if rest else None

    def over_chunks(of_chunk: Callable[..., Any]) -> Any:
        totals = jax.tree.map(lambda x: x.astype(jnp.float32), of_chunk(of_first, *first))
        if rest is None:
            return totals
        index, valid = rest

        def add(number: Scalar, totals: Any) -> Any:
            chunk = of_chunk(of_rest, index[number], valid[number])
            return jax.tree.map(jnp.add, totals, chunk)

        return jax.lax.fori_loop(0, used, add, totals)

    @jax.custom_vjp
    def run(operands: Any) -> Sums:
        return over_chunks(lambda function, index, valid: function(index, valid, *operands))

    def forward(operands: Any) -> tuple[Sums, Any]:
        def differentiate(function: Callable, index: jax.Array, valid: jax.Array) -> Any:
            def loss_and_sums(operands: Any) -> tuple[jax.Array, Sums]:
                sums = function(index, valid, *operands)
                return sums["loss"], sums

            return jax.grad(loss_and_sums, has_aux=True)(operands)

        gradients, sums = over_chunks(differentiate)
        return sums, gradients

    def backward(gradients: Any, cotangents: Sums) -> tuple[Any]:
        scaled = (g * cotangents["loss"] for g in gradients)
        return ([g.astype(x.dtype) for g, x in zip(scaled, operands, strict=True)],)

    run.defvjp(forward, backward)
    return run(operands)


# Numbers of slots, and a mask that is True at selected ones.
Chunk = tuple[jax.Array, jax.Array]


def _chunks(
    selected: jax.Array, size: int, rest_size: int
) -> tuple[Chunk, Chunk | None, jax.Array]:
    """Sorts selected slots `[G, N]` to the front, and divides all slots into chunks.

    Returns:
      The first chunk `[G, size]`; all others `[chunks, G, rest_size]`, None if there is none; and
      the number of others that have any selected slots.
    """
    groups, slots = selected.shape
    size = min(size, slots)
    chunks = math.ceil((slots - size) / rest_size)
    padding = size + chunks * rest_size - slots
    index = jnp.pad(jnp.argsort(~selected, axis=-1, stable=True), ((0, 0), (0, padding)))
    counts = jnp.sum(selected, axis=-1)
    valid = jnp.arange(slots + padding) < counts[:, None]
    first = index[:, :size], valid[:, :size]
    if not chunks:
        return first, None, jnp.array(0)
    index, valid = (
        x[:, size:].reshape(groups, chunks, rest_size).swapaxes(0, 1) for x in (index, valid)
    )
    return first, (index, valid), -(-jnp.maximum(jnp.max(counts) - size, 0) // rest_size)


def ranking_losses(
    scores: jax.Array,
    own_clip: jax.Array,
    clip_numbers: jax.Array,
    query_mask: jax.Array,
    clip_mask: jax.Array,
    *,
    kind: str,
    margin: float,
    hard: jax.Array | bool,
    pool: int,
    weight: float,
    shards: Shards = WHOLE,
) -> tuple[jax.Array, jax.Array]:
    """Returns the two ranking losses of video-subtitle matching.

    One ranks the clips for each query, the other the queries for each clip. N queries and C clips
    are on each shard of a batch, and the losses are the shard's shares.

    Args:
      scores: `[N · shards, C]` of the batch's queries and this shard's clips.
      own_clip: `[N]` int32, the clip of this shard that each query is about.
      clip_numbers: `[C]` int32. Clips with one number are copies, and no negatives of each other.
      query_mask: `[N]` bool, True for a query, False for padding.
      clip_mask: `[C]` bool, True for a clip, False for padding.
      kind: 'hinge' or 'lse'; see `_pair_losses`.
      margin: margin of the hinge loss.
      hard: bool scalar. If True, the `pool` best scored negatives of a query have the weight
        `weight` and the others 0.1; otherwise all have the weight 1.
      pool: number of hard negatives of a query.
      weight: weight of the hard negatives.
      shards: those of the batch.

    Returns:
      Scalars `loss_neg_ctx` and `loss_neg_q` of the original: means over the queries of the mean
      over all other clips, and over the queries of other clips scored against the query's clip.

    Raises:
      ValueError: an unknown kind.
    """
    own_number = jnp.take(clip_numbers, own_clip)
    # `against_own[n, m]` is the score of query m for the clip of query n.
    against_own = scores.T[own_clip]
    other_query = _others(own_number, own_number, query_mask, shards)
    other_clip = _others(own_number, clip_numbers, clip_mask, shards)
    own_clip += shards.number * scores.shape[1]
    scores = shards.to_rows(scores)
    positive = jnp.take_along_axis(scores, own_clip[:, None], axis=1)

    def rank(negative: jax.Array, allowed: jax.Array) -> jax.Array:
        losses = _pair_losses(negative - positive, kind, margin)
        losses = jnp.where(allowed, losses, 0)
        # Both losses grow with the score of the negative, so the hardest have the largest losses.
        hardest = jax.lax.top_k(losses, min(pool, losses.shape[1]))[0].sum(-1)
        base_weight = jnp.where(hard, 0.1, 1.0)
        total = base_weight * losses.sum(-1) + jnp.where(hard, weight - 0.1, 0.0) * hardest
        per_query = mean(total, allowed.sum(-1))
        return mean(jnp.sum(per_query, where=query_mask), shards.sum(query_mask.sum()))

    return rank(scores, other_clip), rank(against_own, other_query)


def _others(own: jax.Array, numbers: jax.Array, mask: jax.Array, shards: Shards) -> jax.Array:
    """Returns `[N, M · shards]`, True where a valid number `[M]` of any shard is not own `[N]`."""
    return (shards.gather(numbers) != own[:, None]) & shards.gather(mask)


def _pair_losses(difference: jax.Array, kind: str, margin: float) -> jax.Array:
    """Returns the loss of each pair, given the score of the negative minus that of the positive.

    It is `max(0, margin + difference)` for 'hinge' and `log(1 + exp(difference))` for 'lse'.
    """
    if kind == "hinge":
        return jax.nn.relu(margin + difference)
    if kind == "lse":
        return jax.nn.softplus(difference)
    raise ValueError(f"ranking loss {kind!r} is unknown: choose from {', '.join(RANKING_LOSSES)}")
