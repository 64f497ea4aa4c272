"""Heads: words, features, frame order, query vectors, spans, answers and statements."""

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from hero_jax.models.batch import Batch, same_segment
from hero_jax.models.layers import (
    EPSILON,
    MLP,
    Projection,
    SelfAttention,
    layer_norm,
    linear,
    parameter,
    pytorch_initializers,
    uniform_initializer,
)
from hero_jax.models.ops import add_bias, dropout, fold_in, gelu

SPAN_KERNEL_WIDTH = 5
# Norms of vectors are floored at this before a division.
NORM_FLOOR = 1e-5
# Logit or score outside of a clip, and of absent answers.
OUTSIDE = -1e4
# Logit of a row of padding in the table of words; its exponential is 0 beside any word's.
NO_WORD = -1e9


class LanguageModelHead(nnx.Module):
    """Dense, GELU, LayerNorm, product with the word embeddings, bias."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.dense = linear(size, size, (None, "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.bias = parameter(
            nnx.initializers.zeros_init(), rngs.params(), (config.vocab_size,), (None,)
        )
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x: jax.Array, word_embeddings: jax.Array) -> jax.Array:
        """Returns logits over the rows of the word embeddings.

        Args:
          x: `[..., H]`.
          word_embeddings: `[rows, H]`, at least as many rows as there are words.

        Returns:
          `[..., rows]` float32, NO_WORD for rows of padding. They stay, because a copy of the
          logits without them takes as long as a pass over all of them.
        """
        x = self.norm(gelu(self.dense(x))).astype(self.dtype)
        words = word_embeddings.astype(self.dtype)
        # With a single axis of slots, the gradient of the words needs no transposed copy on a CPU.
        slots = x.reshape(-1, x.shape[-1])
        logits = jnp.einsum("sh,vh->sv", slots, words, preferred_element_type=jnp.float32)
        padding = words.shape[0] - self.bias.shape[0]
        bias = jnp.pad(self.bias[...], (0, padding), constant_values=NO_WORD)
        return add_bias(logits, bias).reshape(*x.shape[:-1], -1)


class FeatureHead(nnx.Module):
    """Predicts the features of a frame: linear, GELU, LayerNorm, linear to D."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.mlp = MLP(size, config.feature_size, config, out_axis="feature", rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., H]` to `[..., D]`."""
        return self.mlp(x)


class OrderHead(nnx.Module):
    """Predicts the original position of a frame: linear to 2H, GELU, LayerNorm, linear."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.mlp = MLP(2 * config.hidden_size, config.max_frames, config, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., H]` to float32 logits `[..., max_frames]`."""
        return self.mlp(x).astype(jnp.float32)


