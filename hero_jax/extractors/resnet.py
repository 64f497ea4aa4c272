"""ResNet-152 as torchvision has it, trained on ImageNet: `resnet`, 2,048 numbers a frame."""

import jax
import jax.numpy as jnp
from flax import nnx

from hero_jax.extractors.base import Network, frames_of
from hero_jax.extractors.layers import Conv, Weights, max_pool, normalised

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Number of blocks of each layer.
DEPTHS = (3, 8, 36, 3)
# Output channels of a block, for each of its inner ones.
EXPANSION = 4
# Smallest norm that a row is divided by.
FLOOR = 1e-12


class Bottleneck(nnx.Module):
    """Residual block of three convolutions, of which the second has the stride."""

    def __init__(self, weights: Weights, name: str, in_size: int, inner: int, stride: int):
        out_size = EXPANSION * inner

        def conv(number: int, sizes: tuple[int, int], kernel: int, stride: int = 1) -> Conv:
            names = f"{name}.conv{number}", f"{name}.bn{number}"
            return Conv(weights, *names, sizes, (kernel, kernel), strides=(stride, stride))

        self.reduce = conv(1, (in_size, inner), 1)
        self.middle = conv(2, (inner, inner), 3, stride)
        self.expand = conv(3, (inner, out_size), 1)
        names = f"{name}.downsample.0", f"{name}.downsample.1"
        self.shortcut = (
            Conv(weights, *names, (in_size, out_size), (1, 1), strides=(stride, stride))
            if in_size != out_size
            else None
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.relu(self.reduce(x))
        y = self.expand(jax.nn.relu(self.middle(y)))
        return jax.nn.relu(y + (self.shortcut(x) if self.shortcut else x))


class ResNet(nnx.Module):
    """Convolutions from frames to features."""

    def __init__(self, weights: Weights):
        self.dtype = weights.dtype
        self.stem = Conv(weights, "conv1", "bn1", (3, 64), (7, 7), strides=(2, 2))
        blocks, size = [], 64
        for layer, depth in enumerate(DEPTHS):
            inner = 64 * 2**layer
            for block in range(depth):
                stride = 2 if layer and not block else 1
                name = f"layer{layer + 1}.{block}"
                blocks.append(Bottleneck(weights, name, size, inner, stride))
                size = EXPANSION * inner
        self.blocks = nnx.List(blocks)

    def pooled(self, rows: jax.Array) -> jax.Array:
        """Returns the float32 mean `[n, 2048]` over the last map, for uint8 `[n, h, w, 3]`."""
        x = jax.nn.relu(self.stem(normalised(rows, MEAN, STD, self.dtype)))
        x = max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return x.mean((1, 2), dtype=jnp.float32)

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns float32 features `[n, 2048]` of norm 1, for uint8 frames `[n, h, w, 3]`."""
        x = self.pooled(rows)
        norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
        return x / jnp.maximum(norm, FLOOR)


NETWORK = Network(
    name="resnet",
    width=2048,
    sampling=frames_of(crop=False),
    make=ResNet,
)
