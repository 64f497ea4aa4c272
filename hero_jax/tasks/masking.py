"""Random draws of pre-training: masks, replaced words, frame orders.

Every draw is a function of a clip's key and of positions inside the clip. A clip's key depends only
on the seed, the step and the clip, so neither packing nor the number of devices changes a draw. The
probabilities and rules are those of the original implementation.
"""

from typing import Any

import jax
import jax.numpy as jnp

from hero_jax.models.batch import Batch, frame_mask, is_text, same_segment
from hero_jax.tasks.base import Tokens

# A segment has fewer slots than this, so `segment * SEGMENT_STRIDE + position` is unique in a clip.
SEGMENT_STRIDE = 1 << 16


def clip_keys(key: jax.Array, batch: Batch) -> jax.Array:
    """Returns keys `[G, C]`, one for each clip of a batch."""
    return jax.vmap(jax.vmap(lambda clip: jax.random.fold_in(key, clip)))(batch["clip_numbers"])


def mask_words(
    batch: Batch, key: jax.Array, *, probability: float, tokens: Tokens
) -> tuple[jax.Array, jax.Array]:
    """Masks words of each segment as BERT does, at least one word in each.

    A chosen word is masked with probability 0.8, replaced by a random word with probability 0.1,
    and kept otherwise. As in the original, `[CLS]` takes the place of the `[SEP]` that begins a
    segment.

    Args:
      batch: the batch.
      key: the key of the step.
      probability: probability that a word is chosen.
      tokens: token ids of the special tokens and of the words to draw from.

    Returns:
      Input ids `[G, R, T]`, and labels `[G, R, T]`, -1 where nothing is predicted.
    """
    token_ids = batch["token_ids"]
    word = is_text(batch) & (batch["position_ids"] > 0)
    uniform, replacement = _draw_words(batch, clip_keys(key, batch), tokens)
    chosen = word & (uniform[..., 0] < probability)
    none_chosen = ~jnp.any(same_segment(batch["segment_ids"]) & chosen[..., None, :], axis=-1)
    # If the draw chooses no word of a segment, its first word is masked.
    fallback = none_chosen & word & (batch["position_ids"] == 1)
    action = uniform[..., 1]
    masked = (chosen & (action < 0.8)) | fallback
    replaced = chosen & (action >= 0.8) & (action < 0.9)
    input_ids = jnp.where(masked, tokens.mask, token_ids)
    input_ids = jnp.where(replaced, replacement, input_ids)
    input_ids = jnp.where(is_text(batch) & ~word, tokens.cls, input_ids)
    return input_ids, jnp.where(chosen | fallback, token_ids, -1)


def _draw_words(batch: Batch, keys: jax.Array, tokens: Tokens) -> tuple[jax.Array, jax.Array]:
    """Returns two uniform numbers `[G, R, T, 2]` and a random word `[G, R, T]` for every slot."""
    word_numbers = batch["subtitle_index"] * SEGMENT_STRIDE + batch["position_ids"]

    def draw(key: jax.Array, word_number: jax.Array) -> tuple[jax.Array, jax.Array]:
        uniform_key, word_key = jax.random.split(jax.random.fold_in(key, word_number))
        return (
            jax.random.uniform(uniform_key, (2,)),
            jax.random.randint(word_key, (), tokens.first_word, tokens.end_word),
        )

    def draw_group(keys: jax.Array, clip_index: jax.Array, word_numbers: jax.Array) -> Any:
        flat = jax.vmap(draw)(keys[clip_index.reshape(-1)], word_numbers.reshape(-1))
        return jax.tree.map(lambda x: x.reshape(*word_numbers.shape, *x.shape[1:]), flat)

    return jax.vmap(draw_group)(keys, batch["clip_index"], word_numbers)


def mask_frames(batch: Batch, key: jax.Array, *, probability: float) -> jax.Array:
    """Returns a mask `[G, C, F]`, True at frames to hide, at least one in each clip.

    Args:
      batch: the batch.
      key: the key of the step.
      probability: probability that a frame is chosen.
    """
    valid = frame_mask(batch)

    def draw(key: jax.Array, valid: jax.Array) -> jax.Array:
        uniform = jax.random.uniform(key, valid.shape)
        chosen = valid & (uniform < probability)
        # If no frame is chosen, the one with the lowest number is, which is a uniform choice.
        lowest = jnp.arange(valid.size) == jnp.argmin(jnp.where(valid, uniform, 2.0))
        return jnp.where(jnp.any(chosen), chosen, lowest & valid)

    return jax.vmap(jax.vmap(draw))(clip_keys(key, batch), valid)


def shuffle_frames(
    batch: Batch, key: jax.Array, *, probability: float
) -> tuple[jax.Array, jax.Array]:
    """Permutes some frames of each clip among themselves.

    Args:
      batch: the batch.
      key: the key of the step.
      probability: probability that a frame is chosen.

    Returns:
      order `[G, C, F]`: frame i moves to position `order[i]`; targets `[G, C, F]`: the original
      position of the frame that is now at a position, -1 where that frame was not chosen.
    """
    valid = frame_mask(batch)
    positions = jnp.arange(valid.shape[-1])

    def draw(key: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
        choice_key, permutation_key = jax.random.split(key)
        chosen = valid & (jax.random.uniform(choice_key, valid.shape) < probability)
        numbers = jnp.where(chosen, jax.random.uniform(permutation_key, valid.shape), 2.0)
        # The k-th chosen frame moves to the position of the one with the k-th smallest number.
        by_number = jnp.argsort(numbers, stable=True)
        order = jnp.where(chosen, by_number[jnp.cumsum(chosen) - 1], positions)
        targets = jnp.zeros_like(positions).at[order].set(jnp.where(chosen, positions, -1))
        return order, targets

    return jax.vmap(jax.vmap(draw))(clip_keys(key, batch), valid)
