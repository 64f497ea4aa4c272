"""HERO's encoder: a cross-modal transformer over packed subtitles, a temporal one over clips.

Shapes: G groups of a batch, each with C clips of at most F frames of D features, and R packed rows
of T slots; H is the width. Tasks may read a clip in V versions; else V is 1. The batch is described
in `data/pipeline/packing.py`.
"""

import jax.numpy as jnp
from flax import nnx

from hero_jax.models import heads
from hero_jax.models.batch import frame_mask, in_versions, pool_segments, same_segment, words_only
from hero_jax.models.layers import EPSILON, Projection, Transformer, embedding, layer_norm, linear
from hero_jax.models.ops import dropout, exchange, fold

# Text and frames share one row of the token type table; the other is never read.
TOKEN_TYPE = 1
# The row of a mask embedding that is added to a masked frame.
MASKED = 1
# The vocabulary's table has a multiple of this many rows, for the sake of the matrix units.
VOCABULARY_MULTIPLE = 128


class TextEmbedding(nnx.Module):
    """Word + position + type, LayerNorm."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        rows = -(-config.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        self.word = embedding(rows, size, ("vocab", "embed"), config=config, rngs=rngs)
        self.position = embedding(
            config.text_positions, size, (None, "embed"), config=config, rngs=rngs
        )
        self.token_type = embedding(2, size, (None, "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, EPSILON, rngs=rngs)

    def __call__(self, token_ids, position_ids):
        """`[...]` ids -> `[..., H]`, float32."""
        x = self.word[...][token_ids] + self.position[...][position_ids]
        return self.norm(x + self.token_type[...][TOKEN_TYPE])


class FrameEmbedding(nnx.Module):
    """`linear(LN(features))` + position in the segment + the text's type, LayerNorm."""

    def __init__(self, config, *, rngs: nnx.Rngs):
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

    def project(self, features, masked):
        """Features `[..., D]` -> `[..., H]`: what does not depend on the place in a segment."""
        return self.linear(self.feature_norm(apply_mask(features, masked, self.mask[...])))

    def place(self, projected, position_ids, type_embedding):
        """`[..., H]` and positions `[...]` -> embedded frames `[..., H]`, float32."""
        return self.norm(projected + self.position[...][position_ids] + type_embedding)


def apply_mask(features, masked, mask_embedding):
    """Features with those of masked frames replaced by the mask embedding; float32."""
    features = features.astype(jnp.float32)
    if masked is None:
        return features
    return jnp.where(masked[..., None], mask_embedding[MASKED], features)


class CrossModalEncoder(nnx.Module):
    """The cross-modal transformer: a subtitle's frames and words, nothing else."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        self.text_embedding = TextEmbedding(config, rngs=rngs)
        self.frame_embedding = FrameEmbedding(config, rngs=rngs)
        self.transformer = Transformer(config, config.cross_modal_layers, rngs=rngs)
        self.lm_head = heads.LanguageModelHead(config, rngs=rngs)
        # Nothing reads it; the original has it, decays it and stores it.
        self.pooler = linear(
            config.hidden_size, config.hidden_size, (None, "embed"), config=config, rngs=rngs
        )
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, rows, frames=None, key=None):
        """Encodes packed rows.

        Args:
          rows: `token_ids`, `position_ids`, `segment_ids` `[G, R, T]`; with frames also
            `frame_index` `[G, R, T]` and `frame_slot` `[G, C·V, F]`.
          frames: `[G, C·V·F, H]` from `frame_embedding.project`, or None for text alone.

        Returns:
          `[G, R, T, H]`.
        """
        position_ids = rows["position_ids"]
        x = self.text_embedding(rows["token_ids"], position_ids)
        if frames is not None:
            groups, _, size = frames.shape
            index = rows["frame_index"]
            here = exchange(
                frames, index.reshape(groups, -1), rows["frame_slot"].reshape(groups, -1)
            )
            here = self.frame_embedding.place(
                here.reshape(*index.shape, size),
                jnp.minimum(position_ids, self.frame_embedding.position.shape[0] - 1),
                self.text_embedding.token_type[...][TOKEN_TYPE],
            )
            x = jnp.where(index[..., None] >= 0, here, x)
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold(key, 0))
        return self.transformer(x, same_segment(rows["segment_ids"]), fold(key, 1))


class TemporalEncoder(nnx.Module):
    """The temporal transformer: all frames of a clip."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.position = embedding(
            config.clip_positions, size, (None, "embed"), config=config, rngs=rngs
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.transformer = Transformer(config, config.temporal_layers, rngs=rngs)
        # As in the cross-modal encoder.
        self.pooler = linear(size, size, (None, "embed"), config=config, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, fused, valid, text=None, text_valid=None, key=None):
        """Puts frames in the context of their clip.

        Args:
          fused: `[G, C, F, H]`; valid: `[G, C, F]`.
          text: `[G, C, L, H]`, embedded words that are read along; text_valid: `[G, C, L]`.

        Returns:
          `[G, C, F, H]`, the frames.
        """
        frames = fused.shape[-2]
        x = self.norm(fused + self.position[...][:frames])
        if text is not None:
            x = jnp.concatenate([x, text], axis=-2)
            valid = jnp.concatenate([valid, text_valid], axis=-1)
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold(key, 0))
        # valid as segment ids: frames attend to frames, padding to padding.
        x = self.transformer(x, same_segment(valid), fold(key, 1))
        return x[..., :frames, :]


