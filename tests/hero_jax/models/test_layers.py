"""Permutation of entries, dropout, attention, rematerialisation and bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from hero_jax.models.batch import same_segment
from hero_jax.models.layers import Attention, Transformer
from hero_jax.models.ops import dropout, permute_entries
from hero_jax.models.params import flatten
from tests.hero_jax.tiny import MAX_FRAMES, QUICK, make_clips, make_config, make_module, pack

SIZE = make_config().model.hidden_size


def plain_gather(x, source):
    gathered = jax.vmap(lambda entries, index: entries[jnp.maximum(index, 0)])(x, source)
    return jnp.where(source[..., None] >= 0, gathered, 0)


@jax.jit
def both_permutations(x, source, target, weights):
    """Returns value and gradient of a loss after `permute_entries`, and after a plain gather."""

    def loss(move):
        return lambda x: jnp.sum(move(x) ** 2 * weights)

    return (
        jax.value_and_grad(loss(lambda x: permute_entries(x, source, target)))(x),
        jax.value_and_grad(loss(lambda x: plain_gather(x, source)))(x),
    )


# Each size is compiled, so there are few.
@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(1, 1, 3), (2, 5, 4), (3, 4, 7)]))
def test_permuting_and_its_gradient_are_those_of_a_gather(seed, sizes):
    groups, entries, places = sizes
    rng = np.random.default_rng(seed)
    source = np.full((groups, places), -1)
    target = np.full((groups, entries), -1)
    for g in range(groups):
        moved = rng.integers(0, min(entries, places) + 1)
        come, go = rng.permutation(entries)[:moved], rng.permutation(places)[:moved]
        source[g, go], target[g, come] = come, go
    x, weights = rng.normal(size=(groups, entries, 2)), rng.normal(size=(groups, places, 2))
    ours, plain = both_permutations(x, source, target, weights)
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-6)


def test_permuting_the_frames_of_a_batch_has_an_inverse():
    config = make_config()
    batch = pack([list(enumerate(make_clips(4)))], config)
    frames = np.random.default_rng(0).normal(size=(1, 4 * MAX_FRAMES, 3)).astype(np.float32)
    index, slot = (batch[name].reshape(1, -1) for name in ("frame_index", "frame_slot"))
    back = permute_entries(permute_entries(frames, index, slot), slot, index)
    np.testing.assert_array_equal(back, frames * (slot >= 0)[..., None])


def kept(shape, rate, key):
    return np.asarray(dropout(jnp.ones(shape), rate, key)) > 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_scales_the_rest(rate):
    x = jax.random.normal(jax.random.key(1), (64, 4096))
    y = np.asarray(dropout(x, rate, jax.random.key(0)))
    zero = y == 0
    assert abs(zero.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / zero.size)
    np.testing.assert_allclose(y[~zero], np.asarray(x)[~zero] / (1 - rate), rtol=1e-6)
    # In every row and every column alike.
    for axis in (0, 1):
        shares, count = zero.mean(axis), zero.shape[axis]
        assert abs(shares.std() / np.sqrt(rate * (1 - rate) / count) - 1) < 0.35


def test_without_a_key_or_a_rate_nothing_is_dropped():
    x = jnp.arange(5.0)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x
    assert dropout(x.astype(jnp.bfloat16), 0.5, jax.random.key(0)).dtype == jnp.bfloat16


def test_dropout_of_neighbours_and_of_other_keys_is_uncorrelated():
    rate, shape = 0.5, (512, 512)
    keys = [jax.random.fold_in(jax.random.key(seed), n) for seed in range(3) for n in range(4)]
    drawn = [2.0 * kept(shape, rate, key) - 1 for key in keys]
    bound = 5 / np.sqrt(drawn[0].size)
    first = drawn[0]
    for rows in range(4):
        for columns in range(-3, 4):
            if rows or columns > 0:
                moved = np.roll(first, (rows, columns), (0, 1))
                assert abs(np.mean(first * moved)) < bound, (rows, columns)
    for power in range(4, 18):
        assert abs(np.mean(first.ravel() * np.roll(first.ravel(), 2**power))) < bound, power
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert abs(np.mean(one * other)) < bound
            # Nor is one a shifted copy of the other, as multiples of one constant would be.
            spectrum = np.fft.fft(one.ravel()) * np.conj(np.fft.fft(other.ravel()))
            assert np.abs(np.fft.ifft(spectrum).real).max() / one.size < 1.5 * bound


def test_the_gradient_drops_the_entries_that_the_output_dropped():
    x, key = jnp.linspace(-1, 1, 1000), jax.random.key(0)
    gradient = jax.grad(lambda x: dropout(x, 0.3, key).sum())(x)
    np.testing.assert_allclose(gradient, kept(x.shape, 0.3, key) / 0.7, rtol=1e-6)


def check_dropout_on_eight_devices():
    """Splits an array over eight devices in several ways."""
    x = np.ones((16, 6, 8), np.float32)
    key = jax.random.key(3)
    expected = np.asarray(dropout(x, 0.3, key))
    assert len(jax.devices()) == 8
    for shape, spec in (((8,), P("a")), ((8,), P(None, None, "a")), ((4, 2), P("a", "b"))):
        mesh = jax.make_mesh(shape, ("a", "b")[: len(shape)])
        split = jax.device_put(x, NamedSharding(mesh, spec))
        for function in (dropout, jax.jit(dropout, static_argnums=1)):
            np.testing.assert_array_equal(np.asarray(function(split, 0.3, key)), expected)


def test_dropout_is_the_same_however_the_array_is_split_over_devices(eight_devices):
    eight_devices(check_dropout_on_eight_devices)


@functools.cache
def attention():
    """Returns an attention layer with fixed parameters as a compiled function."""
    graphdef, params = nnx.split(Attention(make_config().model, rngs=nnx.Rngs(0)))
    return jax.jit(lambda x, mask: nnx.merge(graphdef, params)(x, mask))


@jax.jit
def attention_gradient(x, mask, chosen):
    """Returns the gradient of the outputs at the chosen slots, with respect to all slots."""
    return jax.grad(lambda x: jnp.sum(attention()(x, mask) ** 2 * chosen[:, None]))(x)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=12, max_size=12), st.integers(0, 2**32))
def test_attention_does_not_leak_between_segments(ids, seed):
    """A segment's output and gradient do not depend on other segments."""
    segment_ids = np.sort(np.array(ids))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(len(ids), SIZE)).astype(np.float32)
    chosen = segment_ids == segment_ids[rng.integers(len(ids))]
    changed = np.where(chosen[:, None], x, 100 * rng.normal(size=x.shape)).astype(np.float32)
    mask = same_segment(segment_ids)
    np.testing.assert_array_equal(attention()(x, mask)[chosen], attention()(changed, mask)[chosen])
    gradient = np.asarray(attention_gradient(x, mask, chosen))
    assert not gradient[~chosen].any()
    assert np.abs(gradient[chosen]).sum() > 0


