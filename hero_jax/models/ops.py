"""Operations without parameters: activations, dropout, gathers with cheap gradients."""

import jax
import jax.numpy as jnp


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, `x · Φ(x)`.

    By erf: `jax.nn.gelu` goes by erfc, which makes the gradient of a feed-forward layer three times
    as dear on a CPU.
    """
    return x * 0.5 * (1 + jax.lax.erf(x * jnp.sqrt(0.5).astype(x.dtype)))


def fold(key: jax.Array | None, number: int) -> jax.Array | None:
    """A dropout key for one place in the model; None stays None."""
    return None if key is None else jax.random.fold_in(key, number)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes entries with probability `rate` and scales the others by `1 / (1 - rate)`.

    Attention draws as many numbers as it has weights, so they come from a hash of the entry's index
    and the key instead of `jax.random`: a few integer operations that fuse with what uses them, in
    the gradient again, and that are the same however the array is split over devices.
    `benchmarks/dropout.py` compares.
    """
    if key is None or rate == 0.0:
        return x
    keep = _hash_bits(key, x.shape) >= jnp.uint32(rate * 2**32)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def _hash_bits(key, shape):
    """32 bits per entry: its index through two rounds of multiplying and shifting, keyed twice."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        place = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        index = index * jnp.uint32(size) + place
    first, second = jax.random.key_data(key)
    bits = index * jnp.uint32(0x9E3779B9) + first
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15) ^ second) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


@jax.custom_vjp
def exchange(x: jax.Array, source: jax.Array, target: jax.Array) -> jax.Array:
    """Moves entries to new places: `y[g, j] = x[g, source[g, j]]`, zero where source is -1.

    Args:
      x: `[G, M, H]`.
      source: `[G, N]` in -1..M-1; no entry of x is taken twice.
      target: `[G, M]`, the inverse: where each entry of x goes, -1 for nowhere.

    The inverse makes the gradient a gather too, instead of a scatter.
    """
    del target
    return _take(x, source)


def _take(x, index):
    taken = jnp.take_along_axis(x, jnp.maximum(index, 0)[..., None], axis=1)
    return jnp.where(index[..., None] >= 0, taken, 0)


def _exchange_forward(x, source, target):
    return _take(x, source), (target,)


def _exchange_backward(residuals, gradient):
    return _take(gradient, residuals[0]), None, None


exchange.defvjp(_exchange_forward, _exchange_backward)


def take_slots(x, index):
    """`[G, N, ...]` at `[G, K]` -> `[G, K, ...]`."""
    return jax.vmap(lambda entries, chosen: entries[chosen])(x, index)
