"""S3D with gating, trained on HowTo100M by MIL-NCE: `mil-nce`, 1,024 numbers a clip."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from hero_jax.extractors.base import Network, clips
from hero_jax.extractors.layers import Conv, Dense, Weights, max_pool

# Channels of the branches of each block: one convolution; one and a separable one, twice; a pool
# and one convolution. Blocks of a string are after one pool.
BRANCHES = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}
# Window and strides of the pool before some of the blocks.
POOLS = {
    "3b": ((1, 3, 3), (1, 2, 2)),
    "4b": ((3, 3, 3), (2, 2, 2)),
    "5b": ((2, 2, 2), (2, 2, 2)),
}


def pool(x: jax.Array, window: Sequence[int], strides: Sequence[int]) -> jax.Array:
    """Returns the largest values of each window of clips that are padded with zeros.

    The padding is the window less the stride, the smaller half first, and the last window may
    reach over the end.
    """
    pads = []
    for axis, (size, stride) in enumerate(zip(window, strides, strict=True), 1):
        before, after = divmod(max(size - stride, 0), 2)
        after += before
        length = x.shape[axis] + before + after
        steps = -(-(length - size) // stride) + 1
        pads.append((before, after, max((steps - 1) * stride + size - length, 0)))
    zeros = [(0, 0), *((before, after) for before, after, _ in pads), (0, 0)]
    over = [(0, 0), *((0, end) for _, _, end in pads), (0, 0)]
    lowest = jnp.array(-jnp.inf, x.dtype)
    dims, steps_of = (1, *window, 1), (1, *strides, 1)
    return lax.reduce_window(jnp.pad(x, zeros), lowest, lax.max, dims, steps_of, over)


class ConvUnit(nnx.Module):
    """Convolution and ReLU; a separable one is a kernel in space and then one in time."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        sizes: tuple[int, int],
        kernel: Sequence[int] = (1, 1, 1),
        strides: Sequence[int] = (1, 1, 1),
        padding: Sequence[tuple[int, int]] | None = None,
    ):
        names = f"{name}.conv1", f"{name}.bn1"
        self.conv = Conv(weights, *names, sizes, kernel, strides=strides, padding=padding)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(self.conv(x))


class Separable(nnx.Module):
    """Convolution in space and one in time, each with ReLU."""

    def __init__(self, weights: Weights, name: str, sizes: tuple[int, int]):
        in_size, out_size = sizes
        first = f"{name}.conv1", f"{name}.bn1"
        second = f"{name}.conv2", f"{name}.bn2"
        self.space = Conv(weights, *first, (in_size, out_size), (1, 3, 3))
        self.time = Conv(weights, *second, (out_size, out_size), (3, 1, 1))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(self.time(jax.nn.relu(self.space(x))))


class Gating(nnx.Module):
    """Weighs the channels of a clip by what is in the whole of it."""

    def __init__(self, weights: Weights, name: str, size: int):
        self.dense = Dense(weights, f"{name}.fc", size, size)

    def __call__(self, x: jax.Array) -> jax.Array:
        gates = jax.nn.sigmoid(self.dense(x.mean((1, 2, 3))))
        return x * gates[:, None, None, None]


class Inception(nnx.Module):
    """Four gated branches side by side."""

    def __init__(self, weights: Weights, name: str, in_size: int):
        one, (two_a, two_b), (three_a, three_b), four = BRANCHES[name.removeprefix("mixed_")]
        self.point = ConvUnit(weights, f"{name}.conv_b0", (in_size, one))
        self.first_reduce = ConvUnit(weights, f"{name}.conv_b1_a", (in_size, two_a))
        self.first = Separable(weights, f"{name}.conv_b1_b", (two_a, two_b))
        self.second_reduce = ConvUnit(weights, f"{name}.conv_b2_a", (in_size, three_a))
        self.second = Separable(weights, f"{name}.conv_b2_b", (three_a, three_b))
        self.pooled = ConvUnit(weights, f"{name}.conv_b3_b", (in_size, four))
        sizes = (one, two_b, three_b, four)
        self.gates = nnx.List(
            [Gating(weights, f"{name}.gating_b{n}", size) for n, size in enumerate(sizes)]
        )
        self.out_size = sum(sizes)

    def __call__(self, x: jax.Array) -> jax.Array:
        branches = (
            self.point(x),
            self.first(self.first_reduce(x)),
            self.second(self.second_reduce(x)),
            self.pooled(max_pool(x, (3, 3, 3), (1, 1, 1), ((1, 1),) * 3)),
        )
        gated = [gate(y) for gate, y in zip(self.gates, branches, strict=True)]
        return jnp.concatenate(gated, axis=-1)


class S3D(nnx.Module):
    """Convolutions from clips to features."""

    def __init__(self, weights: Weights):
        self.dtype = weights.dtype
        padding = ((1, 1), (2, 2), (2, 2))
        self.stem = ConvUnit(weights, "conv1", (24, 64), (2, 4, 4), padding=padding)
        self.point = ConvUnit(weights, "conv_2b", (64, 64))
        self.separable = Separable(weights, "conv_2c", (64, 192))
        self.gating = Gating(weights, "gating", 192)
        blocks, size = {}, 192
        for name in BRANCHES:
            block = Inception(weights, f"mixed_{name}", size)
            blocks[name], size = block, block.out_size
        self.blocks = nnx.Dict(blocks)

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns float32 features `[n, 1024]`, for uint8 clips `[n, 32, h, w, 3]`."""
        x = _space_to_depth(rows.astype(jnp.float32) / 255).astype(self.dtype)
        x = self.stem(x)[:, 1:, 1:, 1:]
        x = self.point(pool(x, (1, 3, 3), (1, 2, 2)))
        x = self.gating(self.separable(x))
        for name in BRANCHES:
            if name in POOLS:
                x = pool(x, *POOLS[name])
            x = self.blocks[name](x)
        return x.mean((1, 2, 3), dtype=jnp.float32)


def _space_to_depth(x: jax.Array) -> jax.Array:
    """Returns `[n, t/2, h/2, w/2, 24]`: the pixels of a cube of two are one pixel's channels."""
    n, time, height, width, channels = x.shape
    x = x.reshape(n, time // 2, 2, height // 2, 2, width // 2, 2, channels)
    x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(n, time // 2, height // 2, width // 2, 8 * channels)


NETWORK = Network(
    name="mil-nce",
    width=1024,
    sampling=clips,
    make=S3D,
    batch=(1, 16),
)
