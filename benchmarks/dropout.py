"""What dropout of attention weights costs, forward and backward, by where its numbers come from.

    python benchmarks/dropout.py [--rows=54] [--dtype=float32]

Softmax, dropout and a product with values of full size, `[rows, 12, 128, 128]`: without
dropout, with `hero_jax.models.ops.dropout`, and with `jax.random.bernoulli` of `threefry2x32` and
`rbg` keys.
"""

import argparse
import pathlib
import sys
import time

import jax
import jax.numpy as jnp

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from hero_jax.models.ops import dropout

HEADS, LENGTH, HEAD_SIZE = 12, 128, 64
RATE = 0.1
REPEATS = 5


def drawn(x, rate, key):
    """Dropout by `jax.random`."""
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


def seconds(drop, impl, rows, dtype):
    """Of the median value and gradient."""

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
    # The first compiles.
    return sorted(times[1:])[REPEATS // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=54, help="as many as 32 clips fill")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, {arguments.rows} rows, {arguments.dtype}")
    without = None
    for name, drop, impl in (
        ("no dropout", lambda x, rate, key: x, "threefry2x32"),
        ("hero_jax.models.ops.dropout", dropout, "threefry2x32"),
        ("bernoulli, rbg", drawn, "rbg"),
        ("bernoulli, threefry2x32", drawn, "threefry2x32"),
    ):
        took = seconds(drop, impl, arguments.rows, arguments.dtype)
        without = without or took
        print(f"{name:<25} {1000 * took:9.2f} ms {took / without:6.2f} x")


if __name__ == "__main__":
    main()
