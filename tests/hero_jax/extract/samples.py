"""Small films, and tiny networks of mean colours."""

import dataclasses
from pathlib import Path

import av
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.video.sampling import ClipSampling
from hero_jax.conversion.torch.write import write_state_dict
from hero_jax.extractors import layouts, registry
from hero_jax.extractors.base import Network, frames_of

SIDES = (64, 48)


def write_film(path: Path, seconds: float = 5, rate: int = 10, seed: int = 0) -> Path:
    """Writes a film whose frames have one colour each, which changes with time."""
    colours = np.random.default_rng(seed).integers(0, 256, (round(seconds * rate), 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = SIDES
        for colour in colours:
            picture = np.broadcast_to(colour, (SIDES[1], SIDES[0], 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class MeanColours(nnx.Module):
    """Mean of each colour over all pixels of a row, times a weight."""

    def __init__(self, weights):
        self.factors = weights.param(weights.take("factors", 3))

    def __call__(self, rows: jax.Array) -> jax.Array:
        axes = tuple(range(1, rows.ndim - 1))
        return (rows.astype(self.factors.dtype).mean(axes) * self.factors[...]).astype(jnp.float32)


COLOURS = Network(name="colours", width=3, sampling=frames_of(crop=False), make=MeanColours)
CENTRE = Network(name="centre", width=3, sampling=frames_of(crop=True), make=MeanColours)
MOTION = Network(name="motion", width=3, sampling=ClipSampling, make=MeanColours, batch=(2, 2))
NETWORKS = {network.name: network for network in (COLOURS, CENTRE, MOTION)}


def register(set_item=dict.__setitem__) -> None:
    """Adds the networks to those that are known."""
    for name, network in NETWORKS.items():
        set_item(registry.NETWORKS, name, network)
        set_item(layouts.LAYOUTS, name, lambda arrays, shapes: dict(arrays))


def write_weights(path: Path, factor: float = 0.5) -> Path:
    """Writes weights of either network."""
    write_state_dict(path, {"factors": np.full(3, factor, np.float32)})
    return path


@dataclasses.dataclass(frozen=True)
class Printed:
    status: int
    out: str
    err: str


def files(folder: Path) -> dict[str, bytes]:
    """Returns the visible files in a folder and its folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


def stamps(folder: Path) -> dict[str, int]:
    """Returns when each visible file was written."""
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder)}
