"""The caption decoder: words from the words before them and from the frames of a moment.

Keys and values of frames are made once for a clip, whatever number of its moments are captioned;
those of words are kept from step to step in arrays of fixed size, so that a step costs the same
wherever it is.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from data.errors import InputError
from hero_jax.models.layers import (
    BLOCK_EPSILON,
    EPSILON,
    Attention,
    layer_norm,
    linear,
    parameter,
    pytorch_initializers,
)
from hero_jax.models.ops import dropout, fold, gelu


class MemoryAttention(Attention):
    """Attention whose keys and values are projected apart from the queries, to be kept."""

    def project(self, x):
        """x `[..., T, H]` -> keys and values, `[..., heads, T, H / heads]`."""
        return self._split(self.key(x)), self._split(self.value(x))

    def __call__(self, x, memory, mask, key=None):
        """Reads from a memory.

        Args:
          x: `[..., Q, H]`.
          memory: what `project` made of `[..., T, H]`.
          mask: `[..., Q or 1, T]`, True where a query may look. One that may look nowhere reads
            zeros: a mean over padding would depend on how much there is.

        Returns:
          `[..., Q, H]`, through the output projection.
        """
        keys, values = memory
        query = self._split(self.query(x))
        logits = jnp.einsum(
            "...nqd,...nkd->...nqk", query, keys, preferred_element_type=jnp.float32
        )
        logits = logits / jnp.sqrt(jnp.float32(query.shape[-1]))
        mask = mask[..., None, :, :]
        weights = jnp.where(mask, jax.nn.softmax(jnp.where(mask, logits, -1e9)), 0)
        weights = dropout(weights, self.dropout_rate, key)
        y = jnp.einsum("...nqk,...nkd->...nqd", weights.astype(values.dtype), values)
        return self.out(y.swapaxes(-2, -3).reshape(x.shape))

    def _split(self, x):
        return x.reshape(*x.shape[:-1], self.num_heads, -1).swapaxes(-2, -3)


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the frames, feed-forward; each with residual and LayerNorm."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size, inner, drawn = config.hidden_size, config.intermediate_size, pytorch_initializers
        self.self_attention = MemoryAttention(config, initializers=drawn, rngs=rngs)
        self.self_norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.frame_attention = MemoryAttention(config, initializers=drawn, rngs=rngs)
        self.frame_norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.inner = linear(
            size, inner, ("embed", "mlp"), config=config, rngs=rngs, initializers=drawn
        )
        self.out = linear(
            inner, size, ("mlp", "embed"), config=config, rngs=rngs, initializers=drawn
        )
        self.norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x, frames, frame_mask, key=None):
        """All words at once: x `[..., L, H]`, frames `[..., F, ...]`, frame_mask `[..., F]`."""
        causal = jnp.tri(x.shape[-2], dtype=bool)
        y = self.self_attention(x, self.self_attention.project(x), causal, fold(key, 0))
        return self._finish(x, y, frames, frame_mask, key)

    def step(self, x, kept, position, frames, frame_mask):
        """One word of each of K sequences that share their frames.

        Args:
          x: `[..., K, H]`.
          kept: keys and values of the words before, `[..., K, heads, T, H / heads]`.
          position: int32 scalar, where x stands; below T.

        Returns:
          x, and kept with this word's keys and values in it.
        """
        x = x[..., None, :]
        kept = tuple(
            jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=-2)
            for old, new in zip(kept, self.self_attention.project(x), strict=True)
        )
        before = jnp.arange(kept[0].shape[-2]) <= position
        y = self.self_attention(x, kept, before[None])
        return self._finish(x[..., 0, :], y[..., 0, :], frames, frame_mask, None), kept

    def _finish(self, x, attended, frames, frame_mask, key):
        """What follows self-attention."""

        def add(norm, x, y, number):
            return norm(x + dropout(y, self.dropout_rate, fold(key, number))).astype(self.dtype)

        x = add(self.self_norm, x, attended, 1)
        y = self.frame_attention(x, frames, frame_mask[..., None, :], fold(key, 2))
        x = add(self.frame_norm, x, y, 3)
        return add(self.norm, x, self.out(gelu(self.inner(x))), 4)


class CaptionDecoder(nnx.Module):
    """Word + position, LayerNorm, then a stack of layers.

    Embeddings of words and the language model head are the encoder's. All else is drawn as PyTorch
    does by default: the original initialises its encoder only. It has no dropout on embeddings.
    """

    def __init__(self, config, *, layers, positions, rngs: nnx.Rngs):
        """layers: how many; positions: of the longest caption, its start counted."""
        size = config.hidden_size
        self.position = parameter(
            nnx.initializers.normal(1.0), rngs.params(), (positions, size), (None, "embed")
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.layers = nnx.List([DecoderLayer(config, rngs=rngs) for _ in range(layers)])
        self.num_heads = config.num_heads
        self.dtype = jnp.dtype(config.dtype)

    def project(self, frames):
        """Frames `[..., F, H]` -> for each layer keys and values `[..., heads, F, H / heads]`."""
        return [layer.frame_attention.project(frames) for layer in self.layers]

    def __call__(self, words, frames, frame_mask, key=None):
        """Decodes captions that are known.

        Args:
          words: `[..., L, H]`, the word embeddings of the start and of all words but the last.
          frames: of `project`, `[..., heads, F, H / heads]`.
          frame_mask: `[..., F]`, True at the moment's frames.

        Returns:
          `[..., L, H]`, for the language model head.

        Raises:
          InputError: more words than there are positions.
        """
        length = words.shape[-2]
        self.check_length(length)
        x = self.norm(words + self.position[...][:length]).astype(self.dtype)
        for number, (layer, memory) in enumerate(zip(self.layers, frames, strict=True)):
            x = layer(x, memory, frame_mask, fold(key, number))
        return x

    def check_length(self, length):
        """Raises InputError if so many words have no positions."""
        if length > len(self.position):
            raise InputError(
                f"Captions of {length} words do not fit the {len(self.position)} positions of the "
                "decoder; raise the task's decoder_positions."
            )

    def empty(self, shape, length):
        """What `step` begins with: for each layer zeros `[*shape, heads, length, H / heads]`.

        Raises:
          InputError: more words than there are positions.
        """
        self.check_length(length)
        size = self.position.shape[-1] // self.num_heads
        zeros = jnp.zeros((*shape, self.num_heads, length, size), self.dtype)
        return [(zeros, zeros) for _ in self.layers]

    def step(self, words, position, kept, frames, frame_mask):
        """The next word of each of K sequences that share their frames; see `DecoderLayer.step`.

        Args:
          words: `[..., K, H]`, word embeddings; position: int32 scalar.
          kept: of `empty` or the step before.

        Returns:
          `[..., K, H]`, and kept for the step after.
        """
        x = self.norm(words + self.position[...][position]).astype(self.dtype)
        result = []
        for layer, own, memory in zip(self.layers, kept, frames, strict=True):
            x, own = layer.step(x, own, position, memory, frame_mask)
            result.append(own)
        return x, result