class HERO(nnx.Module):
    """The encoder, the heads of pre-training, and those of downstream tasks.

    Attributes:
      heads: of downstream tasks, by the task's name.

    `config.encoder` is one of
      hierarchical: cross-modal and temporal transformer (HERO);
      text_only: the lower transformer reads words alone, and a frame gets the max-pooled encoding
        of its subtitle (the paper's H-TRM);
      flat: one transformer reads all frames and words of a clip (F-TRM); the pipeline packs a clip
        as one segment.
    """

    def __init__(self, config, make_heads=None, *, rngs: nnx.Rngs):
        """make_heads: by the task's name, functions of `(config, rngs)`."""
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
            {name: make(config, rngs) for name, make in (make_heads or {}).items()}
        )
        self.encoder = config.encoder
        self.vocab_size = config.vocab_size

    def encode_rows(self, batch, *, masked=None, key=None):
        """Cross-modal outputs `[G, R, T, H]` of a batch's packed rows.

        Args:
          masked: `[G, C, F]`, frames whose features are hidden, or None.
        """
        if self.encoder == "text_only":
            return self.cross_modal(words_only(batch), key=fold(key, 0))
        frames = self.cross_modal.frame_embedding.project(batch["frame_features"], masked)
        frames = in_versions(frames, batch)
        frames = frames.reshape(frames.shape[0], -1, frames.shape[-1])
        return self.cross_modal(batch, frames, key=fold(key, 0))

    def fuse(self, batch, rows, *, masked=None, key=None):
        """Projected features + what the cross-modal transformer made of them: `[G, C·V, F, H]`."""
        frame_slot = batch["frame_slot"]
        groups = frame_slot.shape[0]
        if self.encoder == "text_only":
            rows = pool_segments(rows, batch)
        cross = exchange(
            rows.reshape(groups, -1, rows.shape[-1]),
            frame_slot.reshape(groups, -1),
            batch["frame_index"].reshape(groups, -1),
        ).reshape(*frame_slot.shape, -1)
        if self.encoder == "flat":
            return cross
        features = apply_mask(batch["frame_features"], masked, self.mask_embedding[...])
        return in_versions(self.frame_projection(features, fold(key, 1)), batch) + cross

    def contextualize(self, batch, fused, *, key=None):
        """The temporal transformer over fused frames `[G, C, F, H]`."""
        if self.encoder == "flat":
            return fused
        return self.temporal(fused, frame_mask(batch), key=fold(key, 2))

    def encode_clips(self, batch, *, masked=None, key=None):
        """All of it: frames in the context of their clip, `[G, C, F, H]`."""
        rows = self.encode_rows(batch, masked=masked, key=key)
        fused = self.fuse(batch, rows, masked=masked, key=key)
        return self.contextualize(batch, fused, key=key)

    def encode_with_texts(self, batch, *, key=None):
        """Frames in the context of their clip and of a text that each version has.

        Args:
          batch: with `text_token_ids` `[G, C·V, L]` and `text_lengths` `[G, C·V]` as well.

        Returns:
          `[G, C, V, F, H]`.
        """
        fused = self.fuse(batch, self.encode_rows(batch, key=key), key=key)
        token_ids = batch["text_token_ids"]
        places = jnp.arange(token_ids.shape[-1])
        text = self.cross_modal.text_embedding(token_ids, places)
        text_valid = places < batch["text_lengths"][..., None]
        valid = in_versions(frame_mask(batch), batch)
        frames = self.temporal(fused, valid, text, text_valid, key=fold(key, 2))
        groups, clips = batch["num_frames"].shape
        return frames.reshape(groups, clips, -1, *frames.shape[2:])

    def encode_queries(self, queries, *, key=None):
        """One vector per query, `[G, N, H]`, from packed query rows; see `QueryHead`."""
        encoded = self.cross_modal(queries, key=fold(key, 3))
        return self.query_head(encoded, queries, key=fold(key, 4))

    def word_logits(self, x):
        """Cross-modal outputs `[..., H]` -> logits over the vocabulary, float32."""
        table = self.cross_modal.text_embedding.word[...]
        return self.cross_modal.lm_head(x, table)[..., : self.vocab_size]
