"""The caption decoder word by word and all at once, its masks, and the loss of captions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.conversion.original_names import original_names
from hero_jax.models.caption_decoder import CaptionDecoder
from hero_jax.models.params import flatten
from hero_jax.tasks import captioning, losses
from tests.hero_jax.caption_batches import moments_batch
from tests.hero_jax.tiny import QUICK, TOKENS, make_clips, make_config
from tests.paths import GOLDEN

RAGGED = GOLDEN / "ragged"
SOME = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
POSITIONS, LENGTH, FRAMES, COUNT = 7, 5, 6, 3
SIZE = make_config().model.hidden_size


def make_decoder():
    return CaptionDecoder(make_config().model, layers=2, positions=POSITIONS, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def decoder():
    graphdef = nnx.split(nnx.eval_shape(make_decoder))[0]
    draw = jax.jit(lambda: nnx.state(make_decoder()), compiler_options=QUICK)
    return nnx.merge(graphdef, draw())


def inputs(seed, frames=FRAMES):
    """Words `[COUNT, LENGTH, H]`, frames `[COUNT, frames, H]`, and a mask of some of them."""
    rng = np.random.default_rng(seed)
    words = rng.normal(size=(COUNT, LENGTH, SIZE)).astype(np.float32)
    memory = rng.normal(size=(COUNT, frames, SIZE)).astype(np.float32)
    mask = rng.random((COUNT, frames)) < 0.6
    # The first has no frames at all.
    mask[0] = False
    return words, memory, mask


@pytest.fixture(scope="module")
def at_once(decoder):
    def run(words, frames, mask):
        return decoder(words, decoder.project(frames), mask)

    return jax.jit(run, compiler_options=QUICK)


@pytest.fixture(scope="module")
def by_step(decoder):
    def run(words, frames, mask):
        memory = decoder.project(frames)

        def step(cache, inputs):
            position, word = inputs
            x, cache = decoder.step(word[:, None], position, cache, memory, mask)
            return cache, x[:, 0]

        positions = (jnp.arange(LENGTH), words.swapaxes(0, 1))
        outputs = jax.lax.scan(step, decoder.init_cache((COUNT, 1), POSITIONS), positions)[1]
        return outputs.swapaxes(0, 1)

    return jax.jit(run, compiler_options=QUICK)


@SOME
@given(SEEDS)
def test_steps_give_what_all_at_once_gives(by_step, at_once, seed):
    arrays = inputs(seed)
    np.testing.assert_allclose(by_step(*arrays), at_once(*arrays), atol=2e-5)


@SOME
@given(SEEDS, st.integers(1, LENGTH - 1))
def test_a_word_sees_no_later_word(at_once, seed, first):
    words, frames, mask = inputs(seed)
    changed = words.copy()
    changed[:, first:] *= -1
    before, after = at_once(words, frames, mask), at_once(changed, frames, mask)
    np.testing.assert_array_equal(before[:, :first], after[:, :first])
    assert not np.allclose(before[:, first:], after[:, first:])


@SOME
@given(SEEDS)
def test_frames_outside_the_moment_are_not_read(at_once, seed):
    words, frames, mask = inputs(seed)
    other = np.where(mask[..., None], frames, frames + 3)
    np.testing.assert_array_equal(at_once(words, frames, mask), at_once(words, other, mask))
    longer = np.pad(frames, ((0, 0), (0, 4), (0, 0)), constant_values=2)
    longer_mask = np.pad(mask, ((0, 0), (0, 4)))
    np.testing.assert_allclose(
        at_once(words, frames, mask), at_once(words, longer, longer_mask), atol=2e-5
    )
    inside = np.where(mask[..., None], frames + 3, frames)
    changed = np.any(at_once(words, frames, mask) != at_once(words, inside, mask), axis=(1, 2))
    np.testing.assert_array_equal(changed, mask.any(1))


def test_more_words_than_positions_are_refused(decoder):
    words = jnp.zeros((1, POSITIONS + 1, SIZE))
    frames = decoder.project(jnp.zeros((1, FRAMES, SIZE)))
    with pytest.raises(InputError, match=f"{POSITIONS + 1} words"):
        decoder(words, frames, jnp.ones((1, FRAMES), bool))
    with pytest.raises(InputError, match=f"{POSITIONS + 1} words"):
        decoder.init_cache((1, 1), POSITIONS + 1)


def test_every_parameter_has_its_name_in_the_original(decoder):
    weights = np.load(RAGGED / "captioning.npz")
    # A mask and a label distribution are buffers there.
    buffers = {"decoder.tri_mask", "loss_func.one_hot"}
    names = {name.removeprefix("weights/") for name in weights if name.startswith("weights/")}
    names = {name for name in names if not name.startswith("v_encoder.")} - buffers
    ours = flatten(nnx.state(decoder, nnx.Param))
    found = original_names(f"heads/any/{path}" for path in ours)
    assert sorted(found.values()) == sorted(names)


def test_it_is_initialized_as_in_pytorch(decoder):
    for path, value in flatten(nnx.state(decoder, nnx.Param)).items():
        if path == "position":
            assert 0.7 < np.std(value) < 1.3
        elif path.endswith("kernel"):
            # Uniform values have a variance of a third of their squared bound.
            assert np.abs(value).max() <= len(value) ** -0.5
            assert np.std(value) == pytest.approx((3 * len(value)) ** -0.5, rel=0.15)


smoothed = jax.jit(losses.smoothed, static_argnums=2, compiler_options=QUICK)


@SOME
@given(SEEDS, st.sampled_from([0.0, 0.1, 0.7]), st.sampled_from([2, 9]))
def test_the_smoothed_loss_is_the_divergence(seed, smoothing, vocabulary):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, vocabulary).astype(np.float32)
    label = int(rng.integers(vocabulary))
    log_softmax = logits - np.log(np.sum(np.exp(logits.astype(np.float64))))
    target = np.full(vocabulary, smoothing / (vocabulary - 1))
    target[label] = 1 - smoothing
    expected = sum(t * (math.log(t) - p) for t, p in zip(target, log_softmax, strict=True) if t > 0)
    found = smoothed(logits, label, smoothing)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_targets_are_the_words_and_the_end():
    moments = [(0, 0, 1, 3), (1, 2, 6, 4), (3, 0, 9, 5)]
    captions = {3: [7, 8, 9, 10, 11], 4: [12], 5: []}
    groups = [list(enumerate(make_clips(4)))]
    batch = moments_batch(groups, [moments], make_config(), captions)
    read, targets = (np.asarray(x)[0] for x in captioning.shifted(batch, TOKENS))
    assert read[0].tolist() == [TOKENS.cls, 7, 8, 9, 10, 11]
    assert targets[0].tolist() == [7, 8, 9, 10, 11, TOKENS.sep]
    assert read[1, :2].tolist() == [TOKENS.cls, 12]
    assert targets[1].tolist() == [12, TOKENS.sep, -1, -1, -1, -1]
    # A caption without words, and padding.
    assert np.all(targets[2:] == -1)
