"""What captions cost with the words before kept, against reading them again for every word.

    python benchmarks/generate.py
    python benchmarks/generate.py --width=256 --vocabulary=1000 --dtype=bfloat16

Greedy captions of random moments by a random decoder, none of which ends before its last step. What
reads again decodes the words so far and no padding, makes the frames' keys and values once, and the
logits of the last word alone. The third line makes the logits of every word, as the original does.
"""

import argparse
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import pretrain
from hero_jax.models import decoding
from hero_jax.models.caption_decoder import CaptionDecoder
from hero_jax.models.heads import LanguageModelHead
from hero_jax.models.layers import embedding

START, PAD = 0, 1
# No token has this id: all steps are made.
NEVER = -1
HEAD_SIZE = 64


class Captioner(nnx.Module):
    """What captioning has of a model but the encoder."""

    def __init__(self, config, layers, steps, *, rngs: nnx.Rngs):
        shape = (config.vocab_size, config.hidden_size)
        self.word = embedding(*shape, ("vocab", "embed"), config=config, rngs=rngs)
        self.lm_head = LanguageModelHead(config, rngs=rngs)
        self.decoder = CaptionDecoder(config, layers=layers, positions=steps, rngs=rngs)

    def logits(self, x):
        return self.lm_head(x, self.word[...])


def kept(model, frames, mask, steps):
    """Captions `[N, steps]` by `hero_jax.models.decoding`."""
    memory = model.decoder.project(frames)

    def step(tokens, position, cache):
        x, cache = model.decoder.step(model.word[...][tokens], position, cache, memory, mask)
        return model.logits(x), cache

    limits = decoding.Limits(START, NEVER, PAD, steps)
    cache = model.decoder.init_cache((len(frames), 1), steps)
    return decoding.greedy(step, cache, jnp.ones(len(frames), bool), limits)


def read_again(model, frames, mask, steps, every_logit):
    """The same captions, with all words decoded at every step."""
    memory = model.decoder.project(frames)
    tokens = jnp.full((len(frames), 1), START)
    for _ in range(steps):
        x = model.decoder(model.word[...][tokens], memory, mask)
        logits = model.logits(x if every_logit else x[:, -1:])
        # Else the compiler would see that the others are not needed.
        logits = jax.lax.optimization_barrier(logits)
        tokens = jnp.concatenate([tokens, jnp.argmax(logits[:, -1:], -1)], axis=1)
    return tokens[:, 1:]


def measure(functions, arguments, repeats):
    """Median seconds and result of each, taken by turns: what else runs slows all of them."""
    results = [jax.block_until_ready(function(*arguments)) for function in functions]
    times = []
    for _ in range(repeats):
        times.append([])
        for function in functions:
            begun = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            times[-1].append(time.perf_counter() - begun)
    return np.median(times, axis=0), results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=50265)
    parser.add_argument("--moments", type=int, default=16)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    config, width, steps = pretrain.get_config().model, arguments.width, arguments.steps
    config.update(
        hidden_size=width,
        intermediate_size=4 * width,
        num_heads=width // HEAD_SIZE,
        vocab_size=arguments.vocabulary,
        dtype=arguments.dtype,
    )
    model = Captioner(config, arguments.layers, steps, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(model)
    shape = (arguments.moments, arguments.frames)
    frames = jax.random.normal(jax.random.key(1), (*shape, width), jnp.dtype(config.dtype))
    length = jnp.linspace(3, arguments.frames, arguments.moments)[:, None]
    mask = jnp.arange(arguments.frames) < length
    names = ("words are kept", "words are read again", "the same, every logit")
    functions = [
        jax.jit(lambda params, make=make: make(nnx.merge(graphdef, params), frames, mask, steps))
        for make in (
            kept,
            lambda *inputs: read_again(*inputs, every_logit=False),
            lambda *inputs: read_again(*inputs, every_logit=True),
        )
    ]
    took, results = measure(functions, (params,), arguments.repeats)
    print(
        f"{jax.devices()[0].device_kind}, {config.dtype}, {arguments.layers} layers of width "
        f"{width}, vocabulary {config.vocab_size}: {arguments.moments} captions of {steps} tokens"
    )
    for name, seconds, tokens in zip(names, took, results, strict=True):
        same = 100 * np.mean(np.asarray(tokens) == np.asarray(results[0]))
        print(f"{name:<22} {seconds:8.3f} s {seconds / took[0]:7.2f} x   same tokens {same:.1f}%")


if __name__ == "__main__":
    main()
