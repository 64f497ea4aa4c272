"""Word by word generation: greedy, by beam search, by sampling.

All of it over a step function, which knows the model:

  step(tokens [N, K] int32, position, cache) -> logits [N, K, V] float32, cache

where `tokens` stand at `position` (the start token at 0) of N times K sequences, and `cache` is a
tree of arrays `[N, K, ...]` that holds what the model keeps of earlier positions. Shapes are fixed,
so it all compiles once; the loop ends as soon as every sequence has.
"""

import dataclasses

import jax
import jax.numpy as jnp

from hero_jax.models.ops import take_slots


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where sequences begin and end: token ids `start`, `end`, `pad`, and at most `steps` tokens.

    A sequence that has ended goes on with `pad`, as does one that is not wanted.
    """

    start: int
    end: int
    pad: int
    steps: int


def greedy(step, cache, wanted, limits: Limits):
    """The likeliest token at every step.

    Args:
      cache: leaves `[N, 1, ...]`.
      wanted: `[N]` bool; the others yield padding.

    Returns:
      `[N, limits.steps]` int32, without the start, `end` included where it was reached.
    """
    return _follow(lambda logits, position: jnp.argmax(logits, -1), step, cache, wanted, limits)


def sample(step, cache, wanted, limits: Limits, *, keys, temperature, top_p):
    """A token drawn at every step, out of the fewest whose probabilities sum to `top_p` or more.

    Nucleus sampling (Holtzman et al., ICLR 2020), of logits divided by `temperature`.

    Args:
      keys: `[N]`, one for each sequence: what is drawn does not depend on the others.
      cache, wanted: see `greedy`.

    Returns:
      As `greedy`.
    """

    def pick(logits, position):
        logits = nucleus(logits / temperature, top_p)
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, position)
        return jax.vmap(jax.random.categorical)(own, logits)

    return _follow(pick, step, cache, wanted, limits)


def nucleus(logits, top_p):
    """`[..., V]` with -inf outside the fewest tokens whose probabilities sum to top_p or more."""
    ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
    probabilities = jax.nn.softmax(ordered)
    # Of what comes before a token: below top_p, it is needed. The first always is.
    needed = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
    least = jnp.min(jnp.where(needed, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


def _follow(pick, step, cache, wanted, limits):
    """One sequence each, by `pick(logits [N, V], position) -> [N]`."""

    def advance(state):
        position, tokens, ended, cache = state
        logits, cache = step(tokens[:, position, None], position, cache)
        chosen = jnp.where(ended, limits.pad, pick(logits[:, 0], position)).astype(jnp.int32)
        tokens = tokens.at[:, position + 1].set(chosen)
        return position + 1, tokens, ended | (chosen == limits.end), cache

    tokens = _begin(wanted.shape, limits)
    state = jax.lax.while_loop(_more(limits), advance, (0, tokens, ~wanted, cache))
    return state[1][:, 1:]


def beam(step, cache, wanted, limits: Limits, *, width, length_penalty):
    """The best of the `width` sequences that are kept at every step.

    A sequence's score is the sum of its tokens' log-probabilities over `((5 + length) / 6) **
    length_penalty`, `end` counted (Wu et al., 2016, equation 14; 0: the sum itself). Sequences that
    have ended compete for their places with those that go on. Width 1 is greedy.

    Args:
      cache: leaves `[N, width, ...]`.
      wanted: see `greedy`.

    Returns:
      As `greedy`, and the scores `[N]`.
    """

    def penalty(length):
        return ((5 + length) / 6) ** length_penalty

    def advance(state):
        position, tokens, ended, cache, sums, lengths = state
        logits, cache = step(tokens[:, :, position], position, cache)
        # No more than `width` continuations of one sequence can be among the best `width` of all.
        best, words = jax.lax.top_k(logits, min(width, logits.shape[-1]))
        values = sums[..., None] + best - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        # What has ended has one continuation, itself.
        itself = jnp.where(jnp.arange(best.shape[-1]) == 0, sums[..., None], -jnp.inf)
        values = jnp.where(ended[..., None], itself, values)
        words = jnp.where(ended[..., None], limits.pad, words)
        grown = jnp.broadcast_to((lengths + ~ended)[..., None], words.shape)
        values, words, grown = (x.reshape(len(wanted), -1) for x in (values, words, grown))
        _, kept = jax.lax.top_k(values / penalty(grown), width)
        parents = kept // best.shape[-1]
        tokens, ended, cache = jax.tree.map(
            lambda x: take_slots(x, parents), (tokens, ended, cache)
        )
        values, words, lengths = (take_slots(x, kept) for x in (values, words, grown))
        tokens = tokens.at[:, :, position + 1].set(words)
        return position + 1, tokens, ended | (words == limits.end), cache, values, lengths

    shape = (len(wanted), width)
    # All are the same sequence yet: one of them is enough.
    sums = jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf), shape)
    ended = jnp.broadcast_to(~wanted[:, None], shape)
    state = (0, _begin(shape, limits), ended, cache, sums, jnp.zeros(shape, jnp.int32))
    _, tokens, _, _, sums, lengths = jax.lax.while_loop(_more(limits), advance, state)
    return tokens[:, 0, 1:], sums[:, 0] / penalty(lengths[:, 0])


def _begin(shape, limits):
    """Sequences `[*shape, 1 + steps]` of the start and padding."""
    tokens = jnp.full((*shape, 1 + limits.steps), limits.pad, jnp.int32)
    return tokens.at[..., 0].set(limits.start)


def _more(limits):
    """Whether a state, which begins with position, tokens, ended, has a step to make."""
    return lambda state: (state[0] < limits.steps) & ~jnp.all(state[2])
