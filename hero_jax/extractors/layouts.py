"""Names that the known files of weights have for a network's arrays.

Each function takes the arrays of a file by their names, and the shapes of the network's weights by
reference name. It returns the arrays that the network could need by reference name; names that it
does not know stay, so that its caller can refuse them.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]

# PyTorch counts the batches that it trained on beside every mean and variance.
_COUNTER = re.compile(r"(.*\.)?num_batches_tracked")

_CLASSIFIERS = re.compile(r"fc\..*|_fc\..*")
_S3D_REST = re.compile(r"fc\..*|text_module\..*")
_CLIP_REST = re.compile(
    r"(transformer|ln_final|text|text_model|text_projection)\..*"
    r"|token_embedding\.weight|positional_embedding|text_projection|logit_scale|logit_bias"
    r"|(.*\.)?(input_resolution|context_length|vocab_size|position_ids)"
)
_SLOWFAST_REST = re.compile(r"head\..*|blocks\.[56]\..*|pred_.*|.*_momentum")


def _without(arrays: Arrays, *patterns: re.Pattern) -> dict[str, np.ndarray]:
    return {
        name: array
        for name, array in arrays.items()
        if not any(pattern.fullmatch(name) for pattern in (_COUNTER, *patterns))
    }


def plain(arrays: Arrays, shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns the arrays of a classifier whose names are the reference's."""
    return _without(arrays, _CLASSIFIERS)


def s3d(arrays: Arrays, shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns the arrays of S3D without its text module and its joint embedding."""
    return _without(arrays, _S3D_REST)


# CLIP

_HUGGING_FACE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1": "vision_model.embeddings.patch_embedding",
    # The name has this spelling in every file.
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
}
_HUGGING_FACE_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"visual\.transformer\.resblocks\.(?P<number>\d+)\.(?P<part>.+)")
_QUERY_KEY_VALUE = re.compile(r"attn\.in_proj_(?P<leaf>weight|bias)")


def clip(arrays: Arrays, shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns the arrays of CLIP's image tower from OpenAI's, open_clip's or Hugging Face's names.

    Hugging Face has the projection transposed, and query, key and value apart.
    """
    rest = _without(arrays, _CLIP_REST)
    if not any(name.startswith("vision_model.") for name in rest):
        return rest
    named = {}
    for name in shapes:
        parts = _hugging_face(name)
        shapes_there = {rest[part].shape if part in rest else None for part in parts}
        # Parts of different shapes are not of one array: they stay, and it is missing.
        if len(shapes_there) == 1 and shapes_there != {None}:
            values = [rest.pop(part) for part in parts]
            named[name] = values[0] if len(values) == 1 else np.concatenate(np.atleast_1d(*values))
    if "visual.proj" in named:
        named["visual.proj"] = named["visual.proj"].T
    return named | rest


def _hugging_face(name: str) -> list[str]:
    """Returns names of the arrays that, one below the other, are the one of a reference name."""
    if name in _HUGGING_FACE:
        return [_HUGGING_FACE[name]]
    if not (block := _BLOCK.fullmatch(name)):
        stem, _, leaf = name.rpartition(".")
        return [f"{_HUGGING_FACE.get(stem, stem)}.{leaf}"]
    layer = f"vision_model.encoder.layers.{block['number']}"
    if joined := _QUERY_KEY_VALUE.fullmatch(block["part"]):
        return [f"{layer}.self_attn.{part}_proj.{joined['leaf']}" for part in "qkv"]
    stem, _, leaf = block["part"].rpartition(".")
    return [f"{layer}.{_HUGGING_FACE_BLOCK.get(stem, stem)}.{leaf}"]


# SlowFast

_PYTORCHVIDEO = re.compile(
    r"blocks\.(?P<stage>\d+)\."
    r"(multipathway_blocks\.(?P<pathway>\d)|multipathway_fusion)\."
    r"(res_blocks\.(?P<block>\d+)\.)?(?P<part>.+)\.(?P<leaf>\w+)"
)
# Parts, by their pytorchvideo name, in PySlowFast and caffe2.
_PARTS = {
    "conv": ("conv", ""),
    "norm": ("bn", "_bn"),
    "conv_fast_to_slow": ("conv_f2s", ""),
    "branch1_conv": ("branch1", "_branch1"),
    "branch1_norm": ("branch1_bn", "_branch1_bn"),
    **{f"branch2.conv_{letter}": (f"branch2.{letter}", f"_branch2{letter}") for letter in "abc"},
    **{
        f"branch2.norm_{letter}": (f"branch2.{letter}_bn", f"_branch2{letter}_bn")
        for letter in "abc"
    },
}
_LEAVES = {"bias": "b", "running_mean": "rm", "running_var": "riv"}
# What caffe2 calls the layer before each fusion, by the stage.
_FUSED = ("t_pool1", "t_res2_2_branch2c_bn", "t_res3_3_branch2c_bn", "t_res4_5_branch2c_bn")


def slowfast(arrays: Arrays, shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns the arrays of SlowFast from the names of pytorchvideo, PySlowFast or caffe2."""
    rest = _without(arrays, _SLOWFAST_REST)
    layouts = [{name: name for name in shapes}]
    for layout in _pyslowfast, _caffe2:
        layouts.append({layout(found): found.string for found in _found(shapes)})
    names = max(layouts, key=lambda names: len(names.keys() & rest.keys()))
    if names is layouts[-1]:
        # Counters and rates of the training, which are no layer's.
        rest = {name: array for name, array in rest.items() if name in names or array.size > 1}
    return {names.get(name, name): array for name, array in rest.items()}


def _found(shapes: Shapes) -> list[re.Match]:
    return [found for found in map(_PYTORCHVIDEO.fullmatch, shapes) if found]


def _pyslowfast(name: re.Match) -> str:
    stage, pathway = int(name["stage"]) + 1, name["pathway"]
    part = f"{_PARTS[name['part']][0]}.{name['leaf']}"
    if pathway is None:
        return f"s{stage}_fuse.{part}"
    place = "stem." if name["block"] is None else f"res{name['block']}."
    return f"s{stage}.pathway{pathway}_{place}{part}"


def _caffe2(name: re.Match) -> str:
    stage, pathway = int(name["stage"]) + 1, name["pathway"]
    part = _PARTS[name["part"]][1]
    is_norm = part.endswith("_bn")
    leaf = _LEAVES.get(name["leaf"], "s" if is_norm else "w")
    if pathway is None:
        return f"{_FUSED[stage - 1]}_subsample{part}_{leaf}"
    fast = "t_" if pathway == "1" else ""
    if name["block"] is not None:
        return f"{fast}res{stage}_{name['block']}{part}_{leaf}"
    return f"{fast}{'res_conv1' if is_norm else 'conv1'}{part}_{leaf}"


LAYOUTS: dict[str, Callable[[Arrays, Shapes], dict[str, np.ndarray]]] = {
    "resnet": plain,
    "slowfast": slowfast,
    "clip-vit": clip,
    "mil-nce": s3d,
    "efficientnet-lite0": plain,
}
