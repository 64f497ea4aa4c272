"""The parts of every transformer here: linear maps, LayerNorm, attention, blocks.

Parameters carry logical axis names (`embed`, `mlp`, `heads`, `vocab`, `feature`), which
`hero_jax.sharding` maps to mesh axes. Parameters and LayerNorm are float32; matrix products run in
the module's `dtype`. Dropout keys are arguments: `key=None` means no dropout.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from hero_jax.models.ops import dropout, fold_in, gelu

# Epsilons of the original: LayerNorms inside transformer blocks, and all other LayerNorms.
BLOCK_EPSILON = 1e-12
EPSILON = 1e-5

# Names of the logical axes of a parameter; None for an axis that is never sharded.
Axes = tuple[str | None, ...]
# Draws a parameter: `(key, shape, dtype) -> array`.
Initializer = Callable[..., jax.Array]
# Returns the initializers of a kernel and its bias, from the config and the input size.
LinearInitializers = Callable[[Config, int], tuple[Initializer, Initializer]]


def parameter(
    initializer: Initializer, key: jax.Array, shape: tuple[int, ...], axes: Axes
) -> nnx.Param[jax.Array]:
    """Returns a float32 parameter with one logical axis name (or None) per dimension."""
    # Shardings are applied to the whole state at once, when the mesh is known.
    return nnx.Param(initializer(key, shape, jnp.float32), out_sharding=axes, eager_sharding=False)


def bert_initializers(config: Config, in_size: int) -> tuple[Initializer, Initializer]:
    """Returns BERT's initializers of a kernel (normal) and its bias (zero).

    The original initialises its encoder with them.
    """
    del in_size
    return nnx.initializers.normal(config.initializer_range), nnx.initializers.zeros_init()


def pytorch_initializers(config: Config, in_size: int) -> tuple[Initializer, Initializer]:
    """Returns PyTorch's default initializers of a kernel and its bias.

    The original keeps them outside of its encoder.
    """
    del config
    uniform = uniform_initializer(in_size**-0.5)
    return uniform, uniform


def uniform_initializer(bound: float) -> Initializer:
    """Returns an initializer that draws uniformly from -bound to bound."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


def linear(
    in_size: int,
    out_size: int,
    axes: Axes,
    *,
    config: Config,
    rngs: nnx.Rngs,
    use_bias: bool = True,
    initializers: LinearInitializers = bert_initializers,
) -> nnx.Linear:
    """Returns a linear map; `axes` names its input and output dimension."""
    kernel, bias = initializers(config, in_size)
    return nnx.Linear(
        in_size,
        out_size,
        use_bias=use_bias,
        dtype=jnp.dtype(config.dtype),
        kernel_init=_with_axes(kernel, axes),
        bias_init=_with_axes(bias, axes[1:]),
        rngs=rngs,
    )


