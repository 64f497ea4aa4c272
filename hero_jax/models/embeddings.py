"""Embeddings of words and of frames, which the transformers read."""

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from hero_jax.models.layers import EPSILON, embedding, layer_norm, linear

# Text and frames share one row of the token type table; the other row is never read.
TOKEN_TYPE = 1
# The row of a mask embedding that stands for a masked frame.
MASKED = 1
# The rows of the vocabulary's table are padded to a multiple of this, for the matrix units.
VOCABULARY_MULTIPLE = 128


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
    features: jax.Array, masked: jax.Array | None, mask_embedding: jax.Array | None
) -> jax.Array:
    """Replaces the features of masked frames by the mask embedding.

    Args:
      features: `[..., D]`.
      masked: `[...]` bool, or None for no frame.
      mask_embedding: `[2, D]`; None in a model that hides no frame.

    Returns:
      `[..., D]` float32.
    """
    features = features.astype(jnp.float32)
    if masked is None:
        return features
    assert mask_embedding is not None
    return jnp.where(masked[..., None], mask_embedding[MASKED], features)
