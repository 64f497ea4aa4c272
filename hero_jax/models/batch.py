"""Views of a batch of packed rows: masks, versions, pooled segments."""

import jax
import jax.numpy as jnp


def is_text(batch) -> jax.Array:
    """`[G, R, T]`, True at words and at the special tokens before them."""
    return (batch["segment_ids"] > 0) & (batch["frame_index"] < 0)


def without_held_out(batch):
    """The batch with the words of held-out subtitles gone and later words moved up."""
    segment_ids = jnp.where(batch["held_out"], 0, batch["segment_ids"])
    text = is_text(batch) & ~batch["held_out"]
    slots = jnp.arange(segment_ids.shape[-1])
    before = same_segment(segment_ids) & text[..., None, :] & (slots < slots[:, None])
    position_ids = jnp.where(text, before.sum(-1), batch["position_ids"])
    return {**batch, "segment_ids": segment_ids, "position_ids": position_ids}


def same_segment(segment_ids: jax.Array) -> jax.Array:
    """`[..., T]` -> `[..., T, T]`, True where two slots are of one segment.

    Padding attends to padding, so that no softmax is over nothing.
    """
    return segment_ids[..., :, None] == segment_ids[..., None, :]


def frame_mask(batch) -> jax.Array:
    """`[G, C, F]`, True at the clips' frames."""
    return jnp.arange(batch["frame_slot"].shape[-1]) < batch["num_frames"][..., None]


def in_versions(x, batch):
    """`[G, C, ...]` -> `[G, C·V, ...]`, every clip V times."""
    versions = batch["frame_slot"].shape[1] // x.shape[1]
    return x if versions == 1 else jnp.repeat(x, versions, axis=1)


def words_only(batch) -> dict[str, jax.Array]:
    """The batch's rows with the frames' slots turned into padding."""
    rows = {name: batch[name] for name in ("token_ids", "position_ids")}
    rows["segment_ids"] = jnp.where(batch["frame_index"] < 0, batch["segment_ids"], 0)
    return rows


def pool_segments(rows, batch):
    """At every slot the maximum over the words of its segment, `[G, R, T, H]`."""
    words = (batch["frame_index"] < 0) & (batch["segment_ids"] > 0)
    lowest = jnp.finfo(rows.dtype).min

    def pool(x, segments, valid):
        x = jnp.where(valid[:, None], x, lowest)
        return jax.ops.segment_max(x, segments, num_segments=x.shape[0])[segments]

    pooled = jax.vmap(jax.vmap(pool))(rows, batch["segment_ids"], words)
    return jnp.where(batch["segment_ids"][..., None] > 0, pooled, 0)
