"""Extractors split rows into batches over the devices."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data.errors import InputError
from data.video.sampling import FrameSampling
from hero_jax.extractors import registry
from hero_jax.extractors.base import Extractor, Network
from hero_jax.extractors.layers import Conv, normalised
from hero_jax.extractors.weights import weights_hash

SHAPES = {
    "conv.weight": (5, 3, 3, 3),
    **{f"bn.{part}": (5,) for part in ("weight", "bias", "running_mean", "running_var")},
}


class Tiny(nnx.Module):
    """A convolution and a mean; counts how often it is traced."""

    traces = 0

    def __init__(self, weights):
        self.dtype = weights.dtype
        self.conv = Conv(weights, "conv", "bn", (3, 5), (3, 3), strides=(2, 2))

    def __call__(self, rows):
        Tiny.traces += 1
        x = self.conv(normalised(rows, (0.5,) * 3, (0.2,) * 3, self.dtype))
        return x.mean((1, 2), dtype=jnp.float32)


NETWORK = Network("tiny", 5, functools.partial(FrameSampling, crop=True), Tiny, batch=(4, 4))


def tiny(seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.uniform(0.5, 1, shape).astype("f4") for name, shape in SHAPES.items()}
    return Extractor(NETWORK, arrays, dtype), arrays


def rows(count, height=6, width=8):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def reference(arrays, rows):
    """Returns the features as a convolution and a BatchNorm after it give them."""
    x = np.pad((rows / 255 - 0.5) / 0.2, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = (size // 2 for size in rows.shape[1:3])
    y = sum(
        x[:, i : i + 2 * height : 2, j : j + 2 * width : 2] @ arrays["conv.weight"][:, :, i, j].T
        for i in range(3)
        for j in range(3)
    )
    scale = arrays["bn.weight"] / np.sqrt(arrays["bn.running_var"] + 1e-5)
    return ((y - arrays["bn.running_mean"]) * scale + arrays["bn.bias"]).mean((1, 2))


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_any_number_of_rows(count):
    extractor, arrays = tiny()
    features = extractor(rows(count))
    assert features.shape == (count, 5)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, reference(arrays, rows(count)), rtol=1e-5, atol=1e-5)


def test_bfloat16_rounds_what_is_computed_alone():
    extractor, arrays = tiny(dtype="bfloat16")
    features, expected = extractor(rows(9)), reference(arrays, rows(9))
    assert features.dtype == np.float32
    assert extractor.weights == tiny()[0].weights
    error = np.abs(features - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 2e-2


def test_it_is_compiled_once_for_each_shape():
    extractor, _ = tiny()
    before = Tiny.traces
    for count in (3, 9, 4):
        extractor(rows(count))
    assert Tiny.traces == before + 1
    extractor(rows(2, width=10))
    extractor(rows(5, width=10))
    assert Tiny.traces == before + 2


def on_eight_devices(count):
    extractor, _ = tiny()
    return extractor(rows(count))


def test_rows_are_spread_over_devices(eight_devices):
    extractor, _ = tiny()
    for count in (3, 70):
        np.testing.assert_allclose(
            eight_devices(on_eight_devices, count), extractor(rows(count)), rtol=1e-5, atol=1e-6
        )


def test_identity_is_the_hash_of_the_weights():
    first, arrays = tiny()
    assert NETWORK.shapes() == SHAPES
    assert (first.name, first.width, first.weights) == ("tiny", 5, weights_hash(arrays))
    assert tiny()[0].weights == first.weights
    assert tiny(seed=1)[0].weights != first.weights


def test_loading_says_what_is_missing():
    with pytest.raises(InputError, match=r"resnet.*needs a file of weights"):
        registry.load("resnet", None)
    with pytest.raises(InputError, match="choose one of resnet, slowfast"):
        registry.load("resnet50", None)


def test_an_extractor_says_what_is_known_of_its_weights():
    _, arrays = tiny()
    assert Extractor(NETWORK, arrays, warnings=["another training"]).warnings == (
        "another training",
    )
    assert registry.load("efficientnet-lite0", None).warnings == ()
