"""Cost of writing captions with cached keys and values, against decoding all words at every step.

    python -m benchmarks.generate
    python -m benchmarks.generate --width=256 --vocabulary=1000 --dtype=bfloat16

A random decoder writes greedy captions of random moments; none ends before the last step. Without a
cache, every step decodes the words so far and no padding; it computes the frames' keys and values
once, and logits for the last word only. The third line computes the logits of every word, as the
original does.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from configs import pretrain
from data.config import Config
from hero_jax.models import decoding
from hero_jax.models.caption_decoder import CaptionDecoder
from hero_jax.models.heads import LanguageModelHead
from hero_jax.models.layers import embedding

START, PAD = 0, 1
# No token has this id, so every caption runs to its last step.
NEVER = -1
HEAD_SIZE = 64


class Captioner(nnx.Module):
    """The parts of a captioning model without the encoder."""

    def __init__(self, config: Config, layers: int, steps: int, *, rngs: nnx.Rngs):
        shape = (config.vocab_size, config.hidden_size)
        self.word = embedding(*shape, ("vocab", "embed"), config=config, rngs=rngs)
        self.lm_head = LanguageModelHead(config, rngs=rngs)
        self.decoder = CaptionDecoder(config, layers=layers, positions=steps, rngs=rngs)

    def logits(self, x: jax.Array) -> jax.Array:
        """Logits of every word of the vocabulary, `[..., V]`."""
        return self.lm_head(x, self.word[...])


def with_cache(model: Captioner, frames: jax.Array, mask: jax.Array, steps: int) -> jax.Array:
    """Returns captions `[N, steps]` by `hero_jax.models.decoding`."""
    memory = model.decoder.project(frames)

    def step(tokens, position, cache):
        x, cache = model.decoder.step(model.word[...][tokens], position, cache, memory, mask)
        return model.logits(x), cache

    limits = decoding.Limits(START, NEVER, PAD, steps)
    cache = model.decoder.init_cache((len(frames), 1), steps)
    return decoding.greedy(step, cache, jnp.ones(len(frames), bool), limits)


def without_cache(
    model: Captioner, frames: jax.Array, mask: jax.Array, steps: int, every_logit: bool
) -> jax.Array:
    """Returns the same captions, all words decoded at every step."""
    memory = model.decoder.project(frames)
    tokens = jnp.full((len(frames), 1), START)
    for _ in range(steps):
        x = model.decoder(model.word[...][tokens], memory, mask)
        logits = model.logits(x if every_logit else x[:, -1:])
        # Without it, the compiler would drop the logits that are not used.
        logits = jax.lax.optimization_barrier(logits)
        tokens = jnp.concatenate([tokens, jnp.argmax(logits[:, -1:], -1)], axis=1)
    return tokens[:, 1:]


def measure(
    functions: Sequence[Callable], arguments: tuple, repeats: int
) -> tuple[np.ndarray, list[jax.Array]]:
    """Returns the median seconds and the result of each function.

    The functions take turns, so that other load on the machine slows all of them alike.
    """
    results = [jax.block_until_ready(function(*arguments)) for function in functions]
    times: list[list[float]] = []
    for _ in range(repeats):
        times.append([])
        for function in functions:
            begun = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            times[-1].append(time.perf_counter() - begun)
    return np.median(times, axis=0), results


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=50265)
    parser.add_argument("--moments", type=int, default=16)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(arguments)
    config, width, steps = pretrain.get_config().model, options.width, options.steps
    config.update(
        hidden_size=width,
        intermediate_size=4 * width,
        num_heads=width // HEAD_SIZE,
        vocab_size=options.vocabulary,
        dtype=options.dtype,
    )
    model = Captioner(config, options.layers, steps, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(model)
    shape = (options.moments, options.frames)
    frames = jax.random.normal(jax.random.key(1), (*shape, width), jnp.dtype(config.dtype))
    length = jnp.linspace(3, options.frames, options.moments)[:, None]
    mask = jnp.arange(options.frames) < length
    names = ("with a cache", "without", "without, every logit")
    functions = [
        jax.jit(lambda params, make=make: make(nnx.merge(graphdef, params), frames, mask, steps))
        for make in (
            with_cache,
            functools.partial(without_cache, every_logit=False),
            functools.partial(without_cache, every_logit=True),
        )
    ]
    medians, results = measure(functions, (params,), options.repeats)
    print(
        f"{jax.devices()[0].device_kind}, {config.dtype}, {options.layers} layers of width "
        f"{width}, vocabulary {config.vocab_size}: {options.moments} captions of {steps} tokens"
    )
    for name, seconds, tokens in zip(names, medians, results, strict=True):
        same = 100 * np.mean(np.asarray(tokens) == np.asarray(results[0]))
        print(
            f"{name:<22} {seconds:8.3f} s {seconds / medians[0]:7.2f} x   same tokens {same:.1f}%"
        )


if __name__ == "__main__":
    main()
