"""Ranking losses, sums over selected slots, and the optimizer, against plain loops."""

import math

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_jax.conversion import original_names
from hero_jax.models.hero import HERO
from hero_jax.models.ops import take_slots
from hero_jax.models.params import flatten
from hero_jax.tasks.losses import cross_entropy, ranking_losses, sum_over_selected
from hero_jax.training import optimizer
from tests.hero_jax.tiny import make_config

SOME = settings(max_examples=60, deadline=None)
MARGIN, WEIGHT = 0.1, 10.0


def looped_ranking(scores, own_clip, clip_numbers, query_mask, clip_mask, kind, hard, pool):
    """The golden README's definition, one pair at a time."""

    def pair(negative, positive):
        if kind == "hinge":
            return max(0.0, MARGIN + negative - positive)
        return math.log(1 + math.exp(negative - positive))

    def row(negatives, positive):
        """Mean over a query's negatives, the best scored first."""
        negatives = sorted(negatives, reverse=True)
        weights = [(WEIGHT if i < pool else 0.1) if hard else 1.0 for i in range(len(negatives))]
        losses = [w * pair(n, positive) for w, n in zip(weights, negatives, strict=True)]
        return sum(losses) / max(len(losses), 1)

    queries, clips = np.flatnonzero(query_mask), np.flatnonzero(clip_mask)
    other_clips, other_queries = [], []
    for n in queries:
        own, positive = own_clip[n], scores[n, own_clip[n]]
        others = [c for c in clips if clip_numbers[c] != clip_numbers[own]]
        other_clips.append(row([scores[n, c] for c in others], positive))
        others = [m for m in queries if clip_numbers[own_clip[m]] != clip_numbers[own]]
        other_queries.append(row([scores[m, own] for m in others], positive))
    count = max(len(queries), 1)
    return sum(other_clips) / count, sum(other_queries) / count


@SOME
@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (5, 3), (6, 6)]),
    st.sampled_from(["hinge", "lse"]),
    st.booleans(),
    st.sampled_from([1, 2, 20]),
    st.booleans(),
)
def test_ranking_losses_are_those_of_a_loop(seed, sizes, kind, hard, pool, twice):
    num_queries, num_clips = sizes
    rng = np.random.default_rng(seed)
    clip_mask = np.arange(num_clips) < rng.integers(1, num_clips + 1)
    own_clip = rng.integers(0, clip_mask.sum(), num_queries)
    query_mask = rng.random(num_queries) < 0.8
    scores = rng.uniform(-1, 1, sizes).astype(np.float32)
    # What absent clips and queries score must not matter.
    scores[:, ~clip_mask] = -1e4
    scores[~query_mask] = rng.choice([-1.0, 1.0, 1e3])
    # Some clips are there twice: neither is the other's negative.
    clip_numbers = rng.integers(0, num_clips, num_clips) if twice else np.arange(num_clips)
    found = ranking_losses(
        scores,
        own_clip,
        clip_numbers,
        query_mask,
        clip_mask,
        kind=kind,
        margin=MARGIN,
        hard=hard,
        pool=pool,
        weight=WEIGHT,
    )
    expected = looped_ranking(
        scores, own_clip, clip_numbers, query_mask, clip_mask, kind, hard, pool
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_unknown_ranking_loss_is_refused():
    one = np.ones((1, 1), np.float32)
    with pytest.raises(ValueError, match="'soft'"):
        ranking_losses(
            one,
            np.zeros(1, int),
            np.zeros(1, int),
            one[0] > 0,
            one[0] > 0,
            kind="soft",
            margin=MARGIN,
            hard=False,
            pool=1,
            weight=WEIGHT,
        )


@SOME
@given(st.integers(0, 2**32), st.sampled_from([(1, 1, 2), (3, 4, 5)]))
def test_cross_entropy_is_that_of_a_loop(seed, shape):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape).astype(np.float32) * 5
    labels = rng.integers(-1, shape[-1], shape[:-1])
    valid = labels >= 0
    loss, correct = 0.0, 0
    for place in np.argwhere(valid):
        row, label = logits[tuple(place)].astype(float), labels[tuple(place)]
        loss -= math.log(np.exp(row)[label] / np.exp(row).sum())
        correct += int(row.argmax() == label)
    found = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(valid))
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-4, atol=1e-5)
    assert (found["correct"], found["count"]) == (correct, valid.sum())


GROUPS, SLOTS, SIZE = 2, 11, 3


def summed(x, weights, selected, sizes):
    """A sum of something not linear over the selected slots, and its gradient."""

    def loss(x, weights):
        def chunk(index, valid):
            y = jnp.tanh(take_slots(x, index) @ weights)
            return {
                "loss": jnp.sum(y, where=valid[..., None]),
                "count": jnp.sum(valid, dtype=jnp.float32),
            }

        sums = sum_over_selected(chunk, selected, sizes)
        return sums["loss"], sums["count"]

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(x, weights)