def test_attention_within_a_segment_is_that_of_the_segment_alone():
    x = np.random.default_rng(0).normal(size=(9, SIZE)).astype(np.float32)
    segment_ids = np.array([1, 1, 1, 2, 2, 3, 0, 0, 0])
    packed = attention()(x, same_segment(segment_ids))
    for segment in (1, 2, 3):
        chosen = segment_ids == segment
        alone = attention()(x[chosen], np.ones((chosen.sum(), chosen.sum()), bool))
        np.testing.assert_allclose(packed[chosen], alone, atol=1e-6)


def loss_and_gradient(config, remat, key):
    """Returns loss and gradient of a transformer with dropout."""
    config.remat = remat
    graphdef, params = nnx.split(Transformer(config, 1, rngs=nnx.Rngs(0)))
    x = jax.random.normal(jax.random.key(1), (3, 8, config.hidden_size))
    mask = same_segment(jnp.array([1, 1, 1, 2, 2, 3, 3, 0]))

    def loss(params):
        return jnp.sum(nnx.merge(graphdef, params)(x, mask, key) ** 3)

    return jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)(params)


def test_rematerialisation_changes_nothing():
    config = make_config().model
    key = jax.random.key(0)
    plain, again = (loss_and_gradient(config, remat, key) for remat in (False, True))
    without_dropout = loss_and_gradient(config, False, None)
    assert abs(plain[0] - without_dropout[0]) > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), plain, again)


def test_bfloat16_is_close_to_float32():
    """The outputs of a LayerNorm have a standard deviation of 1; bfloat16 has 8 bits."""
    config = make_config()
    batch = pack([list(enumerate(make_clips(4)))], config)

    def encode(dtype):
        config.model.dtype = dtype
        graphdef, params = nnx.split(make_module(config))
        assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        run = jax.jit(lambda params: nnx.merge(graphdef, params).encode_clips(batch))
        return run(params)

    exact, rough = encode("float32"), encode("bfloat16")
    assert rough.dtype == jnp.bfloat16
    valid = np.arange(MAX_FRAMES) < batch["num_frames"][..., None]
    difference = np.asarray(rough, np.float32)[valid] - np.asarray(exact)[valid]
    assert 0 < np.sqrt(np.mean(difference**2)) < 0.05


def expected_draw(path, shape, width, spread):
    """Returns the standard deviation of a parameter and the bound of its values."""
    leaf = path.rsplit("/", 1)[-1]
    is_after = path.startswith(("span_head/", "query_head/"))
    if "norm/" in path or (leaf == "bias" and not is_after):
        return 0.0, float(leaf == "scale")
    if path == "query_head/position":
        return 1.0, np.inf
    if is_after:
        bound = (shape[0] if path in ("span_head/start", "span_head/end") else width) ** -0.5
        return bound / np.sqrt(3), bound
    return spread, np.inf


def test_parameters_are_initialized_as_in_the_original():
    """The encoder and its heads as in BERT, the query and span heads with PyTorch's defaults."""
    config = make_config()
    config.model.update(hidden_size=64, initializer_range=0.05)
    params = flatten(nnx.split(make_module(config), nnx.Param)[1])
    for path, array in jax.device_get(params).items():
        deviation, largest = expected_draw(path, array.shape, 64, 0.05)
        assert np.abs(array).max() <= largest, path
        # Within six standard errors.
        error = 6 * deviation / np.sqrt(array.size)
        assert abs(array.std() - deviation) <= error, path
        if path.endswith("/scale"):
            assert (array == 1).all(), path
        else:
            assert abs(array.mean()) <= error, path
