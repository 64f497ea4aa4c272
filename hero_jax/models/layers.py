"""The parts of which every transformer here is made: linear maps, LayerNorm, attention, block.

Parameters carry logical axis names (`embed`, `mlp`, `heads`, `vocab`, `feature`), which
`hero_jax.sharding` maps to mesh axes. Parameters and LayerNorm are float32; matrix products run in
the module's `dtype`. Dropout keys are arguments: `key=None` means no dropout.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from hero_jax.models.ops import dropout, fold, gelu

# LayerNorms inside transformer blocks and embeddings, and all the others (golden README).
BLOCK_EPSILON = 1e-12
EPSILON = 1e-5


def parameter(initializer, key, shape, axes) -> nnx.Param:
    """A float32 parameter with one logical axis name (or None) per dimension."""
    # Shardings are laid on the whole state at once, when the mesh is known.
    return nnx.Param(initializer(key, shape, jnp.float32), out_sharding=axes, eager_sharding=False)


def bert_initializers(config, in_size):
    """Of a kernel and its bias: normal and zero, as the original draws its encoder."""
    del in_size
    return nnx.initializers.normal(config.initializer_range), nnx.initializers.zeros_init()


def pytorch_initializers(config, in_size):
    """Of a kernel and its bias: PyTorch's default, which the original's query head keeps."""
    del config
    uniform = uniform_initializer(in_size**-0.5)
    return uniform, uniform


def uniform_initializer(bound):
    """Uniform in -bound..bound."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


def linear(
    in_size,
    out_size,
    axes,
    *,
    config,
    rngs: nnx.Rngs,
    use_bias=True,
    initializers=bert_initializers,
) -> nnx.Linear:
    """A linear map; `axes` names its input and output dimension."""
    kernel, bias = initializers(config, in_size)
    return nnx.Linear(
        in_size,
        out_size,
        use_bias=use_bias,
        dtype=jnp.dtype(config.dtype),
        kernel_init=_named(kernel, axes),
        bias_init=_named(bias, axes[1:]),
        rngs=rngs,
    )


def layer_norm(size, epsilon, *, axis="embed", rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm in float32 over a last dimension of logical name `axis`."""
    return nnx.LayerNorm(
        size,
        epsilon=epsilon,
        dtype=jnp.float32,
        # E[x²] - E[x]² loses what an epsilon of 1e-12 is meant to keep.
        use_fast_variance=False,
        scale_init=_named(nnx.initializers.ones_init(), (axis,)),
        bias_init=_named(nnx.initializers.zeros_init(), (axis,)),
        rngs=rngs,
    )


def embedding(size, features, axes, *, config, rngs: nnx.Rngs) -> nnx.Param:
    """A table `[size, features]` to look rows up in."""
    initializer = nnx.initializers.normal(config.initializer_range)
    return parameter(initializer, rngs.params(), (size, features), axes)


def _named(initializer, axes):
    return nnx.with_partitioning(initializer, axes, eager_sharding=False)


class Attention(nnx.Module):
    """Multi-head attention with its output projection."""

    def __init__(self, config, *, initializers=bert_initializers, rngs: nnx.Rngs):
        def square(*axes):
            size = config.hidden_size
            return linear(size, size, axes, config=config, initializers=initializers, rngs=rngs)

        self.query = square("embed", "heads")
        self.key = square("embed", "heads")
        self.value = square("embed", "heads")
        self.out = square("heads", "embed")
        self.num_heads = config.num_heads
        self.dropout_rate = config.attention_dropout

    def __call__(self, x, mask, key=None):
        """x `[..., length, H]`, mask `[..., length, length]` True where a may attend to b."""

        def heads(y):
            return y.reshape(*y.shape[:-1], self.num_heads, -1)

        query, keys, values = heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
        logits = jnp.einsum(
            "...qnd,...knd->...nqk", query, keys, preferred_element_type=jnp.float32
        )
        logits = logits / jnp.sqrt(jnp.float32(query.shape[-1]))
        logits = jnp.where(mask[..., None, :, :], logits, -1e9)
        weights = dropout(jax.nn.softmax(logits), self.dropout_rate, key)
        y = jnp.einsum("...nqk,...knd->...qnd", weights.astype(values.dtype), values)
        return self.out(y.reshape(x.shape))


class SelfAttention(nnx.Module):
    """`LN(x + dropout(attention(x)))`."""

    def __init__(self, config, *, initializers=bert_initializers, rngs: nnx.Rngs):
        self.attention = Attention(config, initializers=initializers, rngs=rngs)
        self.norm = layer_norm(config.hidden_size, BLOCK_EPSILON, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x, mask, key=None):
        y = dropout(self.attention(x, mask, fold(key, 0)), self.dropout_rate, fold(key, 1))
        return self.norm(x + y).astype(self.dtype)


class Block(nnx.Module):
    """A post-LayerNorm transformer block: self-attention, then feed-forward."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        size, inner = config.hidden_size, config.intermediate_size
        self.self_attention = SelfAttention(config, rngs=rngs)
        self.inner = linear(size, inner, ("embed", "mlp"), config=config, rngs=rngs)
        self.out = linear(inner, size, ("mlp", "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, BLOCK_EPSILON, rngs=rngs)
        self.dropout_rate = config.dropout
        self.dtype = jnp.dtype(config.dtype)

    def __call__(self, x, mask, key=None):
        x = self.self_attention(x, mask, fold(key, 0))
        y = dropout(self.out(gelu(self.inner(x))), self.dropout_rate, fold(key, 1))
        return self.norm(x + y).astype(self.dtype)


class Transformer(nnx.Module):
    """A stack of blocks."""

    def __init__(self, config, num_layers, *, rngs: nnx.Rngs):
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(num_layers)])
        self.remat = config.remat

    def __call__(self, x, mask, key=None):
        run = nnx.remat(Block.__call__) if self.remat else Block.__call__
        for number, block in enumerate(self.blocks):
            x = run(block, x, mask, fold(key, number))
        return x


class Projection(nnx.Module):
    """`relu(linear(dropout(LN(x))))`, the original's LinearLayer."""

    def __init__(self, in_size, in_axis, config, *, initializers=bert_initializers, rngs: nnx.Rngs):
        self.norm = layer_norm(in_size, EPSILON, axis=in_axis, rngs=rngs)
        # A square kernel may not name one mesh axis twice.
        axes = (None if in_axis == "embed" else in_axis, "embed")
        self.linear = linear(
            in_size, config.hidden_size, axes, config=config, initializers=initializers, rngs=rngs
        )
        self.dropout_rate = config.dropout

    def __call__(self, x, key=None):
        return jax.nn.relu(self.linear(dropout(self.norm(x), self.dropout_rate, key)))


class MLP(nnx.Module):
    """`linear(LN(gelu(linear(x))))` in float32 from the LayerNorm on."""

    def __init__(
        self,
        inner_size,
        out_size,
        config,
        *,
        out_axis=None,
        initializers=bert_initializers,
        rngs: nnx.Rngs,
    ):
        def map_of(in_size, out_size, *axes):
            return linear(
                in_size, out_size, axes, config=config, initializers=initializers, rngs=rngs
            )

        self.inner = map_of(config.hidden_size, inner_size, "embed", "mlp")
        self.norm = layer_norm(inner_size, EPSILON, axis="mlp", rngs=rngs)
        self.out = map_of(inner_size, out_size, "mlp", out_axis)

    def __call__(self, x):
        return self.out(self.norm(gelu(self.inner(x))))
