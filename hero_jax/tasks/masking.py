"""What pre-training draws: masks, replaced words, frame orders.

Every draw is a function of a clip's key and of places inside the clip. A clip's key comes from the
seed, the step and the clip alone, so neither packing nor the number of devices changes a draw.
Rates and rules are those of the original implementation.
"""

import jax
import jax.numpy as jnp

from hero_jax.models.batch import frame_mask, is_text, same_segment

# A segment has fewer slots than this, so segment · this + position names a word of a clip.
MAX_SEGMENT = 1 << 16


def clip_keys(key: jax.Array, batch) -> jax.Array:
    """Keys `[G, C]`, one for each clip of a batch."""
    return jax.vmap(jax.vmap(lambda clip: jax.random.fold_in(key, clip)))(batch["clip_numbers"])


def mask_words(batch, key, *, probability, tokens):
    """BERT's masking within each segment, at least one word of each.

    A chosen word is masked in 80%, replaced by a random one in 10% and kept in 10%. The segment
    begins with `[CLS]` in place of `[SEP]`, as the original has it in this task.

    Args:
      tokens: `hero_jax.tasks.Tokens`.

    Returns:
      input_ids `[G, R, T]` and labels `[G, R, T]`, -1 where nothing is predicted.
    """
    token_ids = batch["token_ids"]
    word = is_text(batch) & (batch["position_ids"] > 0)
    uniform, replacement = _draw_words(batch, clip_keys(key, batch), tokens)
    chosen = word & (uniform[..., 0] < probability)
    none_yet = ~jnp.any(same_segment(batch["segment_ids"]) & chosen[..., None, :], axis=-1)
    first = none_yet & word & (batch["position_ids"] == 1)
    fate = uniform[..., 1]
    masked = (chosen & (fate < 0.8)) | first
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    input_ids = jnp.where(masked, tokens.mask, token_ids)
    input_ids = jnp.where(replaced, replacement, input_ids)
    input_ids = jnp.where(is_text(batch) & ~word, tokens.cls, input_ids)
    return input_ids, jnp.where(chosen | first, token_ids, -1)


def _draw_words(batch, keys, tokens):
    """For every slot two uniform numbers `[G, R, T, 2]` and a random word `[G, R, T]`."""
    place = batch["subtitle_index"] * MAX_SEGMENT + batch["position_ids"]

    def draw(key, place):
        numbers, words = jax.random.split(jax.random.fold_in(key, place))
        return (
            jax.random.uniform(numbers, (2,)),
            jax.random.randint(words, (), tokens.first_word, tokens.end_word),
        )

    def draw_group(keys, clip_index, place):
        flat = jax.vmap(draw)(keys[clip_index.reshape(-1)], place.reshape(-1))
        return jax.tree.map(lambda x: x.reshape(*place.shape, *x.shape[1:]), flat)

    return jax.vmap(draw_group)(keys, batch["clip_index"], place)


def mask_frames(batch, key, *, probability):
    """Frames to hide, `[G, C, F]`: each with a probability, at least one of each clip."""
    valid = frame_mask(batch)

    def draw(key, valid):
        uniform = jax.random.uniform(key, valid.shape)
        chosen = valid & (uniform < probability)
        # The lowest number is as good as any other choice.
        lowest = jnp.arange(valid.size) == jnp.argmin(jnp.where(valid, uniform, 2.0))
        return jnp.where(jnp.any(chosen), chosen, lowest & valid)

    return jax.vmap(jax.vmap(draw))(clip_keys(key, batch), valid)


def shuffle_frames(batch, key, *, probability):
    """Moves some frames of each clip to each other's places.

    Returns:
      order `[G, C, F]`: frame i moves to position order[i]; targets `[G, C, F]`: at a position
      whose frame was drawn, where that frame was before; -1 elsewhere.
    """
    valid = frame_mask(batch)
    positions = jnp.arange(valid.shape[-1])

    def draw(key, valid):
        choice, permutation = jax.random.split(key)
        chosen = valid & (jax.random.uniform(choice, valid.shape) < probability)
        rank = jnp.where(chosen, jax.random.uniform(permutation, valid.shape), 2.0)
        # The k-th chosen frame takes the place of the chosen frame with the k-th smallest number.
        places = jnp.argsort(rank, stable=True)
        order = jnp.where(chosen, places[jnp.cumsum(chosen) - 1], positions)
        targets = jnp.zeros_like(positions).at[order].set(jnp.where(chosen, positions, -1))
        return order, targets

    return jax.vmap(jax.vmap(draw))(clip_keys(key, batch), valid)
