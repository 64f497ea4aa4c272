"""Generation compared with plain loops and exhaustive search, and with the caption decoder."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.models.decoding import Limits, beam, greedy, nucleus, sample
from hero_jax.models.hero import HERO
from hero_jax.tasks import captioning
from hero_jax.tasks.registry import make_task
from tests.hero_jax.caption_batches import CAPTIONS, moments_batch
from tests.hero_jax.tiny import QUICK, TOKENS, make_clips, make_config

SOME = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
COUNT, VOCABULARY, STATES = 3, 4, 59
LIMITS = Limits(start=0, end=1, pad=2, steps=4)


def random_table(seed):
    """Returns logits `[STATES, VOCABULARY]` of a model whose state depends on all tokens so far."""
    return np.random.default_rng(seed).normal(0, 2, (STATES, VOCABULARY)).astype(np.float32)


def after(state, token, position):
    return (state * 7 + token * 3 + position + 1) % STATES


def table_step(table):
    """The step function: its cache is the state, `[N, K]`."""

    def step(tokens, position, state):
        state = after(state, tokens, position)
        return table[state], state

    return step


def first_states(width):
    """Returns a different state for each of the COUNT sequences."""
    return jnp.broadcast_to(jnp.arange(COUNT)[:, None] * 17, (COUNT, width))


@functools.cache
def compiled(kind, width=1, length_penalty=0.0, temperature=1.0, top_p=1.0):
    """Returns a compiled function `(table, active, keys) -> result`."""

    def run(table, active, keys):
        arguments = (table_step(table), first_states(width), active, LIMITS)
        if kind == "beam":
            return beam(*arguments, width=width, length_penalty=length_penalty)
        if kind == "sample":
            return sample(*arguments, keys=keys, temperature=temperature, top_p=top_p)
        return greedy(*arguments)

    return jax.jit(run, compiler_options=QUICK)


def run(kind, table, active=(True,) * COUNT, seed=0, **settings):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(COUNT))
    return jax.device_get(compiled(kind, **settings)(table, np.array(active), keys))


def log_probabilities(table, row, tokens):
    """Returns the log-probability of each token of a sequence up to its end."""
    state, last, result = 17 * row, LIMITS.start, []
    for position, token in enumerate(tokens):
        state = int(after(state, last, position))
        logits = table[state].astype(np.float64)
        result.append(logits[token] - np.log(np.sum(np.exp(logits))))
        last = int(token)
        if last == LIMITS.end:
            break
    return result


def score(table, row, tokens, length_penalty):
    values = log_probabilities(table, row, tokens)
    return sum(values) / ((5 + len(values)) / 6) ** length_penalty


@SOME
@given(SEEDS)
def test_greedy_takes_the_likeliest_and_pads_after_the_end(seed):
    table = random_table(seed)
    for row, tokens in enumerate(run("greedy", table)):
        state, last, expected = 17 * row, LIMITS.start, []
        for position in range(LIMITS.steps):
            state = int(after(state, last, position))
            last = LIMITS.pad if LIMITS.end in expected else int(np.argmax(table[state]))
            expected.append(last)
        assert tokens.tolist() == expected


@SOME
@given(SEEDS, st.sampled_from([0.0, 1.0]))
def test_a_beam_of_one_is_greedy(seed, length_penalty):
    table = random_table(seed)
    tokens, _ = run("beam", table, width=1, length_penalty=length_penalty)
    np.testing.assert_array_equal(tokens, run("greedy", table))


@SOME
@given(SEEDS, st.sampled_from([2, 3]), st.sampled_from([0.0, 1.0]))
def test_a_beam_scores_what_it_found(seed, width, length_penalty):
    table = random_table(seed)
    tokens, scores = run("beam", table, width=width, length_penalty=length_penalty)
    for row in range(COUNT):
        assert scores[row] == pytest.approx(
            score(table, row, tokens[row], length_penalty), rel=1e-4, abs=1e-4
        )


@SOME
@given(SEEDS, st.sampled_from([0.0, 0.6, 2.0]))
def test_a_beam_that_holds_all_sequences_finds_the_best(seed, length_penalty):
    table = random_table(seed)
    width = VOCABULARY**LIMITS.steps
    tokens, scores = run("beam", table, width=width, length_penalty=length_penalty)
    greedy = run("greedy", table)
    for row in range(COUNT):
        best = max(
            score(table, row, one, length_penalty)
            for one in itertools.product(range(VOCABULARY), repeat=LIMITS.steps)
        )
        assert scores[row] == pytest.approx(best, rel=1e-4, abs=1e-4)
        assert scores[row] >= score(table, row, greedy[row], length_penalty) - 1e-4
        assert score(table, row, tokens[row], length_penalty) == pytest.approx(best, abs=1e-4)


@SOME
@given(SEEDS)
def test_sampling_a_cold_or_a_narrow_model_is_greedy(seed):
    table = random_table(seed)
    greedy = run("greedy", table)
    np.testing.assert_array_equal(run("sample", table, seed=seed, temperature=1e-6), greedy)
    np.testing.assert_array_equal(run("sample", table, seed=seed, top_p=1e-6), greedy)


@SOME
@given(SEEDS, st.floats(0.01, 1.0))
def test_the_nucleus_is_the_fewest_tokens_that_sum_to_top_p(seed, top_p):
    logits = np.random.default_rng(seed).normal(0, 2, 12).astype(np.float32)
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum()
    kept = np.isfinite(nucleus(jnp.asarray(logits), top_p))
    assert probabilities[kept].sum() >= top_p - 1e-5
    assert probabilities[kept].sum() - probabilities[kept].min() < top_p + 1e-5
    assert probabilities[kept].min() >= probabilities[~kept].max(initial=0)


def test_samples_are_as_frequent_as_they_are_likely():
    logits = jnp.array([0.0, -1.0, 1.0, 2.0])
    draws = 4000
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(1), jnp.arange(draws))
    tokens = sample(
        lambda tokens, position, cache: (jnp.broadcast_to(logits, (draws, 1, 4)), cache),
        (),
        jnp.ones(draws, bool),
        Limits(start=0, end=9, pad=9, steps=2),
        keys=keys,
        temperature=2.0,
        top_p=1.0,
    )
    found = np.zeros((4, 4))
    np.add.at(found, tuple(np.asarray(tokens).T), 1 / draws)
    each = jax.nn.softmax(logits / 2)
    # Steps do not depend on each other. Five standard deviations at most.
    np.testing.assert_allclose(found, jnp.outer(each, each), atol=5 * 0.5 / draws**0.5)


@pytest.mark.parametrize("kind", ["greedy", "beam", "sample"])
def test_inactive_sequences_are_padding_and_do_not_affect_others(kind):
    settings = {"width": 3} if kind == "beam" else {}
    for seed in range(5):
        table = random_table(seed)
        whole, part = (
            run(kind, table, active, seed=seed, **settings)
            for active in ((True, True, True), (True, False, True))
        )
        whole, part = (x[0] if kind == "beam" else x for x in (whole, part))
        np.testing.assert_array_equal(part[[0, 2]], whole[[0, 2]])
        assert np.all(part[1] == LIMITS.pad)


def test_the_loop_ends_with_the_last_sequence():
    seen = []

    def step(tokens, position, cache):
        jax.debug.callback(lambda p: seen.append(int(p)), position)
        # Row 0 ends at the third token, row 1 at once.
        last = jnp.where(jnp.arange(2) == 0, 2, 0)
        chosen = jnp.where(position >= last, LIMITS.end, 3)
        return jax.nn.one_hot(chosen, VOCABULARY)[:, None], cache

    limits = Limits(start=0, end=1, pad=2, steps=8)
    tokens = jax.block_until_ready(greedy(step, (), jnp.ones(2, bool), limits))
    jax.effects_barrier()
    assert sorted(seen) == [0, 1, 2]
    assert tokens.tolist() == [[3, 3, 1, *[2] * 5], [1, *[2] * 7]]


CAPTIONING = {
    "label_smoothing": 0.1,
    "max_steps": 6,
    "decoding": "greedy",
    "beam_width": 3,
    "length_penalty": 0.6,
    "temperature": 1.0,
    "top_p": 0.9,
    "decoder_layers": 1,
    "decoder_positions": 8,
}


def captioning_task(**changes):
    return make_task("captioning", CAPTIONING | changes, TOKENS, "tvc")


DECODINGS = ("greedy", "beam", "sample")
MOMENTS = [(0, 0, 1, 10), (1, 2, 6, 11), (1, 0, 7, 12), (3, 3, 4, 13), (3, 0, 9, 14)]


@pytest.fixture(scope="module")
def model():
    """Graph definition and parameters."""

    def make():
        module = HERO(make_config().model, {"tvc": captioning_task().make_head}, rngs=nnx.Rngs(3))
        # Without this most captions end after a word or two.
        bias = module.cross_modal.lm_head.bias
        bias[...] = bias[...].at[TOKENS.sep].set(-2.0)
        return module

    graphdef = nnx.split(nnx.eval_shape(make))[0]
    return graphdef, jax.jit(lambda: nnx.state(make()), compiler_options=QUICK)()


def captions_of(model, batch):
    """Returns for each decoding the tokens by record number."""
    graphdef, params = model
    tasks = {decoding: captioning_task(decoding=decoding) for decoding in DECODINGS}

    @functools.partial(jax.jit, compiler_options=QUICK)
    def predict(params, batch):
        module = nnx.merge(graphdef, params)
        return {decoding: task.predict(module, batch) for decoding, task in tasks.items()}

    result = {}
    for decoding, found in jax.device_get(predict(params, batch)).items():
        mask, tokens = found["query_mask"], found["tokens"]
        assert np.all(tokens[~mask] == TOKENS.pad)
        result[decoding] = dict(
            zip(found["query_numbers"][mask].tolist(), tokens[mask], strict=True)
        )
    return result


@pytest.fixture(scope="module")
def batch():
    return moments_batch([list(enumerate(make_clips(4)))], [MOMENTS], make_config())


@pytest.fixture(scope="module")
def captions(model, batch):
    return captions_of(model, batch)


def test_greedy_with_a_cache_is_greedy_without(model, batch, captions):
    words = np.stack([captions["greedy"][number] for *_, number in MOMENTS])
    assert len({tuple(row) for row in words}) > 2
    known = {**batch, "caption_token_ids": np.full((1, CAPTIONS, words.shape[1]), TOKENS.pad)}
    known["caption_token_ids"][0, : len(words)] = words
    known["caption_lengths"] = batch["query_mask"] * words.shape[1]

    @functools.partial(jax.jit, compiler_options=QUICK)
    def likeliest(params):
        module = nnx.merge(model[0], params)
        inputs, _ = captioning.shifted(known, TOKENS)
        hidden = captioning.decode(module, module.heads["tvc"], known, inputs, None)
        return jnp.argmax(module.word_logits(hidden), -1)

    again = np.asarray(likeliest(model[1]))[0, : len(words), :-1]
    for row, repeated in zip(words.tolist(), again.tolist(), strict=True):
        end = row.index(TOKENS.sep) + 1 if TOKENS.sep in row else len(row)
        assert row[:end] == repeated[:end]


def test_a_caption_does_not_depend_on_its_batch(model, captions):
    clips, config = make_clips(4), make_config()
    # Some of the clips in other groups and places, in a batch with more padding.
    config.batch.max_frames += 3
    groups = [[(3, clips[3])], [(2, clips[2]), (1, clips[1])]]
    moments = [[(0, 0, 9, 14), (0, 3, 4, 13)], [(1, 2, 6, 11)]]
    found = captions_of(model, moments_batch(groups, moments, config))
    for decoding in DECODINGS:
        assert sorted(found[decoding]) == [11, 13, 14]
        for number, tokens in found[decoding].items():
            np.testing.assert_array_equal(tokens, captions[decoding][number])


@pytest.mark.parametrize(
    "changes",
    [
        {"decoding": "best"},
        {"max_steps": 9},
        {"max_steps": 0},
        {"label_smoothing": 1.0},
        {"temperature": 0.0},
        {"top_p": 0.0},
        {"beam_width": 0},
    ],
)
def test_invalid_settings_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        captioning_task(**changes)