def layer_norm(size: int, epsilon: float, *, axis: str = "embed", rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Returns a float32 LayerNorm over the last dimension; `axis` is its logical name."""
    return nnx.LayerNorm(
        size,
        epsilon=epsilon,
        dtype=jnp.float32,
        # E[x²] - E[x]² would lose the precision that an epsilon of 1e-12 preserves.
        use_fast_variance=False,
        scale_init=_with_axes(nnx.initializers.ones_init(), (axis,)),
        bias_init=_with_axes(nnx.initializers.zeros_init(), (axis,)),
        rngs=rngs,
    )


def embedding(
    size: int, features: int, axes: Axes, *, config: Config, rngs: nnx.Rngs
) -> nnx.Param[jax.Array]:
    """Returns an embedding table `[size, features]`."""
    initializer = nnx.initializers.normal(config.initializer_range)
    return parameter(initializer, rngs.params(), (size, features), axes)


def _with_axes(initializer: Initializer, axes: Axes) -> Initializer:
    return nnx.with_partitioning(initializer, axes, eager_sharding=False)


class AttentionProjections(nnx.Module):
    """The four linear maps of multi-head attention: queries, keys, values and output."""

    def __init__(
        self,
        config: Config,
        *,
        initializers: LinearInitializers = bert_initializers,
        rngs: nnx.Rngs,
    ):
        def square(*axes: str) -> nnx.Linear:
            size = config.hidden_size
            return linear(size, size, axes, config=config, initializers=initializers, rngs=rngs)

        self.query = square("embed", "heads")
        self.key = square("embed", "heads")
        self.value = square("embed", "heads")
        self.out = square("heads", "embed")
        self.num_heads = config.num_heads
        self.dropout_rate = config.attention_dropout


class Attention(AttentionProjections):
    """Multi-head self-attention with its output projection."""

    def __call__(self, x: jax.Array, mask: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Attends within a sequence.

        Args:
          x: `[..., T, H]`.
          mask: `[..., T, T]`, True where the first position may attend to the second.

        Returns:
          `[..., T, H]`.
        """

        def split_heads(y: jax.Array) -> jax.Array:
            return y.reshape(*y.shape[:-1], self.num_heads, -1)

        query = split_heads(self.query(x))
        keys, values = split_heads(self.key(x)), split_heads(self.value(x))
        logits = jnp.einsum(
            "...qnd,...knd->...nqk", query, keys, preferred_element_type=jnp.float32
        )
        logits = logits / jnp.sqrt(jnp.float32(query.shape[-1]))
        logits = jnp.where(mask[..., None, :, :], logits, -1e9)
        weights = dropout(jax.nn.softmax(logits), self.dropout_rate, key)
        y = jnp.einsum("...nqk,...knd->...qnd", weights.astype(values.dtype), values)
        return self.out(y.reshape(x.shape))


class SelfAttention(nnx.Module):
    """Self-attention with residual and LayerNorm: `LN(x + dropout(attention(x)))`."""

    def __init__(
        self,
        config: Config,
        *,
        initializers: LinearInitializers = bert_initializers,
        rngs: nnx.Rngs,
    ):
        self.attention = Attention(config, initializers=initializers, rngs=rngs)
        self.norm = layer_norm(config.hidden_size, BLOCK_EPSILON, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x: jax.Array, mask: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Maps `[..., T, H]` to `[..., T, H]`; the mask is that of `Attention`."""
        y = dropout(self.attention(x, mask, fold_in(key, 0)), self.dropout_rate, fold_in(key, 1))
        return self.norm(x + y).astype(self.dtype)


class Block(nnx.Module):
    """A post-LayerNorm transformer block: self-attention, then feed-forward."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size, inner = config.hidden_size, config.intermediate_size
        self.self_attention = SelfAttention(config, rngs=rngs)
        self.inner = linear(size, inner, ("embed", "mlp"), config=config, rngs=rngs)
        self.out = linear(inner, size, ("mlp", "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x: jax.Array, mask: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Maps `[..., T, H]` to `[..., T, H]`; the mask is that of `Attention`."""
        x = self.self_attention(x, mask, fold_in(key, 0))
        y = dropout(self.out(gelu(self.inner(x))), self.dropout_rate, fold_in(key, 1))
        return self.norm(x + y).astype(self.dtype)


class Transformer(nnx.Module):
    """A stack of blocks."""

    def __init__(self, config: Config, num_layers: int, *, rngs: nnx.Rngs):
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(num_layers)])
        self.remat = config.remat

    def __call__(self, x: jax.Array, mask: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Maps `[..., T, H]` to `[..., T, H]`; the mask is that of `Attention`."""
        run = nnx.remat(Block.__call__) if self.remat else Block.__call__
        for number, block in enumerate(self.blocks):
            x = run(block, x, mask, fold_in(key, number))
        return x


class Projection(nnx.Module):
    """`relu(linear(dropout(LN(x))))`, the original's LinearLayer."""

    def __init__(
        self,
        in_size: int,
        in_axis: str,
        config: Config,
        *,
        initializers: LinearInitializers = bert_initializers,
        rngs: nnx.Rngs,
    ):
        self.norm = layer_norm(in_size, EPSILON, axis=in_axis, rngs=rngs)
        # The kernel of a square map must not name the same mesh axis twice.
        axes = (None if in_axis == "embed" else in_axis, "embed")
        self.linear = linear(
            in_size, config.hidden_size, axes, config=config, initializers=initializers, rngs=rngs
        )
        self.dropout_rate = config.dropout

    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Maps `[..., in_size]` to `[..., H]`."""
        return jax.nn.relu(self.linear(dropout(self.norm(x), self.dropout_rate, key)))


class MLP(nnx.Module):
    """`linear(LN(gelu(linear(x))))`."""

    def __init__(
        self,
        inner_size: int,
        out_size: int,
        config: Config,
        *,
        out_axis: str | None = None,
        initializers: LinearInitializers = bert_initializers,
        rngs: nnx.Rngs,
    ):
        def make_linear(in_size: int, out_size: int, *axes: str | None) -> nnx.Linear:
            return linear(
                in_size, out_size, axes, config=config, initializers=initializers, rngs=rngs
            )

        self.inner = make_linear(config.hidden_size, inner_size, "embed", "mlp")
        self.norm = layer_norm(inner_size, EPSILON, axis="mlp", rngs=rngs)
        self.out = make_linear(inner_size, out_size, "mlp", out_axis)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., H]` to `[..., out_size]`."""
        return self.out(self.norm(gelu(self.inner(x))))
