"""Rates of their own for what is outside of the encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import tvc
from hero_jax import sharding
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_task
from hero_jax.training import optimizer
from hero_jax.training.step import Program
from tests.hero_jax.random_models import random_model
from tests.hero_jax.tiny import QUICK, TOKENS, make_config

TASKS = {
    "qa": make_task("question_answering", {"span_weight": 1.0}, TOKENS, "qa"),
    "vli": make_task("inference", {}, TOKENS, "vli"),
    "tvc": make_task("captioning", tvc.get_config().captioning, TOKENS, "tvc"),
}
MULTIPLIER, RATE, BETAS, DECAY = 8.0, 1e-3, (0.9, 0.98), 0.3


@functools.cache
def params():
    """Parameters of a model with all heads."""
    heads = {name: task.make_head for name, task in TASKS.items()}
    return random_model(make_config().model, heads)[1]


def gradients(seed, scale):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda p: jnp.asarray(rng.normal(scale=scale, size=p.shape), p.dtype), params()
    )


@functools.cache
def transform():
    """The optimizer of a run that is at its peak rate in the second update."""
    config = make_config()
    config.optimizer.update(
        learning_rate=RATE,
        steps=10,
        warmup_steps=2,
        betas=BETAS,
        weight_decay=DECAY,
        max_gradient_norm=0.0,
        head_rate_multiplier=MULTIPLIER,
    )
    own = Program(config, TASKS, sharding.make_mesh(config.mesh)).transform
    return own.init, jax.jit(own.update, compiler_options=QUICK)


def second_update(scale):
    """Weight, both gradients and second update of each parameter, by path."""
    init, update = transform()
    first, second = gradients(0, scale), gradients(1, scale)
    _, state = update(first, init(params()), params())
    updates, _ = update(second, state, params())
    four = [flatten(tree) for tree in (params(), first, second, updates)]
    return {path: [np.asarray(tree[path], np.float64) for tree in four] for path in four[0]}


def outside(path):
    """By the first part of the path."""
    return path.split("/")[0] in ("heads", "query_head", "span_head")


@pytest.mark.parametrize("scale", [1e-5, 0.0])
def test_what_is_outside_of_the_encoder_takes_larger_steps_and_decays_faster(scale):
    """Without gradients nothing but decay is left."""
    found = second_update(scale)
    assert {path.split("/")[1] for path in found if path.startswith("heads/")} == TASKS.keys()
    for path, (weight, first, second, update) in found.items():
        rate = RATE * (MULTIPLIER if outside(path) else 1)
        mean = BETAS[0] * (1 - BETAS[0]) * first + (1 - BETAS[0]) * second
        square = BETAS[1] * (1 - BETAS[1]) * first**2 + (1 - BETAS[1]) * second**2
        correction = np.sqrt(1 - BETAS[1] ** 2) / (1 - BETAS[0] ** 2)
        step = -rate * correction * mean / (np.sqrt(square) + 1e-6)
        decay = DECAY if optimizer.decays(path) else 0
        expected = step - rate * decay * (weight + step)
        np.testing.assert_allclose(update, expected, rtol=1e-3, atol=1e-8, err_msg=path)


def test_a_multiplier_of_one_changes_nothing():
    rng = np.random.default_rng(0)
    weights, gradient = jnp.asarray(rng.normal(size=(2, 50)), jnp.float32)
    rate = jnp.float32(RATE)
    # As `optimizer.adamw` has it, without a scale.
    m, v = (1 - BETAS[0]) * gradient, (1 - BETAS[1]) * gradient * gradient
    one = jnp.int32(1)
    size = rate * jnp.sqrt(1 - BETAS[1] ** one) / (1 - BETAS[0] ** one)
    step = -size * m / (jnp.sqrt(v) + optimizer.EPSILON)
    expected = {"decayed": step - rate * DECAY * (weights + step), "plain": step}
    both = dict.fromkeys(expected, weights)
    mask, scales = {"decayed": True, "plain": False}, dict.fromkeys(expected, 1.0)
    own = optimizer.adamw(lambda count: rate, BETAS, DECAY, mask, scales)
    found, _ = own.update(dict.fromkeys(expected, gradient), own.init(both), both)
    for name, update in expected.items():
        np.testing.assert_allclose(found[name], update, rtol=1e-6, err_msg=name)
    assert set(jax.tree.leaves(optimizer.rate_scales(params(), 1.0))) == {1.0}
