"""The two transformers of the encoder; the shapes are those of `hero_jax.models.hero`."""

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from hero_jax.models import heads
from hero_jax.models.batch import (
    Batch,
    frame_segments,
    in_frame_rows,
    repeat_versions,
    same_segment,
)
from hero_jax.models.embeddings import TOKEN_TYPE, FrameEmbedding, TextEmbedding
from hero_jax.models.layers import EPSILON, Transformer, embedding, layer_norm, linear
from hero_jax.models.ops import dropout, fold_in, permute_entries


class CrossModalEncoder(nnx.Module):
    """The cross-modal transformer: the frames and words of one subtitle, nothing else."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.text_embedding = TextEmbedding(config, rngs=rngs)
        self.frame_embedding = FrameEmbedding(config, rngs=rngs)
        self.transformer = Transformer(config, config.cross_modal_layers, rngs=rngs)
        self.lm_head = heads.LanguageModelHead(config, rngs=rngs)
        # The pooler is never applied; the original has it, decays it and stores it.
        self.pooler = linear(
            config.hidden_size, config.hidden_size, (None, "embed"), config=config, rngs=rngs
        )
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(
        self, rows: Batch, frames: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Encodes packed rows.

        Args:
          rows: `token_ids`, `position_ids`, `segment_ids` `[G, R, T]`; with frames also
            `frame_index` `[G, R, T]` and `frame_slot` `[G, P·V, L]`.
          frames: `[G, P·V·L, H]` from `frame_embedding.project`, or None for text alone.
          key: dropout key.

        Returns:
          `[G, R, T, H]`.
        """
        position_ids = rows["position_ids"]
        x = self.text_embedding(rows["token_ids"], position_ids)
        if frames is not None:
            groups, _, size = frames.shape
            frame_index = rows["frame_index"]
            in_slots = permute_entries(
                frames, frame_index.reshape(groups, -1), rows["frame_slot"].reshape(groups, -1)
            )
            in_slots = self.frame_embedding.add_position(
                in_slots.reshape(*frame_index.shape, size),
                jnp.minimum(position_ids, self.frame_embedding.position.shape[0] - 1),
                self.text_embedding.token_type[...][TOKEN_TYPE],
            )
            x = jnp.where(frame_index[..., None] >= 0, in_slots, x)
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold_in(key, 0))
        return self.transformer(x, same_segment(rows["segment_ids"]), fold_in(key, 1))


class TemporalEncoder(nnx.Module):
    """The temporal transformer: all frames of a clip."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.position = embedding(
            config.clip_positions, size, (None, "embed"), config=config, rngs=rngs
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.transformer = Transformer(config, config.temporal_layers, rngs=rngs)
        # Never applied, as in the cross-modal encoder.
        self.pooler = linear(size, size, (None, "embed"), config=config, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(
        self,
        fused: jax.Array,
        batch: Batch,
        text: tuple[jax.Array, jax.Array] | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Encodes frames in the context of their clip.

        Args:
          fused: `[G, P·V, L, H]`.
          batch: `frame_place` `[G, P, L]` and `clip_slot` `[G, C, F]`.
          text: embedded words `[G, P·V, W, H]` to read with the frames of a row, which is that of
            one clip then, and their mask `[G, P·V, W]`; or None.
          key: dropout key.

        Returns:
          `[G, P·V, L, H]`, the frames.
        """
        # By clip first, because the gradient is a sum then instead of a scatter.
        shape = *batch["clip_slot"].shape, fused.shape[-1]
        position = jnp.broadcast_to(self.position[...][: shape[-2]], shape)
        x = self.norm(fused + repeat_versions(in_frame_rows(position, batch), batch))
        return self.attend(x, frame_segments(batch), text, key)

    def attend(
        self,
        x: jax.Array,
        segment_ids: jax.Array,
        text: tuple[jax.Array, jax.Array] | None,
        key: jax.Array | None,
    ) -> jax.Array:
        """Encodes what is embedded.

        Args:
          x: `[G, rows, L, H]`.
          segment_ids: `[G, rows, L]`.
          text, key: as in `__call__`.

        Returns:
          `[G, rows, L, H]`.
        """
        length = x.shape[-2]
        if text is not None:
            words, valid = text
            x = jnp.concatenate([x, words], axis=-2)
            valid = jnp.where(valid, segment_ids.max(-1, keepdims=True), 0)
            segment_ids = jnp.concatenate([segment_ids, valid], axis=-1)
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold_in(key, 0))
        x = self.transformer(x, same_segment(segment_ids), fold_in(key, 1))
        return x[..., :length, :]
