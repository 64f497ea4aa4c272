"""Features of our networks, with weights and frames drawn as for the vectors of the references."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from hero_jax.extractors import registry
from hero_jax.extractors.base import Extractor
from hero_jax.extractors.layers import Weights

# Largest error, relative to the largest expected number.
TOLERANCE = 1e-5


class Case(NamedTuple):
    """Vector of a network.

    network: the network's name.
    seed, shape: of the frames.
    names: key of the network's names in `names.json`, "" for real weights.
    """

    network: str
    seed: int
    shape: tuple[int, ...]
    names: str


CASES = {
    "resnet/features": Case("resnet", 1, (2, 96, 128, 3), "resnet"),
    "clip/features": Case("clip-vit", 2, (2, 224, 224, 3), "clip"),
    "slowfast/features": Case("slowfast", 3, (1, 32, 224, 224, 3), "slowfast_pytorchvideo"),
    "s3d/mixed_5c": Case("mil-nce", 4, (1, 32, 128, 128, 3), "s3d"),
    "efficientnet/features": Case("efficientnet-lite0", 5, (2, 224, 224, 3), ""),
}
# Names of `names.json` that features do not need.
REST = ("fc.", "blocks.6.proj.")


def draw(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Draws weights by the recipe of the vectors."""
    return {name: _draw(name, shape) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng, last = np.random.default_rng(zlib.crc32(name.encode())), name.rpartition(".")[2]
    if last in ("running_mean", "bias", "in_proj_bias"):
        array = rng.normal(0, 0.1, shape)
    elif last == "running_var" or len(shape) == 1:
        array = rng.uniform(0.5, 1.5, shape)
    else:
        array = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
    return array.astype(np.float32)


def frames(case: Case) -> np.ndarray:
    """Draws the frames of a case."""
    return np.random.default_rng(case.seed).integers(0, 256, case.shape, dtype=np.uint8)


def extractor(case: Case, dtype: str = "float32") -> Extractor:
    """Returns the network of a case with its drawn or real weights."""
    if not case.names:
        return registry.load(case.network, None, dtype)
    network = registry.NETWORKS[case.network]
    return Extractor(network, draw(network.shapes()), dtype)


def pooled() -> np.ndarray:
    """Returns ResNet's features before they are normalised."""
    network, case = registry.NETWORKS["resnet"], CASES["resnet/features"]
    return np.asarray(network.make(Weights(draw(network.shapes()))).pooled(jnp.array(frames(case))))


def error(expected: np.ndarray, actual: np.ndarray) -> float:
    """Returns the largest error, relative to the largest expected number."""
    if expected.shape != actual.shape:
        return np.inf
    return float(np.abs(expected - actual).max() / np.abs(expected).max())


def report_networks(file, report) -> None:
    """Reports each vector of a file as networks.npz."""
    with np.load(file) as vectors:
        for name in vectors.files:
            if name == "resnet/pooled":
                actual = pooled()
            elif name in CASES:
                actual = extractor(CASES[name])(frames(CASES[name]))
            else:
                report.add(name, ["a network that is not known"])
                continue
            found = error(vectors[name], actual)
            wrong = [f"relative error {found:.1e}"] if not found <= TOLERANCE else []
            report.add(f"{name} {found:.1e}", wrong)


def report_names(names: Mapping[str, Mapping[str, list[int]]], report) -> None:
    """Reports whether each network takes all names of a file as names.json, in their shapes."""
    for case in CASES.values():
        if not case.names:
            continue
        expected = {
            name: tuple(shape)
            for name, shape in names[case.names].items()
            if not name.endswith("num_batches_tracked") and not name.startswith(REST)
        }
        wrong = expected.items() ^ registry.NETWORKS[case.network].shapes().items()
        report.add(f"names of {case.network}", sorted({name for name, _ in wrong})[:3])
