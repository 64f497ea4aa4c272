"""Word-by-word generation: greedy, beam search and sampling.

All three call a step function, which knows the model:

  step(tokens [N, K] int32, position, cache) -> logits [N, K, V] float32, cache

where `tokens` are at `position` (the start token at 0) of N times K sequences, and `cache` is a
pytree of arrays `[N, K, ...]` with the model's state of earlier positions. Shapes are fixed, so
everything compiles once; the loop ends as soon as every sequence has ended.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hero_jax.models.ops import take_slots

Cache = Any
StepFunction = Callable[[jax.Array, jax.Array, Cache], tuple[jax.Array, Cache]]


@dataclasses.dataclass(frozen=True)
class Limits:
    """The bounds of sequences: token ids `start`, `end`, `pad`, and at most `steps` tokens.

    A sequence continues with `pad` after its end, as does one that is not active.
    """

    start: int
    end: int
    pad: int
    steps: int


def greedy(step: StepFunction, cache: Cache, active: jax.Array, limits: Limits) -> jax.Array:
    """Picks the most likely token at every step.

    Args:
      step: see the module.
      cache: leaves `[N, 1, ...]`.
      active: `[N]` bool; the other sequences are padding.
      limits: the bounds of sequences.

    Returns:
      `[N, limits.steps]` int32, without the start; `end` is included if it was reached.
    """
    return _generate(lambda logits, position: jnp.argmax(logits, -1), step, cache, active, limits)


def sample(
    step: StepFunction,
    cache: Cache,
    active: jax.Array,
    limits: Limits,
    *,
    keys: jax.Array,
    temperature: float,
    top_p: float,
) -> jax.Array:
    """Draws a token at every step by nucleus sampling (Holtzman et al., ICLR 2020).

    Args:
      step: see the module.
      cache: leaves `[N, 1, ...]`.
      active: `[N]` bool; the other sequences are padding.
      limits: the bounds of sequences.
      keys: `[N]`, a key per sequence, so that a sample does not depend on the other sequences.
      temperature: divides the logits.
      top_p: least sum of the probabilities of the tokens to draw from.

    Returns:
      `[N, limits.steps]` int32, as `greedy`.
    """

    def pick(logits: jax.Array, position: jax.Array) -> jax.Array:
        logits = nucleus(logits / temperature, top_p)
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, position)
        return jax.vmap(jax.random.categorical)(step_keys, logits)

    return _generate(pick, step, cache, active, limits)


def nucleus(logits: jax.Array, top_p: float) -> jax.Array:
    """Sets logits `[..., V]` to -inf outside the nucleus.

    The nucleus is the smallest set of the most likely tokens whose probabilities sum to `top_p` or
    more.
    """
    ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
    probabilities = jax.nn.softmax(ordered)
    # A token is needed if those before it sum to less than top_p, so the first always is.
    needed = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
    least = jnp.min(jnp.where(needed, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


def _generate(
    pick: Callable[[jax.Array, jax.Array], jax.Array],
    step: StepFunction,
    cache: Cache,
    active: jax.Array,
    limits: Limits,
) -> jax.Array:
    """Generates N sequences `[N, steps]` by `pick(logits [N, V], position) -> tokens [N]`."""

    def advance(state):
        position, tokens, ended, cache = state
        logits, cache = step(tokens[:, position, None], position, cache)
        picked = jnp.where(ended, limits.pad, pick(logits[:, 0], position)).astype(jnp.int32)
        tokens = tokens.at[:, position + 1].set(picked)
        return position + 1, tokens, ended | (picked == limits.end), cache

    tokens = _initial_tokens(active.shape, limits)
    state = (0, tokens, ~active, cache)
    _, tokens, _, _ = jax.lax.while_loop(_has_next(limits), advance, state)
    return tokens[:, 1:]


def beam(
    step: StepFunction,
    cache: Cache,
    active: jax.Array,
    limits: Limits,
    *,
    width: int,
    length_penalty: float,
) -> tuple[jax.Array, jax.Array]:
    """Searches for the best sequence with a beam of `width` sequences.

    The score of a sequence is the sum of its tokens' log-probabilities over `((5 + length) / 6) **
    length_penalty`, `end` included (Wu et al., 2016, equation 14; a penalty of 0 leaves the sum).
    Sequences that have ended compete for their places with those that continue. Width 1 is greedy.

    Args:
      step: see the module.
      cache: leaves `[N, width, ...]`.
      active: `[N]` bool; the other sequences are padding.
      limits: the bounds of sequences.
      width: number of sequences in the beam.
      length_penalty: exponent of the length.

    Returns:
      `[N, limits.steps]` int32, as `greedy`, and the scores `[N]`.
    """

    def penalty(lengths: jax.Array) -> jax.Array:
        return ((5 + lengths) / 6) ** length_penalty

    def advance(state):
        position, tokens, ended, cache, sums, lengths = state
        logits, cache = step(tokens[:, :, position], position, cache)
        parents, next_tokens, sums, lengths = _best_continuations(
            logits, ended, sums, lengths, penalty, limits.pad
        )
        tokens, ended, cache = jax.tree.map(
            lambda x: take_slots(x, parents), (tokens, ended, cache)
        )
        tokens = tokens.at[:, :, position + 1].set(next_tokens)
        return position + 1, tokens, ended | (next_tokens == limits.end), cache, sums, lengths

    shape = (len(active), width)
    # The sequences of a beam are equal at first, so all but one are ruled out.
    sums = jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf), shape)
    ended = jnp.broadcast_to(~active[:, None], shape)
    lengths = jnp.zeros(shape, jnp.int32)
    state = (0, _initial_tokens(shape, limits), ended, cache, sums, lengths)
    _, tokens, _, _, sums, lengths = jax.lax.while_loop(_has_next(limits), advance, state)
    return tokens[:, 0, 1:], sums[:, 0] / penalty(lengths[:, 0])


def _best_continuations(
    logits: jax.Array,
    ended: jax.Array,
    sums: jax.Array,
    lengths: jax.Array,
    penalty: Callable[[jax.Array], jax.Array],
    pad: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Chooses the best `width` among all continuations by one token of a beam's sequences.

    Args:
      logits: `[N, width, V]`.
      ended, sums, lengths: `[N, width]`, of the sequences so far.
      penalty: the divisor of the scores, by length.
      pad: token that continues a sequence that has ended.

    Returns:
      parents (the sequences that are continued), next tokens, sums and lengths, `[N, width]` each.
    """
    count, width, vocab_size = logits.shape
    # At most `width` continuations of one sequence can be among the best `width` of all.
    best, tokens = jax.lax.top_k(logits, min(width, vocab_size))
    continued = sums[..., None] + best - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    # A sequence that has ended has one continuation: itself.
    unchanged = jnp.where(jnp.arange(best.shape[-1]) == 0, sums[..., None], -jnp.inf)
    sums = jnp.where(ended[..., None], unchanged, continued)
    tokens = jnp.where(ended[..., None], pad, tokens)
    lengths = jnp.broadcast_to((lengths + ~ended)[..., None], tokens.shape)
    sums, tokens, lengths = (x.reshape(count, -1) for x in (sums, tokens, lengths))
    _, chosen = jax.lax.top_k(sums / penalty(lengths), width)
    sums, tokens, lengths = (take_slots(x, chosen) for x in (sums, tokens, lengths))
    return chosen // best.shape[-1], tokens, sums, lengths


def _initial_tokens(shape: tuple[int, ...], limits: Limits) -> jax.Array:
    """Returns sequences `[*shape, 1 + steps]` of the start and padding."""
    tokens = jnp.full((*shape, 1 + limits.steps), limits.pad, jnp.int32)
    return tokens.at[..., 0].set(limits.start)


def _has_next(limits: Limits) -> Callable[[tuple], jax.Array]:
    """Returns the loop condition on a state `(position, tokens, ended, ...)`."""
    return lambda state: (state[0] < limits.steps) & ~jnp.all(state[2])
