"""AdamW as the original runs it, and its learning rate schedule."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from data.config import Config
from hero_jax.models.params import flatten, unflatten

# Floor of the learning rate, so that the last update changes something.
RATE_FLOOR = 1e-8
EPSILON = 1e-6
# PyTorch's clip_grad_norm_ adds this to the norm.
CLIP_EPSILON = 1e-6
# Parameters that are not decayed: biases, and scales of norms but that of the feature head, which
# the original decays because of the name it gave it (`feat_regress.net.2.weight`).
NOT_DECAYED = re.compile(r"(^|.*/)bias|(?!feature_head/).*norm/scale")
# Modules beside what the original calls the encoder.
HEADS = ("heads/", "span_head/", "query_head/")


class AdamWState(NamedTuple):
    """State of AdamW.

    Attributes:
      count: number of updates made.
      mu: first moments.
      nu: second moments.
    """

    count: jax.Array  # type: ignore[assignment]
    mu: optax.Updates
    nu: optax.Updates


def schedule(config: Config) -> optax.Schedule:
    """Returns the learning rate by updates made: linear warm-up, then linear decay to 0.

    Args:
      config: `learning_rate`, `warmup_steps` and `steps`, where the decay ends.
    """

    def learning_rate(count):
        # The original advances its step before it asks for the learning rate.
        step = count + 1
        warm = step / max(config.warmup_steps, 1)
        left = (config.steps - step) / max(config.steps - config.warmup_steps, 1)
        factor = jnp.where(step < config.warmup_steps, warm, jnp.maximum(left, 0))
        return jnp.maximum(config.learning_rate * factor, RATE_FLOOR)

    return learning_rate


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """Scales gradients of a larger global norm down to `limit`; 0 leaves all as they are."""
    if not limit:
        return optax.identity()

    def update(updates, state, params=None):
        del params
        scale = jnp.minimum(limit / (optax.tree.norm(updates) + CLIP_EPSILON), 1.0)
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def adamw(
    learning_rate: optax.Schedule,
    betas: Sequence[float],
    weight_decay: float,
    decay_mask: Any,
    scales: Any = None,
) -> optax.GradientTransformation:
    """Returns AdamW in the form of the original.

    Its step size is bias-corrected, `w -= a·m / (√v + ε)` with `a = η·√(1 - β₂ᵗ) / (1 - β₁ᵗ)` for a
    learning rate η, so ε is added to the uncorrected root; then `w -= η·decay·w`, on the weight
    after the step.

    Args:
      learning_rate: function of updates made.
      decay_mask: pytree of bool like the parameters.
      scales: pytree of factors of each parameter's learning rate; None for 1.
    """
    beta1, beta2 = betas
    scales = jax.tree.map(lambda _: 1.0, decay_mask) if scales is None else scales

    def init(params):
        return AdamWState(
            jnp.zeros([], jnp.int32),
            jax.tree.map(jnp.zeros_like, params),
            jax.tree.map(jnp.zeros_like, params),
        )

    # Functions of one parameter are traced once for all of the same shape.
    @jax.jit
    def first_moment(m, g):
        return beta1 * m + (1 - beta1) * g

    @jax.jit
    def second_moment(v, g):
        return beta2 * v + (1 - beta2) * g * g

    @functools.partial(jax.jit, static_argnames=("decay", "scale"))
    def changed(rate, size, weight, m, v, decay, scale):
        step = -scale * size * m / (jnp.sqrt(v) + EPSILON)
        share = rate * scale * weight_decay
        # The step appears once, so that a CPU makes it and adds it in one pass.
        return (1 - share) * step - share * weight if decay else step

    def update(updates, state, params):
        rate = learning_rate(state.count)
        count = state.count + 1
        mu = jax.tree.map(first_moment, state.mu, updates)
        nu = jax.tree.map(second_moment, state.nu, updates)
        size = rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)

        def change(*of_parameter):
            return changed(rate, size, *of_parameter)

        return (
            jax.tree.map(change, params, mu, nu, decay_mask, scales),
            AdamWState(count, mu, nu),
        )

    return optax.GradientTransformation(init, update)


def decay_mask(params: nnx.State) -> nnx.State:
    """Returns True for the parameters that the original decays, as a pytree like params."""
    return _per_parameter(params, decays)


def decays(path: str) -> bool:
    """Returns whether weight decay applies to a parameter."""
    return NOT_DECAYED.fullmatch(path) is None


def rate_scales(params: nnx.State, head_rate_multiplier: float) -> nnx.State:
    """Returns factors of each learning rate, 1 in the encoder, as a pytree like params."""
    return _per_parameter(params, lambda path: 1.0 if in_encoder(path) else head_rate_multiplier)


def in_encoder(path: str) -> bool:
    """Returns whether a parameter is of the original's encoder, which is all but some heads."""
    return not path.startswith(HEADS)


def _per_parameter(params: nnx.State, function: Callable[[str], Any]) -> nnx.State:
    values = jax.tree.map(lambda _: 0, params)
    flat = {path: function(path) for path in flatten(params)}
    nnx.replace_by_pure_dict(values, unflatten(flat))
    return values
