"""Views of a batch of packed rows: masks, versions, pooled segments.

The shapes are those of `hero_jax.models.hero`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

# A batch on devices: arrays by name, described in `data/pipeline/packing.py`.
Batch = Mapping[str, jax.Array]


def is_text(batch: Batch) -> jax.Array:
    """Returns a mask `[G, R, T]`, True at words and at the special tokens before them."""
    return (batch["segment_ids"] > 0) & (batch["frame_index"] < 0)


def without_held_out(batch: Batch) -> Batch:
    """Returns the batch without the words of held-out subtitles; later words move up."""
    segment_ids = jnp.where(batch["held_out"], 0, batch["segment_ids"])
    text = is_text(batch) & ~batch["held_out"]
    slots = jnp.arange(segment_ids.shape[-1])
    before = same_segment(segment_ids) & text[..., None, :] & (slots < slots[:, None])
    position_ids = jnp.where(text, before.sum(-1), batch["position_ids"])
    return {**batch, "segment_ids": segment_ids, "position_ids": position_ids}


def same_segment(segment_ids: jax.Array) -> jax.Array:
    """Returns the attention mask `[..., T, T]` of segment ids `[..., T]`.

    It is True where two slots belong to the same segment. Padding attends to padding, so that no
    softmax is over an empty set.
    """
    return segment_ids[..., :, None] == segment_ids[..., None, :]


def frame_mask(batch: Batch) -> jax.Array:
    """Returns a mask `[G, C, F]`, True at the frames of the clips."""
    return jnp.arange(batch["frame_slot"].shape[-1]) < batch["num_frames"][..., None]


def repeat_versions(x: jax.Array, batch: Batch) -> jax.Array:
    """Repeats every clip V times: `[G, C, ...]` -> `[G, C·V, ...]`."""
    versions = batch["frame_slot"].shape[1] // x.shape[1]
    return x if versions == 1 else jnp.repeat(x, versions, axis=1)


def words_only(batch: Batch) -> Batch:
    """Returns the packed rows of the batch with the slots of frames turned into padding."""
    rows = {name: batch[name] for name in ("token_ids", "position_ids")}
    rows["segment_ids"] = jnp.where(batch["frame_index"] < 0, batch["segment_ids"], 0)
    return rows


def pool_segments(rows: jax.Array, batch: Batch) -> jax.Array:
    """Returns at every slot the maximum over the words of its segment.

    Args:
      rows: `[G, R, T, H]`.

    Returns:
      `[G, R, T, H]`; zero at padding.
    """
    words = (batch["frame_index"] < 0) & (batch["segment_ids"] > 0)
    lowest = jnp.finfo(rows.dtype).min

    def pool(x: jax.Array, segment_ids: jax.Array, valid: jax.Array) -> jax.Array:
        x = jnp.where(valid[:, None], x, lowest)
        return jax.ops.segment_max(x, segment_ids, num_segments=x.shape[0])[segment_ids]

    pooled = jax.vmap(jax.vmap(pool))(rows, batch["segment_ids"], words)
    return jnp.where(batch["segment_ids"][..., None] > 0, pooled, 0)
