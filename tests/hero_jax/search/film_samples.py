"""Tiny films, and tiny networks for the features of `tests.hero_jax.inference.export_samples`."""

import functools

import av
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hero_jax.extractors.base import Extractor, Network, frames_of
from hero_jax.search.reading import Reading

RATE = 10
SIZE = (48, 64)


def write_film(path, seed, seconds=4.0, rate=RATE, codec="mpeg4"):
    """Writes a film of a new colour every second; equal arguments make equal files."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (int(seconds) + 1, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"fflags": "+bitexact"})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * rate)):
            picture = np.broadcast_to(colours[number // rate], (*SIZE, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class Colours(nnx.Module):
    """Multiplies the mean colours of a row by a matrix."""

    def __init__(self, weights, width):
        """Takes the matrix."""
        self.matrix = weights.param(weights.take("matrix", 3, width))

    def __call__(self, rows):
        """Returns features `[n, width]`."""
        pixels = rows.astype(jnp.float32).reshape(len(rows), -1, 3)
        return pixels.mean(1) @ self.matrix[...] / 100


def _network(name, width, sampling):
    return Network(name, width, sampling, lambda weights: Colours(weights, width))


NETWORKS = (
    _network("frames", 4, frames_of(crop=False)),
    _network("centre", 2, frames_of(crop=True)),
)


def weights(name, seed=0):
    """Returns random weights of one of the networks, by name."""
    (width,) = (one.width for one in NETWORKS if one.name == name)
    rng = np.random.default_rng([seed, width])
    return {"matrix": rng.standard_normal((3, width)).astype(np.float32)}


@functools.cache
def extractors(seed=0):
    """Returns the two networks with random weights."""
    return tuple(Extractor(one, weights(one.name, seed)) for one in NETWORKS)


def reading(**changes):
    """Returns how films are read, with the two networks."""
    fields = {"extractors": extractors(), "even_sampling": False, "thumbnail_bytes": 1 << 20}
    return Reading(**fields | changes)
