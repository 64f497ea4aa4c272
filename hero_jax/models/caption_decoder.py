"""The caption decoder: predicts a word from the words before it and the frames of a moment.

Keys and values of frames are computed once per clip, however many of its moments are captioned.
Those of words are cached from step to step in arrays of fixed size, so every step costs the same.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from data.errors import InputError
from hero_jax.models.layers import (
    BLOCK_EPSILON,
    EPSILON,
    AttentionProjections,
    layer_norm,
    linear,
    parameter,
    pytorch_initializers,
)
from hero_jax.models.ops import dropout, fold_in, gelu

# Projected keys and values, `[..., heads, T, H / heads]` each.
KeysValues = tuple[jax.Array, jax.Array]


class MemoryAttention(AttentionProjections):
    """Multi-head attention to a memory of projected keys and values."""

    def project(self, x: jax.Array) -> KeysValues:
        """Projects x `[..., T, H]` to keys and values, `[..., heads, T, H / heads]` each."""
        return self._split_heads(self.key(x)), self._split_heads(self.value(x))

    def __call__(
        self, x: jax.Array, memory: KeysValues, mask: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Attends to a memory.

        Args:
          x: `[..., Q, H]`.
          memory: the result of `project` for `[..., T, H]`.
          mask: `[..., Q or 1, T]`, True where a query may attend. A query that may attend nowhere
            gets zeros, because a mean over padding would depend on the amount of padding.
          key: dropout key.

        Returns:
          `[..., Q, H]`, after the output projection.
        """
        keys, values = memory
        query = self._split_heads(self.query(x))
        logits = jnp.einsum(
            "...nqd,...nkd->...nqk", query, keys, preferred_element_type=jnp.float32
        )
        logits = logits / jnp.sqrt(jnp.float32(query.shape[-1]))
        mask = mask[..., None, :, :]
        weights = jnp.where(mask, jax.nn.softmax(jnp.where(mask, logits, -1e9)), 0)
        weights = dropout(weights, self.dropout_rate, key)
        y = jnp.einsum("...nqk,...nkd->...nqd", weights.astype(values.dtype), values)
        return self.out(y.swapaxes(-2, -3).reshape(x.shape))

    def _split_heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.num_heads, -1).swapaxes(-2, -3)


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the frames, feed-forward; each with residual and LayerNorm."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size, inner = config.hidden_size, config.intermediate_size
        initializers = pytorch_initializers
        self.self_attention = MemoryAttention(config, initializers=initializers, rngs=rngs)
        self.self_norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.frame_attention = MemoryAttention(config, initializers=initializers, rngs=rngs)
        self.frame_norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.inner = linear(
            size, inner, ("embed", "mlp"), config=config, rngs=rngs, initializers=initializers
        )
        self.out = linear(
            inner, size, ("mlp", "embed"), config=config, rngs=rngs, initializers=initializers
        )
        self.norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(
        self,
        x: jax.Array,
        frames: KeysValues,
        frame_mask: jax.Array,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Decodes all words at once, each from the words up to it.

        Args:
          x: `[..., L, H]`.
          frames: keys and values of F frames.
          frame_mask: `[..., F]` bool.
          key: dropout key.

        Returns:
          `[..., L, H]`.
        """
        causal = jnp.tri(x.shape[-2], dtype=bool)
        memory = self.self_attention.project(x)
        attended = self.self_attention(x, memory, causal, fold_in(key, 0))
        return self._after_self_attention(x, attended, frames, frame_mask, key)

    def step(
        self,
        x: jax.Array,
        cache: KeysValues,
        position: jax.Array,
        frames: KeysValues,
        frame_mask: jax.Array,
    ) -> tuple[jax.Array, KeysValues]:
        """Decodes one word of each of K sequences about the same frames.

        Args:
          x: `[..., K, H]`.
          cache: keys and values of the words so far, `[..., K, heads, T, H / heads]`.
          position: int32 scalar below T, the position of x.
          frames: keys and values of F frames.
          frame_mask: `[..., F]` bool.

        Returns:
          `[..., K, H]`, and the cache with the keys and values of this word.
        """
        x = x[..., None, :]
        new_keys, new_values = self.self_attention.project(x)
        keys = jax.lax.dynamic_update_slice_in_dim(cache[0], new_keys, position, axis=-2)
        values = jax.lax.dynamic_update_slice_in_dim(cache[1], new_values, position, axis=-2)
        mask = jnp.arange(keys.shape[-2]) <= position
        attended = self.self_attention(x, (keys, values), mask[None])
        x, attended = x[..., 0, :], attended[..., 0, :]
        return self._after_self_attention(x, attended, frames, frame_mask, None), (keys, values)

    def _after_self_attention(
        self,
        x: jax.Array,
        attended: jax.Array,
        frames: KeysValues,
        frame_mask: jax.Array,
        key: jax.Array | None,
    ) -> jax.Array:
        def add(norm: nnx.LayerNorm, x: jax.Array, y: jax.Array, number: int) -> jax.Array:
            y = dropout(y, self.dropout_rate, fold_in(key, number))
            return norm(x + y).astype(self.dtype)

        x = add(self.self_norm, x, attended, 1)
        y = self.frame_attention(x, frames, frame_mask[..., None, :], fold_in(key, 2))
        x = add(self.frame_norm, x, y, 3)
        return add(self.norm, x, self.out(gelu(self.inner(x))), 4)


class CaptionDecoder(nnx.Module):
    """Word + position, LayerNorm, then a stack of layers; no dropout on embeddings.

    Word embeddings and the language model head are those of the encoder. The initializers are
    PyTorch's defaults, since the original applies its own to the encoder only.
    """

    def __init__(self, config: Config, *, layers: int, positions: int, rngs: nnx.Rngs):
        """Initializes a decoder.

        Args:
          config: the model's settings.
          layers: number of layers.
          positions: number of tokens of the longest caption, its start included.
          rngs: the generators of the parameters.
        """
        size = config.hidden_size
        self.position = parameter(
            nnx.initializers.normal(1.0), rngs.params(), (positions, size), (None, "embed")
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.layers = nnx.List([DecoderLayer(config, rngs=rngs) for _ in range(layers)])
        self.num_heads = config.num_heads
        self.dtype = jnp.dtype(config.dtype)

    def project(self, frames: jax.Array) -> list[KeysValues]:
        """Projects frames `[..., F, H]` to keys and values for each layer."""
        return [layer.frame_attention.project(frames) for layer in self.layers]

    def __call__(
        self,
        words: jax.Array,
        frames: list[KeysValues],
        frame_mask: jax.Array,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Decodes known captions.

        Args:
          words: `[..., L, H]`, the word embeddings of the start and of all words but the last.
          frames: the result of `project`, `[..., heads, F, H / heads]`.
          frame_mask: `[..., F]`, True at the moment's frames.
          key: dropout key.

        Returns:
          `[..., L, H]`, for the language model head.

        Raises:
          InputError: there are more words than positions.
        """
        length = words.shape[-2]
        self.check_length(length)
        x = self.norm(words + self.position[...][:length]).astype(self.dtype)
        for number, (layer, memory) in enumerate(zip(self.layers, frames, strict=True)):
            x = layer(x, memory, frame_mask, fold_in(key, number))
        return x

    def check_length(self, length: int) -> None:
        """Raises InputError if there are fewer than `length` positions."""
        if length > len(self.position):
            raise InputError(
                f"captions of {length} words do not fit the {len(self.position)} positions of the "
                "decoder: raise decoder_positions of the captioning task"
            )

    def init_cache(self, shape: tuple[int, ...], length: int) -> list[KeysValues]:
        """Returns the cache of the first `step`: zeros for each layer.

        Args:
          shape: leading axes `[..., K]`.
          length: number of words to be decoded.

        Returns:
          For each layer keys and values `[*shape, heads, length, H / heads]`.

        Raises:
          InputError: there are more words than positions.
        """
        self.check_length(length)
        size = self.position.shape[-1] // self.num_heads
        zeros = jnp.zeros((*shape, self.num_heads, length, size), self.dtype)
        return [(zeros, zeros) for _ in self.layers]

    def step(
        self,
        words: jax.Array,
        position: jax.Array,
        cache: list[KeysValues],
        frames: list[KeysValues],
        frame_mask: jax.Array,
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Decodes the next word of each of K sequences about the same frames.

        Args:
          words: `[..., K, H]`, word embeddings.
          position: int32 scalar, the position of the words.
          cache: the result of `init_cache` or of the previous step.
          frames: the result of `project`.
          frame_mask: `[..., F]`, True at the moment's frames.

        Returns:
          `[..., K, H]` for the language model head, and the cache for the next step.
        """
        x = self.norm(words + self.position[...][position]).astype(self.dtype)
        new_cache = []
        for layer, layer_cache, memory in zip(self.layers, cache, frames, strict=True):
            x, layer_cache = layer.step(x, layer_cache, position, memory, frame_mask)
            new_cache.append(layer_cache)
        return x, new_cache