class QueryHead(nnx.Module):
    """Pools encoded words into one vector per query.

    It consists of a projection, position embeddings and LayerNorm, one self-attention without
    feed-forward, and a mean of the words, weighted by a softmax of learned scores. Its
    initializers are PyTorch's defaults, since the original applies its own to the encoder only.
    """

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size, initializers = config.hidden_size, pytorch_initializers
        self.projection = Projection(size, "embed", config, initializers=initializers, rngs=rngs)
        self.position = parameter(
            nnx.initializers.normal(1.0),
            rngs.params(),
            (config.query_positions, size),
            (None, "embed"),
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.self_attention = SelfAttention(config, initializers=initializers, rngs=rngs)
        self.pool = pooling_scores(config, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(
        self, encoded: jax.Array, queries: Batch, key: jax.Array | None = None
    ) -> jax.Array:
        """Pools packed rows into queries.

        Args:
          encoded: `[G, R, T, H]`, cross-modal outputs of the query rows.
          queries: `position_ids`, `segment_ids`, `query_index` `[G, R, T]` (which of the group's
            N queries a slot belongs to, -1 for none) and `query_mask` `[G, N]`.
          key: dropout key.

        Returns:
          `[G, N, H]` float32; zero where query_mask is False.
        """
        x = self.projection(encoded, fold_in(key, 0))
        x = self.norm(x + self.position[...][queries["position_ids"]])
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold_in(key, 1))
        x = self.self_attention(x, same_segment(queries["segment_ids"]), fold_in(key, 2))
        groups, num_queries = queries["query_mask"].shape
        index = queries["query_index"].reshape(groups, 1, -1)
        in_query = index == jnp.arange(num_queries)[None, :, None]
        logits = self.pool(x).astype(jnp.float32).reshape(groups, 1, -1)
        # Logits are finite and weights are masked again, so that an absent query gives zeros
        # instead of NaNs.
        weights = jnp.where(in_query, jax.nn.softmax(jnp.where(in_query, logits, -1e9)), 0)
        x = x.reshape(groups, -1, x.shape[-1]).astype(jnp.float32)
        return jnp.einsum("gns,gsh->gnh", weights, x)


class SpanHead(nnx.Module):
    """Start and end logits of a query in a clip."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.query = linear(
            size, size, (None, "embed"), config=config, rngs=rngs, initializers=pytorch_initializers
        )
        # PyTorch's default for a convolution with five inputs.
        uniform = uniform_initializer(SPAN_KERNEL_WIDTH**-0.5)
        self.start = parameter(uniform, rngs.params(), (SPAN_KERNEL_WIDTH,), (None,))
        self.end = parameter(uniform, rngs.params(), (SPAN_KERNEL_WIDTH,), (None,))

    def __call__(
        self, queries: jax.Array, frames: jax.Array, valid: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Convolves the similarities of a query and the frames of a clip.

        Args:
          queries: `[..., H]`.
          frames: `[..., F, H]`, the frames of each query's clip.
          valid: `[..., F]` bool.

        Returns:
          start_logits and end_logits, `[..., F]` float32; -1e4 outside the clip.
        """
        similarity = jnp.einsum(
            "...h,...fh->...f",
            self.query(queries).astype(frames.dtype),
            frames,
            preferred_element_type=jnp.float32,
        )
        similarity = jnp.where(valid, similarity, 0)
        margin = SPAN_KERNEL_WIDTH // 2
        padded = jnp.pad(similarity, [(0, 0)] * (similarity.ndim - 1) + [(margin, margin)])
        windows = jnp.stack(
            [padded[..., i : i + valid.shape[-1]] for i in range(SPAN_KERNEL_WIDTH)], axis=-1
        )
        start_logits = jnp.where(valid, windows @ self.start[...], OUTSIDE)
        end_logits = jnp.where(valid, windows @ self.end[...], OUTSIDE)
        return start_logits, end_logits


class ChoiceHead(nnx.Module):
    """A logit for every version of a clip: pooled frames through an MLP.

    Its initializers are PyTorch's defaults, as in the other heads of downstream tasks.
    """

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.pool = pooling_scores(config, rngs=rngs)
        self.mlp = MLP(2 * size, 1, config, initializers=pytorch_initializers, rngs=rngs)

    def __call__(self, frames: jax.Array, valid: jax.Array) -> jax.Array:
        """Returns float32 logits `[...]` of frames `[..., F, H]` with valid `[..., F]` bool."""
        weights = masked_softmax(self.pool(frames)[..., 0], valid)
        pooled = jnp.einsum("...f,...fh->...h", weights, frames.astype(jnp.float32))
        return self.mlp(pooled)[..., 0].astype(jnp.float32)


class QuestionHead(nnx.Module):
    """Logits of the answers, and of the frames as start and end of the moment."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.answer = ChoiceHead(config, rngs=rngs)
        self.span_pool = pooling_scores(config, rngs=rngs)
        self.span_mlp = MLP(2 * size, 2, config, initializers=pytorch_initializers, rngs=rngs)

    def __call__(
        self, frames: jax.Array, valid: jax.Array, choices: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns logits of answers and of spans.

        Args:
          frames: `[..., V, F, H]`, the frames of a clip, encoded with each answer.
          valid: `[..., F]` bool.
          choices: `[..., V]` bool, True where there is an answer.

        Returns:
          logits `[..., V]`, start_logits and end_logits `[..., F]`, float32; -1e4 for absent
          answers and outside the clip.
        """
        valid_by_answer = jnp.broadcast_to(valid[..., None, :], frames.shape[:-1])
        logits = jnp.where(choices, self.answer(frames, valid_by_answer), OUTSIDE)
        # Spans are pooled over the answers, frame by frame.
        weights = self.span_pool(frames)[..., 0].swapaxes(-1, -2)
        weights = masked_softmax(weights, choices[..., None, :])
        pooled = jnp.einsum("...fv,...vfh->...fh", weights, frames.astype(jnp.float32))
        start, end = jnp.moveaxis(self.span_mlp(pooled).astype(jnp.float32), -1, 0)
        return logits, jnp.where(valid, start, OUTSIDE), jnp.where(valid, end, OUTSIDE)


def pooling_scores(config: Config, *, rngs: nnx.Rngs) -> nnx.Linear:
    """Returns a linear map `[..., H]` -> `[..., 1]` without bias, for the weights of a mean."""
    return linear(
        config.hidden_size,
        1,
        ("embed", None),
        config=config,
        rngs=rngs,
        use_bias=False,
        initializers=pytorch_initializers,
    )


def masked_softmax(logits: jax.Array, valid: jax.Array) -> jax.Array:
    """Returns the float32 softmax over the valid entries of the last axis.

    It is uniform if no entry is valid.
    """
    return jax.nn.softmax(jnp.where(valid, logits.astype(jnp.float32), OUTSIDE))


def clip_scores(queries: jax.Array, frames: jax.Array, valid: jax.Array) -> jax.Array:
    """Returns clip scores: the maximum over a clip's frames of the cosine with the query.

    Args:
      queries: `[N, H]`.
      frames: `[C, F, H]`.
      valid: `[C, F]` bool.

    Returns:
      `[N, C]` float32; OUTSIDE for a clip without frames.
    """
    queries, frames = normalize(queries), normalize(frames)
    cosine = jnp.einsum("nh,cfh->ncf", queries, frames, preferred_element_type=jnp.float32)
    return jnp.where(valid[None], cosine, OUTSIDE).max(axis=-1)


def normalize(x: jax.Array) -> jax.Array:
    """Divides vectors `[..., H]` by their norms, floored at `NORM_FLOOR`; float32."""
    x = x.astype(jnp.float32)
    # The floor is inside the root, so that the gradient at zero is zero and not NaN.
    norm = jnp.sqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), NORM_FLOOR**2))
    return x / norm
