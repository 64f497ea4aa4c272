"""The heads: words, features, frame order, query vectors, spans; of questions and statements."""

import jax
import jax.numpy as jnp
from flax import nnx

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
from hero_jax.models.ops import dropout, fold, gelu

SPAN_KERNEL_WIDTH = 5
NORM_FLOOR = 1e-5
OUTSIDE = -1e4


class LanguageModelHead(nnx.Module):
    """Dense, GELU, LayerNorm, product with the word embeddings, bias."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.dense = linear(size, size, (None, "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.bias = parameter(
            nnx.initializers.zeros_init(), rngs.params(), (config.vocab_size,), (None,)
        )
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x, word_embeddings):
        """x `[..., H]`, word_embeddings `[rows, H]` -> float32 logits `[..., vocabulary]`."""
        x = self.norm(gelu(self.dense(x))).astype(self.dtype)
        words = word_embeddings.astype(self.dtype)
        logits = jnp.einsum("...h,vh->...v", x, words, preferred_element_type=jnp.float32)
        return logits[..., : self.bias.shape[0]] + self.bias[...]


class FeatureHead(nnx.Module):
    """Predicts a frame's features: linear, GELU, LayerNorm, linear to D."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.mlp = MLP(size, config.feature_size, config, out_axis="feature", rngs=rngs)

    def __call__(self, x):
        """`[..., H]` -> `[..., D]`."""
        return self.mlp(x)


