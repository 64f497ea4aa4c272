"""HERO's encoder: a cross-modal transformer over packed subtitles, a temporal one over clips.

Shapes: G groups of a batch, each with C clips of at most F frames of D features in P rows of L
slots, and with R packed rows of T slots; H is the width. A task may read a clip in V versions;
otherwise V is 1. The batch is described in `data/pipeline/packing.py`.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from hero_jax.models import heads
from hero_jax.models.batch import (
    Batch,
    by_clip,
    frame_segments,
    in_frame_rows,
    pool_segments,
    repeat_versions,
    same_segment,
    words_only,
)
from hero_jax.models.layers import EPSILON, Projection, Transformer, embedding, layer_norm, linear
from hero_jax.models.ops import dropout, fold_in, permute_entries

# Text and frames share one row of the token type table; the other row is never read.
TOKEN_TYPE = 1
# The row of a mask embedding that stands for a masked frame.
MASKED = 1
# The rows of the vocabulary's table are padded to a multiple of this, for the matrix units.
VOCABULARY_MULTIPLE = 128

# Makes a head from the model's config and the random number generators.
MakeHead = Callable[[Config, nnx.Rngs], nnx.Module]


class TextEmbedding(nnx.Module):
    """Word + position + type, LayerNorm."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        rows = -(-config.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        self.word = embedding(rows, size, ("vocab", "embed"), config=config, rngs=rngs)
        self.position = embedding(
            config.text_positions, size, (None, "embed"), config=config, rngs=rngs
        )
        self.token_type = embedding(2, size, (None, "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, EPSILON, rngs=rngs)

    def __call__(self, token_ids: jax.Array, position_ids: jax.Array) -> jax.Array:
        """Embeds ids `[...]` as float32 `[..., H]`."""
        x = self.word[...][token_ids] + self.position[...][position_ids]
        return self.norm(x + self.token_type[...][TOKEN_TYPE])


class FrameEmbedding(nnx.Module):
    """`linear(LN(features))` + position in the segment + the text's type, LayerNorm."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.mask = embedding(2, config.feature_size, (None, "feature"), config=config, rngs=rngs)
        self.feature_norm = layer_norm(config.feature_size, EPSILON, axis="feature", rngs=rngs)
        self.linear = linear(
            config.feature_size, size, ("feature", "embed"), config=config, rngs=rngs
        )
        self.position = embedding(
            config.segment_frames, size, (None, "embed"), config=config, rngs=rngs
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)

    def project(self, features: jax.Array, masked: jax.Array | None) -> jax.Array:
        """Projects features `[..., D]` to `[..., H]`, independently of the position."""
        return self.linear(self.feature_norm(apply_mask(features, masked, self.mask[...])))

    def add_position(
        self, projected: jax.Array, position_ids: jax.Array, type_embedding: jax.Array
    ) -> jax.Array:
        """Embeds projected frames `[..., H]` at positions `[...]` as float32 `[..., H]`."""
        return self.norm(projected + self.position[...][position_ids] + type_embedding)


def apply_mask(
    features: jax.Array, masked: jax.Array | None, mask_embedding: jax.Array
) -> jax.Array:
    """Replaces the features of masked frames by the mask embedding.

    Args:
      features: `[..., D]`.
      masked: `[...]` bool, or None for no frame.
      mask_embedding: `[2, D]`.

    Returns:
      `[..., D]` float32.
    """
    features = features.astype(jnp.float32)
    if masked is None:
        return features
    return jnp.where(masked[..., None], mask_embedding[MASKED], features)


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
        segment_ids = frame_segments(batch)
        if text is not None:
            words, valid = text
            x = jnp.concatenate([x, words], axis=-2)
            valid = jnp.where(valid, segment_ids.max(-1, keepdims=True), 0)
            segment_ids = jnp.concatenate([segment_ids, valid], axis=-1)
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold_in(key, 0))
        x = self.transformer(x, same_segment(segment_ids), fold_in(key, 1))
        return x[..., : fused.shape[-2], :]


class HERO(nnx.Module):
    """The encoder, the heads of pre-training, and those of downstream tasks.

    `config.encoder` is one of
      hierarchical: cross-modal and temporal transformer (HERO);
      text_only: the lower transformer reads words alone, and a frame gets the max-pooled encoding
        of its subtitle (the paper's H-TRM);
      flat: one transformer reads all frames and words of a clip (F-TRM); the pipeline packs a clip
        as one segment.

    Attributes:
      heads: heads of downstream tasks by the task's name.
    """

    def __init__(
        self,
        config: Config,
        make_heads: Mapping[str, MakeHead] | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        """Initializes a model.

        Args:
          config: the model's settings.
          make_heads: functions that make the heads of downstream tasks, by the task's name.
          rngs: the generators of the parameters.
        """
        self.cross_modal = CrossModalEncoder(config, rngs=rngs)
        self.mask_embedding = embedding(
            2, config.feature_size, (None, "feature"), config=config, rngs=rngs
        )
        self.frame_projection = Projection(config.feature_size, "feature", config, rngs=rngs)
        self.temporal = TemporalEncoder(config, rngs=rngs)
        self.feature_head = heads.FeatureHead(config, rngs=rngs)
        self.order_head = heads.OrderHead(config, rngs=rngs)
        self.query_head = heads.QueryHead(config, rngs=rngs)
        self.span_head = heads.SpanHead(config, rngs=rngs)
        self.heads = nnx.Dict(
            {name: make_head(config, rngs) for name, make_head in (make_heads or {}).items()}
        )
        self.encoder = config.encoder
        self.vocab_size = config.vocab_size

    def encode_rows(
        self, batch: Batch, *, masked: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Encodes the packed rows of a batch with the cross-modal transformer.

        Args:
          batch: packed rows and frames.
          masked: `[G, P, L]` bool, frames whose features are hidden, or None.
          key: dropout key.

        Returns:
          `[G, R, T, H]`.
        """
        if self.encoder == "text_only":
            return self.cross_modal(words_only(batch), key=fold_in(key, 0))
        frames = self.cross_modal.frame_embedding.project(batch["frame_features"], masked)
        frames = repeat_versions(frames, batch)
        frames = frames.reshape(frames.shape[0], -1, frames.shape[-1])
        return self.cross_modal(batch, frames, key=fold_in(key, 0))

    def fuse(
        self,
        batch: Batch,
        rows: jax.Array,
        *,
        masked: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Adds the cross-modal outputs of frames to their projected features.

        Args:
          batch: packed rows and frames.
          rows: `[G, R, T, H]` from `encode_rows`.
          masked: as in `encode_rows`.
          key: dropout key.

        Returns:
          `[G, P·V, L, H]`.
        """
        frame_slot = batch["frame_slot"]
        groups = frame_slot.shape[0]
        if self.encoder == "text_only":
            rows = pool_segments(rows, batch)
        cross_modal = permute_entries(
            rows.reshape(groups, -1, rows.shape[-1]),
            frame_slot.reshape(groups, -1),
            batch["frame_index"].reshape(groups, -1),
        ).reshape(*frame_slot.shape, -1)
        if self.encoder == "flat":
            return cross_modal
        features = apply_mask(batch["frame_features"], masked, self.mask_embedding[...])
        projected = self.frame_projection(features, fold_in(key, 1))
        return repeat_versions(projected, batch) + cross_modal

    def contextualize(
        self, batch: Batch, fused: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Encodes fused frames `[G, P·V, L, H]` with the temporal transformer."""
        if self.encoder == "flat":
            return fused
        return self.temporal(fused, batch, key=fold_in(key, 2))

    def encode_frames(
        self, batch: Batch, *, masked: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Encodes frames in the context of their clip, `[G, P, L, H]`; see `encode_rows`."""
        rows = self.encode_rows(batch, masked=masked, key=key)
        fused = self.fuse(batch, rows, masked=masked, key=key)
        return self.contextualize(batch, fused, key=key)

    def encode_clips(self, batch: Batch, *, key: jax.Array | None = None) -> jax.Array:
        """Returns the result of `encode_frames` clip by clip, `[G, C, F, H]`; zero beyond."""
        return by_clip(self.encode_frames(batch, key=key), batch)

    def encode_with_texts(self, batch: Batch, *, key: jax.Array | None = None) -> jax.Array:
        """Encodes frames in the context of their clip and of the text of each version.

        Args:
          batch: a batch of a frame row for each clip, that also has `text_token_ids` `[G, C·V, W]`
            and `text_lengths` `[G, C·V]`.
          key: dropout key.

        Returns:
          `[G, C, V, F, H]`.
        """
        fused = self.fuse(batch, self.encode_rows(batch, key=key), key=key)
        token_ids = batch["text_token_ids"]
        positions = jnp.arange(token_ids.shape[-1])
        words = self.cross_modal.text_embedding(token_ids, positions)
        words_valid = positions < batch["text_lengths"][..., None]
        frames = self.temporal(fused, batch, (words, words_valid), key=fold_in(key, 2))
        groups, clips = batch["num_frames"].shape
        return frames.reshape(groups, clips, -1, *frames.shape[2:])

    def encode_queries(self, queries: Batch, *, key: jax.Array | None = None) -> jax.Array:
        """Encodes packed query rows as one vector per query, `[G, N, H]`; see `QueryHead`."""
        encoded = self.cross_modal(queries, key=fold_in(key, 3))
        return self.query_head(encoded, queries, key=fold_in(key, 4))

    def word_logits(self, x: jax.Array, *, padded: bool = False) -> jax.Array:
        """Maps cross-modal outputs `[..., H]` to float32 logits over the vocabulary.

        Args:
          padded: keeps the logits of the table's padding; see `heads.LanguageModelHead`.
        """
        logits = self.cross_modal.lm_head(x, self.cross_modal.text_embedding.word[...])
        return logits if padded else logits[..., : self.vocab_size]
