"""Cost of dropout on attention weights, forward and backward, by the source of its random bits.

    python -m benchmarks.dropout [--rows=54] [--dtype=float32]

Times softmax, dropout and a product with values at full size, `[rows, 12, 128, 128]`: without
dropout, with `hero_jax.models.ops.dropout`, and with `jax.random.bernoulli` of `threefry2x32` and
`rbg` keys.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from hero_jax.models.ops import dropout

HEADS, LENGTH, HEAD_SIZE = 12, 128, 64
RATE = 0.1
REPEATS = 5


def bernoulli_dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Dropout by `jax.random`."""
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


def gradient_seconds(drop: Callable, impl: str, rows: int, dtype: str) -> float:
    """Median seconds of a value and its gradient.

    Args:
      drop: function of weights, dropout rate and key.
      impl: implementation of the key, of `jax.random.key`.
      rows: packed rows in the batch.
      dtype: of the product with the values.
    """

    @jax.jit
    @jax.grad
    def gradient(logits, values, key):
        weights = drop(jax.nn.softmax(logits), RATE, key).astype(dtype)
        return jnp.sum(jnp.einsum("rnqk,rnkd->rnqd", weights, values).astype(jnp.float32) ** 2)

    logits = jax.random.normal(jax.random.key(0), (rows, HEADS, LENGTH, LENGTH))
    values = jax.random.normal(jax.random.key(1), (rows, HEADS, LENGTH, HEAD_SIZE), dtype)
    times = []
    for number in range(REPEATS + 1):
        key = jax.random.key(number, impl=impl)
        begun = time.perf_counter()
        gradient(logits, values, key).block_until_ready()
        times.append(time.perf_counter() - begun)
    # The first call compiles.
    return sorted(times[1:])[REPEATS // 2]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dropout", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=54, help="default: %(default)s, for 32 clips")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(arguments)
    print(f"{jax.devices()[0].device_kind}, {options.rows} rows, {options.dtype}")
    without = None
    for name, drop, impl in (
        ("no dropout", lambda x, rate, key: x, "threefry2x32"),
        ("hero_jax.models.ops.dropout", dropout, "threefry2x32"),
        ("bernoulli, rbg", bernoulli_dropout, "rbg"),
        ("bernoulli, threefry2x32", bernoulli_dropout, "threefry2x32"),
    ):
        seconds = gradient_seconds(drop, impl, options.rows, options.dtype)
        without = without or seconds
        print(f"{name:<27} {1000 * seconds:9.2f} ms {seconds / without:6.2f} x")


if __name__ == "__main__":
    main()