class OrderHead(nnx.Module):
    """Predicts a frame's original position: linear to 2H, GELU, LayerNorm, linear."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        self.mlp = MLP(2 * config.hidden_size, config.max_frames, config, rngs=rngs)

    def __call__(self, x):
        """`[..., H]` -> float32 logits `[..., max_frames]`."""
        return self.mlp(x).astype(jnp.float32)


class QueryHead(nnx.Module):
    """Turns encoded words into one vector per query.

    Projection, position embedding and LayerNorm, one self-attention without feed-forward, then a
    weighted mean of the words, the weights a softmax of a learned direction. Drawn as PyTorch does
    by default: the original initialises its encoder, and this and the span head come after.
    """

    def __init__(self, config, *, rngs: nnx.Rngs):
        size, drawn = config.hidden_size, pytorch_initializers
        self.projection = Projection(size, "embed", config, initializers=drawn, rngs=rngs)
        self.position = parameter(
            nnx.initializers.normal(1.0),
            rngs.params(),
            (config.query_positions, size),
            (None, "embed"),
        )
        self.norm = layer_norm(size, EPSILON, rngs=rngs)
        self.self_attention = SelfAttention(config, initializers=drawn, rngs=rngs)
        self.pool = pool_weights(config, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, encoded, queries, key=None):
        """Pools packed rows into queries.

        Args:
          encoded: `[G, R, T, H]`, cross-modal outputs of the query rows.
          queries: `position_ids`, `segment_ids`, `query_index` `[G, R, T]` (which of the group's
            N queries a slot belongs to, -1 for none) and `query_mask` `[G, N]`.

        Returns:
          `[G, N, H]` float32; zero where query_mask is False.
        """
        x = self.projection(encoded, fold(key, 0))
        x = self.norm(x + self.position[...][queries["position_ids"]])
        x = dropout(x.astype(self.dtype), self.dropout_rate, fold(key, 1))
        segment_ids = queries["segment_ids"]
        mask = segment_ids[..., :, None] == segment_ids[..., None, :]
        x = self.self_attention(x, mask, fold(key, 2))
        groups, num_queries = queries["query_mask"].shape
        index = queries["query_index"].reshape(groups, 1, -1)
        mine = index == jnp.arange(num_queries)[None, :, None]
        logits = self.pool(x).astype(jnp.float32).reshape(groups, 1, -1)
        # Finite, and masked again after, so that an absent query yields zeros and no NaN.
        weights = jnp.where(mine, jax.nn.softmax(jnp.where(mine, logits, -1e9)), 0)
        x = x.reshape(groups, -1, x.shape[-1]).astype(jnp.float32)
        return jnp.einsum("gns,gsh->gnh", weights, x)


class SpanHead(nnx.Module):
    """Start and end logits of a query in a clip."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.query = linear(
            size, size, (None, "embed"), config=config, rngs=rngs, initializers=pytorch_initializers
        )
        # PyTorch's default for a convolution with five inputs, too.
        uniform = uniform_initializer(SPAN_KERNEL_WIDTH**-0.5)
        self.start = parameter(uniform, rngs.params(), (SPAN_KERNEL_WIDTH,), (None,))
        self.end = parameter(uniform, rngs.params(), (SPAN_KERNEL_WIDTH,), (None,))

    def __call__(self, queries, frames, valid):
        """Span logits.

        Args:
          queries: `[..., H]`.
          frames: `[..., F, H]`, the frames of each query's clip.
          valid: `[..., F]`.

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
        return tuple(
            jnp.where(valid, windows @ kernel[...], OUTSIDE) for kernel in (self.start, self.end)
        )


class ChoiceHead(nnx.Module):
    """A logit for every version of a clip: its frames, pooled by a learned weight, through an MLP.

    Drawn as PyTorch does by default, as the other heads of downstream tasks.
    """

    def __init__(self, config, *, rngs: nnx.Rngs):
        size, drawn = config.hidden_size, pytorch_initializers
        self.pool = pool_weights(config, rngs=rngs)
        self.mlp = MLP(2 * size, 1, config, initializers=drawn, rngs=rngs)

    def __call__(self, frames, valid):
        """frames `[..., F, H]`, valid `[..., F]` -> float32 logits `[...]`."""
        weights = masked_softmax(self.pool(frames)[..., 0], valid)
        pooled = jnp.einsum("...f,...fh->...h", weights, frames.astype(jnp.float32))
        return self.mlp(pooled)[..., 0].astype(jnp.float32)


class QuestionHead(nnx.Module):
    """A logit for every answer, and at every frame whether the moment begins or ends there."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size, drawn = config.hidden_size, pytorch_initializers
        self.answer = ChoiceHead(config, rngs=rngs)
        self.span_pool = pool_weights(config, rngs=rngs)
        self.span_mlp = MLP(2 * size, 2, config, initializers=drawn, rngs=rngs)

    def __call__(self, frames, valid, choices):
        """Logits of answers and of spans.

        Args:
          frames: `[..., V, F, H]`, a clip's frames with each answer.
          valid: `[..., F]`; choices: `[..., V]`, True where there is an answer.

        Returns:
          logits `[..., V]`, start_logits and end_logits `[..., F]`, float32; -1e4 where there is no
          answer, and outside of the clip.
        """
        each = jnp.broadcast_to(valid[..., None, :], frames.shape[:-1])
        logits = jnp.where(choices, self.answer(frames, each), OUTSIDE)
        # Here answers are weighed against each other, frame by frame.
        weights = self.span_pool(frames)[..., 0].swapaxes(-1, -2)
        weights = masked_softmax(weights, choices[..., None, :])
        pooled = jnp.einsum("...fv,...vfh->...fh", weights, frames.astype(jnp.float32))
        start, end = jnp.moveaxis(self.span_mlp(pooled).astype(jnp.float32), -1, 0)
        return logits, jnp.where(valid, start, OUTSIDE), jnp.where(valid, end, OUTSIDE)


def pool_weights(config, *, rngs: nnx.Rngs) -> nnx.Linear:
    """A learned direction, `[..., H]` -> `[..., 1]`."""
    return linear(
        config.hidden_size,
        1,
        ("embed", None),
        config=config,
        rngs=rngs,
        use_bias=False,
        initializers=pytorch_initializers,
    )


def masked_softmax(logits, valid):
    """Softmax of the last axis where valid, float32; even where nothing is."""
    return jax.nn.softmax(jnp.where(valid, logits.astype(jnp.float32), OUTSIDE))


def clip_scores(queries, frames, valid):
    """Clip score: the maximum over a clip's frames of the cosine with the query.

    Args:
      queries: `[N, H]`; frames: `[C, F, H]`; valid: `[C, F]`.

    Returns:
      `[N, C]` float32; OUTSIDE for a clip without frames.
    """
    queries, frames = normalize(queries), normalize(frames)
    cosine = jnp.einsum("nh,cfh->ncf", queries, frames, preferred_element_type=jnp.float32)
    return jnp.where(valid[None], cosine, OUTSIDE).max(axis=-1)


def normalize(x):
    """To length 1, lengths floored at 1e-5; float32."""
    x = x.astype(jnp.float32)
    # The floor is inside the root as well, so that the gradient at zero is zero and not NaN.
    length = jnp.sqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), NORM_FLOOR**2))
    return x / length