summed = jax.jit(summed, static_argnums=3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.booleans(), min_size=GROUPS * SLOTS, max_size=GROUPS * SLOTS),
    st.sampled_from([(1, 1), (4, 4), (6, 2), (8, 1), (11, 2), (128, 16)]),
    st.integers(0, 2**32),
)
def test_a_sum_over_selected_slots_is_a_masked_sum(selected, sizes, seed):
    selected = np.array(selected).reshape(GROUPS, SLOTS)
    rng = np.random.default_rng(seed)
    x, weights = rng.normal(size=(GROUPS, SLOTS, SIZE)), rng.normal(size=(SIZE, SIZE))
    (total, count), (x_gradient, weights_gradient) = summed(x, weights, selected, sizes)
    y = np.tanh(x @ weights)
    mask = selected[..., None]
    np.testing.assert_allclose(total, np.sum(y * mask), rtol=1e-5, atol=1e-5)
    assert count == selected.sum()
    slope = (1 - y**2) * mask
    np.testing.assert_allclose(x_gradient, slope @ weights.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        weights_gradient, np.einsum("gsi,gsj->ij", x, slope), rtol=1e-4, atol=1e-5
    )


def schedule_config(**changes):
    config = ml_collections.ConfigDict({"learning_rate": 1e-3, "steps": 10, "warmup_steps": 4})
    config.update(changes)
    return config


def test_the_rate_rises_to_its_peak_and_falls_to_the_floor():
    rate = optimizer.schedule(schedule_config())
    found = [float(rate(jnp.asarray(count))) for count in range(12)]
    rising = [1e-3 * step / 4 for step in (1, 2, 3, 4)]
    falling = [1e-3 * left / 6 for left in (5, 4, 3, 2, 1)]
    np.testing.assert_allclose(found, [*rising, *falling, 1e-8, 1e-8, 1e-8], rtol=1e-5)


def test_a_schedule_without_warm_up_begins_below_its_peak():
    rate = optimizer.schedule(schedule_config(warmup_steps=0))
    np.testing.assert_allclose([rate(0), rate(1)], [9e-4, 8e-4], rtol=1e-5)


@pytest.mark.parametrize("limit", [0.0, 0.5, 100.0])
def test_gradients_are_clipped_by_their_global_norm(limit):
    gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    transform = optimizer.clip_by_global_norm(limit)
    clipped, _ = transform.update(gradients, transform.init(gradients))
    scale = min(limit / 5, 1) if limit else 1
    np.testing.assert_allclose(clipped["a"], [3 * scale, 0], rtol=1e-5)
    np.testing.assert_allclose(clipped["b"], [[4 * scale]], rtol=1e-5)


def test_adamw_is_that_of_a_loop():
    """Bias-corrected step with eps added to the uncorrected root, decay after the step."""
    rng = np.random.default_rng(0)
    weights = {"decayed": rng.normal(size=3), "plain": rng.normal(size=2)}
    decay, betas, rates = 0.3, (0.9, 0.98), [1e-2, 3e-2, 2e-2, 1e-2]
    transform = optimizer.adamw(
        lambda count: jnp.asarray(rates)[count], betas, decay, {"decayed": True, "plain": False}
    )
    params = jax.tree.map(jnp.asarray, weights)
    state = transform.init(params)
    mean = {name: np.zeros_like(w) for name, w in weights.items()}
    square = {name: np.zeros_like(w) for name, w in weights.items()}
    for t, rate in enumerate(rates, start=1):
        # Small enough that it matters where eps is added.
        gradients = {name: 1e-5 * rng.normal(size=w.shape) for name, w in weights.items()}
        updates, state = transform.update(jax.tree.map(jnp.asarray, gradients), state, params)
        params = optax.apply_updates(params, updates)
        for name, g in gradients.items():
            mean[name] = betas[0] * mean[name] + (1 - betas[0]) * g
            square[name] = betas[1] * square[name] + (1 - betas[1]) * g**2
            step = rate * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
            weights[name] = weights[name] - step * mean[name] / (np.sqrt(square[name]) + 1e-6)
        weights["decayed"] = weights["decayed"] * (1 - rate * decay)
        for name, w in weights.items():
            np.testing.assert_allclose(params[name], w, rtol=1e-5, err_msg=name)


def test_parameters_decay_by_the_name_that_the_original_gives_them():
    config = make_config().model
    params = nnx.eval_shape(lambda: nnx.state(HERO(config, rngs=nnx.Rngs(0)), nnx.Param))
    mask = flatten(optimizer.decay_mask(params))
    assert mask.keys() == flatten(params).keys()
    names = original_names.original_names(mask)
    for path, decayed in mask.items():
        name = names[path]
        assert decayed == ("bias" not in name and "LayerNorm.weight" not in name), name
    # Named by hand: what a rule about shapes or kinds would get wrong.
    assert mask["feature_head/mlp/norm/scale"]
    assert not mask["feature_head/mlp/norm/bias"]
    assert not mask["cross_modal/frame_embedding/feature_norm/scale"]
    assert not mask["order_head/mlp/norm/scale"]
    assert not mask["cross_modal/lm_head/bias"]
    assert mask["span_head/start"]
    assert mask["cross_modal/pooler/kernel"]
    assert mask["cross_modal/text_embedding/word"]
