"""Views of a batch of packed rows: masks, versions, pooled segments, frames by their clip.

The shapes are those of `hero_jax.models.hero`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from hero_jax.models.ops import permute_entries

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
    return jnp.arange(batch["clip_slot"].shape[-1]) < batch["num_frames"][..., None]


def frame_segments(batch: Batch) -> jax.Array:
    """Returns the segment ids `[G, P·V, L]` of frame rows: 1 + number of the clip, 0 in padding."""
    place = repeat_versions(batch["frame_place"], batch)
    return jnp.where(place >= 0, 1 + place // batch["clip_slot"].shape[-1], 0)


def by_clip(rows: jax.Array, batch: Batch) -> jax.Array:
    """Returns the entries `[G, C, F, H]` of clips from frame rows `[G, P, L, H]`; zero beyond."""
    return _moved(rows, batch["frame_place"], batch["clip_slot"])


def in_frame_rows(clips: jax.Array, batch: Batch) -> jax.Array:
    """Returns the entries `[G, P, L, H]` of frame rows from clips `[G, C, F, H]`; zero beyond."""
    return _moved(clips, batch["clip_slot"], batch["frame_place"])


def _moved(x: jax.Array, new_place: jax.Array, source: jax.Array) -> jax.Array:
    """Moves entries `[G, a, b, H]` to `[G, c, d, H]`, by their new places and the inverse."""
    groups, size = x.shape[0], x.shape[-1]
    moved = permute_entries(
        x.reshape(groups, -1, size), source.reshape(groups, -1), new_place.reshape(groups, -1)
    )
    return moved.reshape(*source.shape, size)


def pick_in_frame_rows(values: jax.Array, batch: Batch, absent: int | bool) -> jax.Array:
    """Returns values `[G, P, L]` of slots from those of frames `[G, C, F]`, which have no gradient.

    Args:
      absent: value of slots without a frame.
    """
    place = batch["frame_place"]
    groups = place.shape[0]
    index = jnp.maximum(place, 0).reshape(groups, -1)
    picked = jnp.take_along_axis(values.reshape(groups, -1), index, axis=1)
    return jnp.where(place >= 0, picked.reshape(place.shape), absent)


def repeat_versions(x: jax.Array, batch: Batch) -> jax.Array:
    """Repeats every frame row V times: `[G, P, ...]` -> `[G, P·V, ...]`."""
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


def first_words(rows: jax.Array, batch: Batch) -> jax.Array:
    """Returns at every slot what the special token before the words of its segment has.

    Args:
      rows: `[G, R, T, H]`.

    Returns:
      `[G, R, T, H]`; zero at padding.
    """
    is_first = is_text(batch) & (batch["position_ids"] == 0)
    chosen = same_segment(batch["segment_ids"]) & is_first[..., None, :]
    # A product with zeros and ones, whose gradient is one too instead of a scatter.
    return jnp.matmul(chosen.astype(rows.dtype), rows, precision=jax.lax.Precision.HIGHEST)
