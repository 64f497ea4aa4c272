"""Tells which network a file of weights is of, by the names and shapes of its arrays."""

import re
from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]

RESNET = "ResNet-152"
SLOWFAST = "SlowFast 8x8 R50"
CLIP = "CLIP ViT-B/32"
S3D = "S3D of MIL-NCE"
EFFICIENTNET = "EfficientNet-Lite0"

# Depth of ResNets by the blocks of their stages, of two and of three convolutions each.
_BASIC: dict[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
_BOTTLENECK: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
# CLIP's letters by the width of its transformer.
_LETTERS = {768: "B", 1024: "L", 1280: "H", 1408: "g", 1664: "bigG"}
# Blocks of the fourth stage of SlowFast's slow pathway, in each of its layouts.
_SLOW_BLOCKS = re.compile(
    r"s4\.pathway0_res(\d+)\..*|res4_(\d+)_branch.*"
    r"|blocks\.3\.multipathway_blocks\.0\.res_blocks\.(\d+)\..*"
)
_FAST = re.compile(r"s4\.pathway1_.*|t_res4_.*|blocks\.3\.multipathway_blocks\.1\..*")
_FUSIONS = (
    "s1_fuse.conv_f2s.weight",
    "t_pool1_subsample_w",
    "blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
)


def network_of(arrays: Arrays) -> str:
    """Returns the name of the network that the arrays are of, or the first of their names."""
    for rule in _RULES:
        if name := rule(arrays):
            return name
    first = ", ".join(repr(name[:100]) for name in list(arrays)[:3])
    return f"weights of an unknown network (its first names are {first})"


def _shape(arrays: Arrays, *names: str) -> tuple[int, ...]:
    """Returns the shape of the array under the first of the names that there is, () if none is."""
    return next((arrays[name].shape for name in names if name in arrays), ())


def _blocks(arrays: Arrays, pattern: re.Pattern | str) -> int:
    """Returns how many numbers a pattern's groups have among the names."""
    found = (re.fullmatch(pattern, name) for name in arrays)
    return len({next(filter(None, match.groups())) for match in found if match})


def _resnet(arrays: Arrays, prefix: str = "") -> str:
    layer = f"{prefix}layer1.0."
    width, inner = _shape(arrays, f"{layer}conv1.weight"), _shape(arrays, f"{layer}conv2.weight")
    if len(width) != 4 or len(inner) != 4:
        return ""
    stages = tuple(
        _blocks(arrays, rf"{re.escape(prefix)}layer{stage}\.(\d+)\..*") for stage in range(1, 5)
    )
    depths = _BOTTLENECK if f"{layer}conv3.weight" in arrays else _BASIC
    depth = depths.get(stages) or f"of {'+'.join(map(str, stages))} blocks"
    if inner[1] < inner[0]:
        return f"ResNeXt-{depth}"
    return f"{'Wide ' * (width[0] > 64)}ResNet-{depth}"


def _clip_resnet(arrays: Arrays) -> str:
    name = _resnet(arrays, "visual.")
    return f"CLIP {name}" if name else ""


def _clip(arrays: Arrays) -> str:
    patches = _shape(
        arrays, "visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"
    )
    if len(patches) != 4:
        return ""
    width, _, size, _ = patches
    name = f"CLIP ViT-{_LETTERS.get(width, f'{width}-wide')}/{size}"
    positions = _shape(
        arrays,
        "visual.positional_embedding",
        "vision_model.embeddings.position_embedding.weight",
    )
    side = round(max(positions[0] - 1, 0) ** 0.5) * size if positions else 224
    return name if side == 224 else f"{name} for {side} pixels"


def _slowfast(arrays: Arrays) -> str:
    blocks = _blocks(arrays, _SLOW_BLOCKS)
    if not blocks:
        return ""
    if not any(map(_FAST.fullmatch, arrays)):
        return "a video network without a fast pathway (Slow, I3D or C2D)"
    depth = {6: "R50", 23: "R101"}.get(blocks, f"with {blocks} blocks in the fourth stage")
    kernel = _shape(arrays, *_FUSIONS)
    frames = {7: "8x8 ", 5: "4x16 "}.get(kernel[2] if len(kernel) == 5 else 0, "")
    return f"SlowFast {frames}{depth}"


def _s3d(arrays: Arrays) -> str:
    return S3D if "mixed_5c.conv_b0.conv1.weight" in arrays else ""


def _efficientnet(arrays: Arrays) -> str:
    stem = _shape(arrays, "_conv_stem.weight")
    if not stem:
        return ""
    if any("._se_" in name for name in arrays):
        return "EfficientNet with squeeze-excitation"
    is_smallest = stem[0] == 32 and _blocks(arrays, r"_blocks\.(\d+)\..*") == 16
    return EFFICIENTNET if is_smallest else "a larger EfficientNet-Lite"


def _hero(arrays: Arrays) -> str:
    beginnings = {
        "v_encoder.": "HERO itself",
        "cross_modal/": "HERO itself",
        "roberta.": "RoBERTa",
        "bert.": "BERT",
        "text_model.": "a text encoder",
    }
    for beginning, name in beginnings.items():
        if any(found.startswith(beginning) for found in arrays):
            return name
    return ""


_RULES: tuple[Callable[[Arrays], str], ...] = (
    *(_clip_resnet, _clip, _slowfast, _s3d, _efficientnet, _resnet, _hero),
)
