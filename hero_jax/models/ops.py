"""Operations without parameters: activations, dropout, gathers with cheap gradients."""

import math

import jax
import jax.numpy as jnp


def gelu(x: jax.Array) -> jax.Array:
    """Returns the exact GELU, `x · Φ(x)`.

    It is written with erf. `jax.nn.gelu` uses erfc, which triples the cost of the gradient of a
    feed-forward layer on a CPU.
    """
    return x * 0.5 * (1 + jax.lax.erf(x * jnp.sqrt(0.5).astype(x.dtype)))


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias `[K]` to `x` `[..., K]`, both float32.

    The gradient of the bias is a product with ones: on a CPU, XLA's sum over all but the last axis
    takes a third of the time of a product with the vocabulary.
    """
    return x + bias


def _add_bias_forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, None]:
    return x + bias, None


def _add_bias_backward(_: None, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows = gradient.reshape(-1, gradient.shape[-1])
    ones = jnp.ones(rows.shape[0], rows.dtype)
    return gradient, jnp.dot(ones, rows, precision=jax.lax.Precision.HIGHEST)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def shard_key(key: jax.Array, shard: jax.Array | int) -> jax.Array:
    """Returns the dropout key of one shard of a batch.

    What it drops is that shard's part of what `key` drops in the whole batch, whose arrays are
    divided along their first axis.

    Args:
      key: the batch's key.
      shard: number of the shard.

    Returns:
      `[2]` keys: the batch's, and one that holds the number.
    """
    number = jnp.stack([jnp.uint32(0), jnp.asarray(shard, jnp.uint32)])
    return jnp.stack([key, jax.random.wrap_key_data(number, impl=jax.random.key_impl(key))])


def fold_in(key: jax.Array | None, data: jax.Array | int) -> jax.Array | None:
    """Returns a dropout key with a number folded in, or None if there is no key (no dropout)."""
    if key is None:
        return None
    if key.ndim:
        return jnp.stack([jax.random.fold_in(key[0], data), key[1]])
    return jax.random.fold_in(key, data)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes entries with probability `rate` and scales the others by `1 / (1 - rate)`.

    Attention needs as many random numbers as it has weights, so they come from a hash of the
    entry's index and the key instead of `jax.random`. The hash is a few integer operations that
    fuse with their consumer, in the backward pass too, and its result does not depend on how the
    array is sharded. `benchmarks/dropout.py` compares the two.
    """
    if key is None or rate == 0.0:
        return x
    keep = _hash_bits(key, x.shape) >= jnp.uint32(rate * 2**32)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def _hash_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns 32 bits per entry: its index after two keyed rounds of multiplying and shifting."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        position = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        index = index * jnp.uint32(size) + position
    if key.ndim:
        # Entries of the shards before come first.
        index += jax.random.key_data(key[1])[1] * jnp.uint32(math.prod(shape))
        key = key[0]
    first, second = jax.random.key_data(key)
    bits = index * jnp.uint32(0x9E3779B9) + first
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15) ^ second) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


@jax.custom_vjp
def permute_entries(x: jax.Array, source: jax.Array, target: jax.Array) -> jax.Array:
    """Moves entries to new positions: `y[g, j] = x[g, source[g, j]]`, zero where source is -1.

    The gradient is a gather with `target` instead of a scatter with `source`.

    Args:
      x: `[G, M, H]`.
      source: `[G, N]` in -1..M-1; no entry of x appears twice.
      target: `[G, M]` in -1..N-1, the inverse of source: the new position of each entry of x, -1
        for an entry that is not used.

    Returns:
      `[G, N, H]`.
    """
    del target
    return _gather_or_zero(x, source)


def _gather_or_zero(x: jax.Array, index: jax.Array) -> jax.Array:
    gathered = jnp.take_along_axis(x, jnp.maximum(index, 0)[..., None], axis=1)
    return jnp.where(index[..., None] >= 0, gathered, 0)


def _permute_entries_forward(
    x: jax.Array, source: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return _gather_or_zero(x, source), target


def _permute_entries_backward(
    target: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, None, None]:
    return _gather_or_zero(gradient, target), None, None


permute_entries.defvjp(_permute_entries_forward, _permute_entries_backward)


def take_slots(x: jax.Array, index: jax.Array) -> jax.Array:
    """Returns the entries of `x` `[G, N, ...]` at `index` `[G, K]`, as `[G, K, ...]`."""
    return jax.vmap(lambda entries, chosen: entries[chosen])(x, index)
