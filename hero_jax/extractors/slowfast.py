"""SlowFast 8x8 on ResNet-50, trained on Kinetics-400: `slowfast`, 2,304 numbers a clip.

The slow pathway sees a quarter of the frames, and the fast one all of them with an eighth of the
channels. Reference names are those of pytorchvideo.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hero_jax.extractors.base import Network, clips
from hero_jax.extractors.layers import Conv, Weights, max_pool, normalised

MEAN = (0.45, 0.45, 0.45)
STD = (0.225, 0.225, 0.225)
# Of the 32 frames, those that the slow pathway sees.
SLOW_FRAMES = (0, 4, 8, 13, 17, 22, 26, 31)
SLOW, FAST = 0, 1
# Channels after the stem of each pathway, and its kernel's size in time.
STEMS = ((64, 1), (8, 5))
# Blocks of each stage, stride in space, and the size in time of each pathway's kernels.
STAGES = ((3, 1, (1, 3)), (4, 2, (1, 3)), (6, 2, (3, 3)), (3, 2, (3, 3)))
EXPANSION = 4


class ClipBottleneck(nnx.Module):
    """Residual block: a kernel in time, one in space that has the stride, and a pointwise one."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        sizes: tuple[int, int],
        time: int,
        stride: int,
        shortcut: bool,
    ):
        in_size, inner = sizes
        out_size, strides = EXPANSION * inner, (1, stride, stride)

        def conv(letter: str, sizes: tuple[int, int], kernel: Sequence[int], **options) -> Conv:
            names = f"{name}.branch2.conv_{letter}", f"{name}.branch2.norm_{letter}"
            return Conv(weights, *names, sizes, kernel, **options)

        self.time = conv("a", (in_size, inner), (time, 1, 1))
        self.space = conv("b", (inner, inner), (1, 3, 3), strides=strides)
        self.expand = conv("c", (inner, out_size), (1, 1, 1))
        names = f"{name}.branch1_conv", f"{name}.branch1_norm"
        self.shortcut = (
            Conv(weights, *names, (in_size, out_size), (1, 1, 1), strides=strides)
            if shortcut
            else None
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.relu(self.space(jax.nn.relu(self.time(x))))
        return jax.nn.relu(self.expand(y) + (self.shortcut(x) if self.shortcut else x))


class Fusion(nnx.Module):
    """Joins to the slow pathway what every fourth step of the fast one says."""

    def __init__(self, weights: Weights, name: str, size: int):
        names = f"{name}.conv_fast_to_slow", f"{name}.norm"
        self.conv = Conv(weights, *names, (size, 2 * size), (7, 1, 1), strides=(4, 1, 1))

    def __call__(self, slow: jax.Array, fast: jax.Array) -> jax.Array:
        return jnp.concatenate([slow, jax.nn.relu(self.conv(fast))], axis=-1)


class SlowFast(nnx.Module):
    """Two pathways from clips to features."""

    def __init__(self, weights: Weights):
        self.dtype = weights.dtype
        stems, stages, fusions = [], [], []
        for pathway, (size, time) in enumerate(STEMS):
            name = f"blocks.0.multipathway_blocks.{pathway}"
            names = f"{name}.conv", f"{name}.norm"
            stems.append(Conv(weights, *names, (3, size), (time, 7, 7), strides=(1, 2, 2)))
        fast_size = STEMS[FAST][0]
        in_sizes = [STEMS[SLOW][0], fast_size]
        for stage, (depth, stride, times) in enumerate(STAGES):
            fusions.append(Fusion(weights, f"blocks.{stage}.multipathway_fusion", fast_size))
            in_sizes[SLOW] += 2 * fast_size
            pathways = []
            for pathway, time in enumerate(times):
                inner = STEMS[pathway][0] * 2**stage
                name = f"blocks.{stage + 1}.multipathway_blocks.{pathway}.res_blocks"
                blocks = []
                for block in range(depth):
                    sizes = (EXPANSION * inner if block else in_sizes[pathway], inner)
                    first = not block
                    step = stride if first else 1
                    blocks.append(
                        ClipBottleneck(weights, f"{name}.{block}", sizes, time, step, first)
                    )
                in_sizes[pathway] = EXPANSION * inner
                pathways.append(nnx.List(blocks))
            fast_size = in_sizes[FAST]
            stages.append(nnx.List(pathways))
        self.stems, self.fusions = nnx.List(stems), nnx.List(fusions)
        self.stages = nnx.List(stages)

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns float32 features `[n, 2304]`, for uint8 clips `[n, 32, h, w, 3]`."""
        x = normalised(rows, MEAN, STD, self.dtype)
        slow, fast = x[:, np.array(SLOW_FRAMES)], x
        slow, fast = (
            max_pool(jax.nn.relu(stem(x)), (1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1)))
            for stem, x in zip(self.stems, (slow, fast), strict=True)
        )
        for fusion, (slow_blocks, fast_blocks) in zip(self.fusions, self.stages, strict=True):
            slow = fusion(slow, fast)
            for block in slow_blocks:
                slow = block(slow)
            for block in fast_blocks:
                fast = block(fast)
        means = [x.mean((1, 2, 3), dtype=jnp.float32) for x in (slow, fast)]
        return jnp.concatenate(means, axis=-1)


NETWORK = Network(
    name="slowfast",
    width=2304,
    sampling=clips,
    make=SlowFast,
    batch=(1, 16),
)
