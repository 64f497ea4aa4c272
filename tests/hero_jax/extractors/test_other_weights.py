"""Files of other networks, and damaged ones, are refused in a sentence that names them."""

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.extractors.weights import state
from tests.hero_jax.conversion.torch.torch_archives import save_zip
from tests.hero_jax.extractors.test_weights import SHAPES, drawn, tensors


def refused(name, path, shapes=None):
    with pytest.raises(InputError) as caught:
        state(name, path, SHAPES[name] if shapes is None else shapes)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert "\n" not in message
    return message


def zeros(shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def resnet_of(stages, inner=(64, 64), convolutions=3, prefix=""):
    return zeros(
        {
            f"{prefix}layer{stage}.{block}.conv{n}.weight": (*inner, 1, 1)
            for stage, blocks in enumerate(stages, 1)
            for block in range(blocks)
            for n in range(1, convolutions + 1)
        }
    )


OTHERS = {
    "ResNet-18": resnet_of((2, 2, 2, 2), convolutions=2),
    "ResNet-34": resnet_of((3, 4, 6, 3), convolutions=2),
    "ResNet-50": resnet_of((3, 4, 6, 3)),
    "ResNet-101": resnet_of((3, 4, 23, 3)),
    "Wide ResNet-50": resnet_of((3, 4, 6, 3), (128, 128)),
    "ResNeXt-50": resnet_of((3, 4, 6, 3), (128, 4)),
    "ResNet-of 1+1+1+1 blocks": resnet_of((1, 1, 1, 1)),
    "CLIP ResNet-50": resnet_of((3, 4, 6, 3), prefix="visual."),
    "CLIP ViT-L/14": zeros({"visual.conv1.weight": (1024, 3, 14, 14)}),
    "CLIP ViT-L/14 for 336 pixels": zeros(
        {"visual.conv1.weight": (1024, 3, 14, 14), "visual.positional_embedding": (577, 8)}
    ),
    "CLIP ViT-B/16": zeros({"vision_model.embeddings.patch_embedding.weight": (768, 3, 16, 16)}),
    "SlowFast R101": zeros(
        {f"s4.pathway{p}_res{n}.branch2.a.weight": (1,) for n in range(23) for p in range(2)}
    ),
    "SlowFast 4x16 R50": zeros(
        {f"{p}res4_{n}_branch2a_w": (1,) for n in range(6) for p in ("", "t_")}
        | {"t_pool1_subsample_w": (16, 8, 5, 1, 1)}
    ),
    "a video network without a fast pathway": zeros({"res4_5_branch2a_w": (1,)}),
    "S3D of MIL-NCE": zeros({"mixed_5c.conv_b0.conv1.weight": (1,)}),
    "EfficientNet with squeeze-excitation": zeros(
        {"_conv_stem.weight": (32, 3, 3, 3), "_blocks.0._se_reduce.bias": (8,)}
    ),
    "a larger EfficientNet-Lite": zeros({"_conv_stem.weight": (40, 3, 3, 3)}),
    "HERO itself": zeros({"v_encoder.f_encoder.embeddings.position_ids": (1,)}),
    "RoBERTa": zeros({"roberta.embeddings.word_embeddings.weight": (1,)}),
    "an unknown network (its first names are 'a', 'b', 'c')": zeros(dict.fromkeys("abcd", (1,))),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_network_is_named(tmp_path, kind):
    np.savez(tmp_path / "a.npz", **OTHERS[kind])
    for name, needed in {
        "resnet": "not ResNet-152: use torchvision's resnet152-394f9c45.pth",
        "clip-vit": "not CLIP ViT-B/32: use OpenAI's ViT-B-32.pt",
        "slowfast": "not SlowFast 8x8 R50: use PySlowFast's SLOWFAST_8x8_R50.pkl",
    }.items():
        message = refused(name, tmp_path / "a.npz")
        assert f"holds {kind}" in message or f"weights of {kind}" in message
        assert needed in message


def test_arrays_that_differ_are_named(tmp_path):
    path = tmp_path / "a.npz"
    arrays = drawn(SHAPES["mil-nce"]) | zeros({"mixed_5c.conv_b0.conv1.weight": (1,)})
    shapes = {name: array.shape for name, array in arrays.items()}

    def message(changed):
        np.savez(path, **changed)
        return refused("mil-nce", path, shapes)

    first, second, *_ = arrays
    without = {name: array for name, array in arrays.items() if name != first}
    assert f"S3D of MIL-NCE, but lacks {first!r}: use S3D_HowTo100M's s3d_howto100m.pth" in message(
        without
    )
    more = {"head.a": arrays[first], "head.b": arrays[first]}
    assert "has 'head.a' and 1 more, which the network does not have" in message(arrays | more)
    assert f"has {second!r} of shape [4] instead of [3]" in message(arrays | {second: np.ones(4)})
    for wrong in np.nan, np.inf, 1e300:
        assert "not finite" in message(arrays | {second: np.full(3, wrong)})
    assert f"holds {second!r} as int64" in message(arrays | {second: np.ones(3, np.int64)})


def test_a_negative_variance_is_refused(tmp_path):
    arrays = drawn(SHAPES["resnet"])
    np.savez(tmp_path / "a.npz", **arrays | {"bn1.running_var": -np.ones(4)})
    assert "'bn1.running_var' with a negative variance" in refused("resnet", tmp_path / "a.npz")


def test_version_2_of_resnet_is_refused(tmp_path):
    path = save_zip(tmp_path / "resnet152-f82ba261.pth", tensors(drawn(SHAPES["resnet"])))
    message = refused("resnet", path)
    assert "IMAGENET1K_V2, not IMAGENET1K_V1: use torchvision's resnet152-394f9c45" in message


def test_a_network_that_there_is_not(tmp_path):
    with pytest.raises(InputError, match="choose one of resnet, slowfast"):
        state("resnet50", tmp_path / "a.npz", {})
