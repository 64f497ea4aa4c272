"""AdamW as the original runs it, and its schedule."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from hero_jax.models.params import flatten, unflatten

# The rate never falls below this, so that the last update is one.
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
    """Number of updates made, and the moments."""

    count: jax.Array
    mu: optax.Updates
    nu: optax.Updates


def schedule(config):
    """Linear warm-up, then linear decay to 0 at `config.steps`; a function of updates made."""

    def rate(count):
        # The original advances its step before it asks for the rate.
        step = count + 1
        warm = step / max(config.warmup_steps, 1)
        left = (config.steps - step) / max(config.steps - config.warmup_steps, 1)
        factor = jnp.where(step < config.warmup_steps, warm, jnp.maximum(left, 0))
        return jnp.maximum(config.learning_rate * factor, RATE_FLOOR)

    return rate


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """Scales gradients of a larger global norm down to `limit`; 0: leaves all as they are."""
    if not limit:
        return optax.identity()

    def update(updates, state, params=None):
        del params
        scale = jnp.minimum(limit / (optax.tree.norm(updates) + CLIP_EPSILON), 1.0)
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def adamw(rate, betas, weight_decay, decay_mask, scales=None) -> optax.GradientTransformation:
    """AdamW in the form of the original.

    With bias-corrected step size: `w -= a·m / (√v + ε)`, `a = rate·√(1 - β₂ᵗ) / (1 - β₁ᵗ)`, so ε is
    added to the uncorrected root; then `w -= rate·decay·w`, on the weight after the step.

    Args:
      rate: function of updates made.
      decay_mask: pytree of bool like the parameters.
      scales: pytree of numbers that multiply each parameter's rate; None: 1 for all.
    """
    beta1, beta2 = betas
    scales = jax.tree.map(lambda _: 1.0, decay_mask) if scales is None else scales

    def init(params):
        return AdamWState(
            jnp.zeros([], jnp.int32),
            jax.tree.map(jnp.zeros_like, params),
            jax.tree.map(jnp.zeros_like, params),
        )

    def update(updates, state, params):
        learning_rate = rate(state.count)
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, state.nu, updates)
        size = learning_rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)

        def change(weight, m, v, decay, scale):
            step = -scale * size * m / (jnp.sqrt(v) + EPSILON)
            decayed = learning_rate * scale * weight_decay * (weight + step)
            return step - decayed if decay else step

        return (
            jax.tree.map(change, params, mu, nu, decay_mask, scales),
            AdamWState(count, mu, nu),
        )

    return optax.GradientTransformation(init, update)


def decay_mask(params: nnx.State):
    """True for the parameters that the original decays, as a pytree like params."""
    return _per_parameter(params, decays)


def decays(path: str) -> bool:
    """True if weight decay applies to a parameter."""
    return NOT_DECAYED.fullmatch(path) is None


def rate_scales(params: nnx.State, head_rate_multiplier: float):
    """Factors of each parameter's learning rate: 1 in the encoder, as a pytree like params."""
    return _per_parameter(params, lambda path: 1.0 if in_encoder(path) else head_rate_multiplier)


def in_encoder(path: str) -> bool:
    """True if a parameter belongs to what the original calls the encoder: all but some heads."""
    return not path.startswith(HEADS)


def _per_parameter(params, function):
    values = jax.tree.map(lambda _: 0, params)
    flat = {path: function(path) for path in flatten(params)}
    nnx.replace_by_pure_dict(values, unflatten(flat))
    return values
