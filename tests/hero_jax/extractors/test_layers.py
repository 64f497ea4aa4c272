"""Convolutions of clips as those of images, and pools, against plain computations."""

import itertools

import jax
import numpy as np
import pytest
from jax import lax

from hero_jax.extractors import layers, s3d

HIGHEST = lax.Precision.HIGHEST


@pytest.mark.parametrize(
    ("kernel", "strides"),
    [
        ((1, 3, 3), (1, 1, 1)),
        ((1, 7, 7), (1, 2, 2)),
        ((1, 1, 1), (1, 2, 2)),
        ((3, 1, 1), (1, 1, 1)),
        ((7, 1, 1), (4, 1, 1)),
        ((5, 7, 7), (1, 2, 2)),
        ((2, 4, 4), (1, 1, 1)),
    ],
)
def test_convolutions_of_clips(kernel, strides):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 10, 8, 3)).astype("f4")
    weights = rng.normal(size=(*kernel, 3, 4)).astype("f4")
    padding = [(size // 2, size // 2) for size in kernel]
    expected = lax.conv_general_dilated(
        x,
        weights,
        strides,
        padding,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        precision=HIGHEST,
    )
    actual = layers.convolve(jax.numpy.asarray(x), weights, strides, padding)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def pooled(x, window, strides, before, after, outside):
    """Returns the largest values of windows that lie on one clip `[t, h, w]` with a border."""
    border = list(zip(before, after, strict=True))
    x = np.pad(x, border, constant_values=outside)
    ends = [range(0, n, step) for n, step in zip(x.shape, strides, strict=True)]
    starts = [
        # A window may reach over the end, but only as far as the one before it did not reach it.
        [start for start in end if start == 0 or start - step + size < n]
        for end, n, step, size in zip(ends, x.shape, strides, window, strict=True)
    ]
    out = np.zeros([len(of_axis) for of_axis in starts], x.dtype)
    for place in itertools.product(*(range(len(of_axis)) for of_axis in starts)):
        corner = [of_axis[i] for of_axis, i in zip(starts, place, strict=True)]
        part = tuple(slice(a, a + size) for a, size in zip(corner, window, strict=True))
        out[place] = x[part].max()
    return out


@pytest.mark.parametrize(
    ("window", "strides"), [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))]
)
@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9)])
def test_pools_of_s3d_pad_with_zeros_and_reach_over_the_end(window, strides, shape):
    # All are negative, so that the zeros show.
    x = -np.random.default_rng(0).uniform(1, 2, shape).astype("f4")
    total = [max(size - step, 0) for size, step in zip(window, strides, strict=True)]
    before = [size // 2 for size in total]
    after = [size - first for size, first in zip(total, before, strict=True)]
    expected = pooled(x, window, strides, before, after, 0)
    actual = s3d.pool(jax.numpy.asarray(x[None, ..., None]), window, strides)
    np.testing.assert_array_equal(actual[0, ..., 0], expected)


def test_padding_of_other_pools_is_never_the_largest():
    x = -np.random.default_rng(0).uniform(1, 2, (5, 7)).astype("f4")
    actual = layers.max_pool(
        jax.numpy.asarray(x[None, ..., None]), (3, 3), (2, 2), ((1, 1), (1, 1))
    )
    expected = pooled(x[None], (1, 3, 3), (1, 2, 2), (0, 1, 1), (0, 1, 1), -np.inf)
    np.testing.assert_array_equal(actual[..., 0], expected)


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (5, 1)])
def test_depthwise_convolutions(size, stride):
    rng = np.random.default_rng(0)
    arrays = {
        "conv.weight": rng.normal(size=(4, 1, size, size)).astype("f4"),
        **{f"bn.{part}": np.ones(4, "f4") for part in ("weight", "running_var")},
        **{f"bn.{part}": np.zeros(4, "f4") for part in ("bias", "running_mean")},
    }
    options = {"strides": (stride, stride), "padding": ((0, 1), (1, 2)), "epsilon": 0.0}
    conv = layers.Conv(
        layers.Weights(arrays), "conv", "bn", (4, 4), (size, size), depthwise=True, **options
    )
    x = rng.normal(size=(2, 9, 8, 4)).astype("f4")
    expected = lax.conv_general_dilated(
        x,
        arrays["conv.weight"].transpose(2, 3, 1, 0),
        options["strides"],
        options["padding"],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
        precision=HIGHEST,
    )
    np.testing.assert_allclose(conv(jax.numpy.asarray(x)), expected, rtol=1e-4, atol=1e-4)
