"""The networks in PyTorch, as their authors run them: what `benchmarks.extract` compares with.

Every function takes the weights by reference name, as tensors, and uint8 rows as our own networks
do, and returns the same features. BatchNorm stays a layer of its own.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from hero_jax.extractors import clip, efficientnet, resnet, s3d, slowfast

Arrays = dict[str, torch.Tensor]


def _input(rows: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    x = (rows.float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    return x.movedim(-1, 1).contiguous()


def _conv(
    arrays: Arrays, x: torch.Tensor, name: str, norm: str, epsilon: float = 1e-5, **options
) -> torch.Tensor:
    kernel = arrays[f"{name}.weight"]
    options.setdefault("padding", tuple(size // 2 for size in kernel.shape[2:]))
    x = (F.conv2d if kernel.ndim == 4 else F.conv3d)(x, kernel, **options)
    parts = [arrays[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *parts, eps=epsilon)


def run_resnet(arrays: Arrays, rows: torch.Tensor) -> torch.Tensor:
    """Returns `[n, 2048]` for frames `[n, h, w, 3]`."""
    x = _input(rows, resnet.MEAN, resnet.STD)
    x = F.relu(_conv(arrays, x, "conv1", "bn1", stride=2))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, depth in enumerate(resnet.DEPTHS, 1):
        for block in range(depth):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = F.relu(_conv(arrays, x, f"{name}.conv1", f"{name}.bn1"))
            y = F.relu(_conv(arrays, y, f"{name}.conv2", f"{name}.bn2", stride=stride))
            y = _conv(arrays, y, f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                down = f"{name}.downsample"
                x = _conv(arrays, x, f"{down}.0", f"{down}.1", stride=stride)
            x = F.relu(x + y)
    return F.normalize(x.mean((2, 3)), dim=-1)


def run_slowfast(arrays: Arrays, rows: torch.Tensor) -> torch.Tensor:
    """Returns `[n, 2304]` for clips `[n, 32, h, w, 3]`."""
    x = _input(rows, slowfast.MEAN, slowfast.STD)
    paths = [x[:, :, list(slowfast.SLOW_FRAMES)], x]
    for pathway in range(2):
        name = f"blocks.0.multipathway_blocks.{pathway}"
        x = F.relu(_conv(arrays, paths[pathway], f"{name}.conv", f"{name}.norm", stride=(1, 2, 2)))
        paths[pathway] = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, (depth, stride, _) in enumerate(slowfast.STAGES):
        name = f"blocks.{stage}.multipathway_fusion"
        fused = _conv(
            arrays, paths[1], f"{name}.conv_fast_to_slow", f"{name}.norm", stride=(4, 1, 1)
        )
        paths[0] = torch.cat([paths[0], F.relu(fused)], 1)
        for pathway in range(2):
            for block in range(depth):
                name = f"blocks.{stage + 1}.multipathway_blocks.{pathway}.res_blocks.{block}"
                strides = (1, stride, stride) if block == 0 else (1, 1, 1)
                paths[pathway] = _bottleneck(arrays, paths[pathway], name, strides, block == 0)
    return torch.cat([x.mean((2, 3, 4)) for x in paths], -1)


def _bottleneck(
    arrays: Arrays, x: torch.Tensor, name: str, strides: Sequence[int], shortcut: bool
) -> torch.Tensor:
    inner = f"{name}.branch2"
    y = F.relu(_conv(arrays, x, f"{inner}.conv_a", f"{inner}.norm_a"))
    y = F.relu(_conv(arrays, y, f"{inner}.conv_b", f"{inner}.norm_b", stride=strides))
    y = _conv(arrays, y, f"{inner}.conv_c", f"{inner}.norm_c")
    if shortcut:
        x = _conv(arrays, x, f"{name}.branch1_conv", f"{name}.branch1_norm", stride=strides)
    return F.relu(x + y)


def run_clip(arrays: Arrays, rows: torch.Tensor) -> torch.Tensor:
    """Returns `[n, 512]` for frames `[n, 224, 224, 3]`."""
    arrays = {name.removeprefix("visual."): array for name, array in arrays.items()}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    x = _input(rows, clip.MEAN, clip.STD)
    x = F.conv2d(x, arrays["conv1.weight"], stride=clip.PATCH).flatten(2).transpose(1, 2)
    token = arrays["class_embedding"].expand(len(x), 1, -1)
    x = norm(torch.cat([token, x], 1) + arrays["positional_embedding"], "ln_pre")
    for layer in range(clip.LAYERS):
        name = f"transformer.resblocks.{layer}"
        kernel, bias = (arrays[f"{name}.attn.in_proj_{part}"] for part in ("weight", "bias"))
        heads = F.linear(norm(x, f"{name}.ln_1"), kernel, bias).unflatten(-1, (3, clip.HEADS, -1))
        y = F.scaled_dot_product_attention(*heads.permute(2, 0, 3, 1, 4))
        x = x + linear(y.transpose(1, 2).flatten(2), f"{name}.attn.out_proj")
        y = linear(norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")
        x = x + linear(y * torch.sigmoid(1.702 * y), f"{name}.mlp.c_proj")
    return norm(x[:, 0], "ln_post") @ arrays["proj"]


def run_s3d(arrays: Arrays, rows: torch.Tensor) -> torch.Tensor:
    """Returns `[n, 1024]` for clips `[n, 32, h, w, 3]`."""

    def unit(x: torch.Tensor, name: str, number: int = 1, **options) -> torch.Tensor:
        return F.relu(_conv(arrays, x, f"{name}.conv{number}", f"{name}.bn{number}", **options))

    def separable(x: torch.Tensor, name: str) -> torch.Tensor:
        return unit(unit(x, name), name, 2)

    def gated(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel, bias = arrays[f"{name}.fc.weight"], arrays[f"{name}.fc.bias"]
        gates = torch.sigmoid(F.linear(x.mean((2, 3, 4)), kernel, bias))
        return x * gates[:, :, None, None, None]

    x = rows.float().div(255).unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    x = x.permute(0, 2, 4, 6, 7, 1, 3, 5).flatten(1, 4).contiguous()
    x = unit(x, "conv1", padding=(1, 2, 2))[:, :, 1:, 1:, 1:]
    x = separable(unit(_pool(x, (1, 3, 3), (1, 2, 2)), "conv_2b"), "conv_2c")
    x = gated(x, "gating")
    for block in s3d.BRANCHES:
        if block in s3d.POOLS:
            x = _pool(x, *s3d.POOLS[block])
        name = f"mixed_{block}"
        branches = (
            unit(x, f"{name}.conv_b0"),
            separable(unit(x, f"{name}.conv_b1_a"), f"{name}.conv_b1_b"),
            separable(unit(x, f"{name}.conv_b2_a"), f"{name}.conv_b2_b"),
            unit(F.max_pool3d(x, 3, 1, 1), f"{name}.conv_b3_b"),
        )
        x = torch.cat([gated(y, f"{name}.gating_b{n}") for n, y in enumerate(branches)], 1)
    return x.mean((2, 3, 4))


def _pool(x: torch.Tensor, window: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    pads: list[int] = []
    for size, stride in zip(reversed(window), reversed(strides), strict=True):
        total = max(size - stride, 0)
        pads += [total // 2, total - total // 2]
    return F.max_pool3d(F.pad(x, pads), window, strides, ceil_mode=True)


def run_efficientnet(arrays: Arrays, rows: torch.Tensor) -> torch.Tensor:
    """Returns `[n, 1280]` for frames `[n, 224, 224, 3]`."""
    epsilon = efficientnet.EPSILON

    def same(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
        padding = efficientnet.same_padding(kernel, stride, x.shape[-1])
        return F.pad(x, (*padding, *padding))

    def conv(x: torch.Tensor, name: str, norm: str, **options) -> torch.Tensor:
        return _conv(arrays, x, name, norm, epsilon, padding=0, **options)

    x = ((rows.float() - 127) / 128).movedim(-1, 1).contiguous()
    x = F.relu6(conv(same(x, 3, 2), "_conv_stem", "_bn0", stride=2))
    number = 0
    for depth, kernel, first, expansion, _, _ in efficientnet.STAGES:
        for block in range(depth):
            name, stride = f"_blocks.{number}", 1 if block else first
            y = x
            if expansion > 1:
                y = F.relu6(conv(y, f"{name}._expand_conv", f"{name}._bn0"))
            y = conv(
                same(y, kernel, stride),
                f"{name}._depthwise_conv",
                f"{name}._bn1",
                stride=stride,
                groups=y.shape[1],
            )
            y = conv(F.relu6(y), f"{name}._project_conv", f"{name}._bn2")
            x = x + y if block else y
            number += 1
    return F.relu6(conv(x, "_conv_head", "_bn1")).mean((2, 3))


NETWORKS = {
    "resnet": run_resnet,
    "slowfast": run_slowfast,
    "clip-vit": run_clip,
    "mil-nce": run_s3d,
    "efficientnet-lite0": run_efficientnet,
}
