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
    first_words,
    frame_mask,
    pool_segments,
    repeat_versions,
    words_only,
)
from hero_jax.models.embeddings import apply_mask
from hero_jax.models.encoders import CrossModalEncoder, TemporalEncoder
from hero_jax.models.fusion import (
    FIRST_POSITION,
    Alignment,
    Sequence,
    place_mask,
    place_positions,
)
from hero_jax.models.layers import Projection, embedding
from hero_jax.models.ops import dropout, fold_in, permute_entries

# Makes a head from the model's config and the random number generators.
MakeHead = Callable[[Config, nnx.Rngs], nnx.Module]


class HERO(nnx.Module):
    """The encoder, the heads of pre-training, and those of downstream tasks.

    `config.encoder` is one of
      hierarchical: cross-modal and temporal transformer (HERO);
      text_only: the lower transformer reads words alone, and a frame gets the max-pooled encoding
        of its subtitle (the paper's H-TRM);
      flat: one transformer reads all frames and words of a clip (F-TRM); the pipeline packs a clip
        as one segment.

    `config.channels` is one of
      both: frames and subtitles;
      video: frames alone, of which the pipeline packs those of a clip as one segment;
      subtitle: subtitles alone. The features of all frames are zero and the lower transformer does
        not see them: a frame gets what the special token before its subtitle has.

    `config.fusion` is 'cross_modal' (HERO), or 'sequence', 'add' or 'concat', which
    `hero_jax.models.fusion` describes. These have no heads of pre-training.

    Attributes:
      heads: heads of downstream tasks by name: the task's, or one that tasks share.
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
          make_heads: functions that make the heads of downstream tasks, by the head's name.
          rngs: the generators of the parameters.
        """
        pretrained = config.fusion == "cross_modal"
        self.cross_modal = CrossModalEncoder(config, rngs=rngs)
        if pretrained:
            self.mask_embedding = embedding(
                2, config.feature_size, (None, "feature"), config=config, rngs=rngs
            )
        # Not applied in a sequence, where the original has and stores it too.
        self.frame_projection = Projection(config.feature_size, "feature", config, rngs=rngs)
        self.temporal = TemporalEncoder(config, rngs=rngs)
        if pretrained:
            self.feature_head = heads.FeatureHead(config, rngs=rngs)
            self.order_head = heads.OrderHead(config, rngs=rngs)
        self.query_head = heads.QueryHead(config, rngs=rngs)
        self.span_head = heads.SpanHead(config, rngs=rngs)
        make_fusion = Sequence if config.fusion == "sequence" else Alignment
        self.fusion = None if pretrained else make_fusion(config, rngs=rngs)
        # These come last, so that a seed draws the same encoder with any of them.
        self.heads = nnx.Dict(
            {name: make_head(config, rngs) for name, make_head in (make_heads or {}).items()}
        )
        self.encoder, self.channels = config.encoder, config.channels
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
        if self.fusion is not None:
            texts = words_only(batch)
            positions = texts["position_ids"] + FIRST_POSITION
            return self.cross_modal({**texts, "position_ids": positions}, key=fold_in(key, 0))
        if self.encoder == "text_only" or self.channels == "subtitle":
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
        """Joins the projected features of frames with the cross-modal outputs: HERO adds those.

        Args:
          batch: packed rows and frames.
          rows: `[G, R, T, H]` from `encode_rows`.
          masked: as in `encode_rows`.
          key: dropout key.

        Returns:
          `[G, P·V, L, H]`; a sequence has `[G, C·V, F + S, H]`, frames and subtitles.
        """
        frame_slot = batch["frame_slot"]
        groups = frame_slot.shape[0]
        if self.encoder == "text_only" or self.fusion is not None:
            rows = pool_segments(rows, batch)
        elif self.channels == "subtitle":
            rows = first_words(rows, batch)
        if isinstance(self.fusion, Sequence):
            return self.fusion(batch, rows)
        cross_modal = permute_entries(
            rows.reshape(groups, -1, rows.shape[-1]),
            frame_slot.reshape(groups, -1),
            batch["frame_index"].reshape(groups, -1),
        ).reshape(*frame_slot.shape, -1)
        if self.encoder == "flat":
            return cross_modal
        features = batch["frame_features"]
        if self.channels == "subtitle":
            features = jnp.zeros_like(features)
        mask_embedding = None if self.fusion else self.mask_embedding[...]
        features = apply_mask(features, masked, mask_embedding)
        projected = repeat_versions(self.frame_projection(features, fold_in(key, 1)), batch)
        if self.fusion is not None:
            return self.fusion(projected, cross_modal, fold_in(key, 6))
        return projected + cross_modal

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
        if not isinstance(self.fusion, Sequence):
            return by_clip(self.encode_frames(batch, key=key), batch)
        places = self.fuse(batch, self.encode_rows(batch, key=key))
        valid = place_mask(batch).astype(jnp.int32)
        encoded = self.temporal.attend(places, valid, None, fold_in(key, 2))
        frames = frame_mask(batch)
        return jnp.where(frames[..., None], encoded[:, :, : frames.shape[-1]], 0)

    def encode_with_texts(self, batch: Batch, *, key: jax.Array | None = None) -> jax.Array:
        """Encodes the places of clips, which are its frames, in the context of a version's text.

        Args:
          batch: a batch of a frame row for each clip, that also has `text_token_ids` `[G, C·V, W]`
            and `text_lengths` `[G, C·V]`.
          key: dropout key.

        Returns:
          `[G, C, V, F, H]`; a sequence has `[G, C, V, F + S, H]`, see `fusion.place_mask`.
        """
        fused = self.fuse(batch, self.encode_rows(batch, key=key), key=key)
        token_ids = batch["text_token_ids"]
        positions = jnp.arange(token_ids.shape[-1])
        words = self.cross_modal.text_embedding(token_ids, positions)
        words_valid = positions < batch["text_lengths"][..., None]
        if isinstance(self.fusion, Sequence):
            places = self._encode_sequence(batch, fused, (words, words_valid), key)
        else:
            places = self.temporal(fused, batch, (words, words_valid), key=fold_in(key, 2))
        groups, clips = batch["num_frames"].shape
        return places.reshape(groups, clips, -1, *places.shape[2:])

    def _encode_sequence(
        self,
        batch: Batch,
        fused: jax.Array,
        text: tuple[jax.Array, jax.Array],
        key: jax.Array | None,
    ) -> jax.Array:
        """Encodes places `[G, C·V, F + S, H]` with texts, embedded a second time as in VALUE."""
        temporal = self.temporal
        versions = fused.shape[1] // batch["num_frames"].shape[1]
        fused = dropout(fused, temporal.dropout_rate, fold_in(key, 1))
        positions, valid = (
            jnp.repeat(x, versions, axis=1) for x in (place_positions(batch), place_mask(batch))
        )
        x = temporal.norm(fused + temporal.position[...][positions])
        return temporal.attend(x, valid.astype(jnp.int32), text, fold_in(key, 2))

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
