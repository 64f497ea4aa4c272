"""Networks that turn frames of video into features, and how they run."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data.video.sampling import ClipSampling, FrameSampling, Sampling
from hero_jax.extractors.layers import Shapes, Weights
from hero_jax.extractors.weights import weights_hash


class FeatureModule(Protocol):
    """Module that computes float32 features `[n, width]` of uint8 rows `[n, ...]`.

    An NNX module does so with JAX, on devices; anything else with NumPy.
    """

    def __call__(self, rows: Any) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Network:
    """Network that turns rows of pixels into rows of features.

    Attributes:
      name: its name in commands, folders and metadata.
      width: number of features of a row.
      sampling: which pixels make a row, for the seconds per feature, and whether the frames of a
        clip are evenly spaced instead of as the published features have them.
      make: makes what computes its features from weights by reference name.
      packaged: finds the file of weights that an installed package holds, if there is such a one.
      batch: rows that one device computes at once: on a CPU, and on an accelerator.
      version: stands for the hash of weights if there are none; it changes with what is computed.
    """

    name: str
    width: int
    sampling: Callable[[Fraction, bool], Sampling]
    make: Callable[[Weights], FeatureModule]
    packaged: Callable[[], Path] | None = None
    batch: tuple[int, int] = (4, 64)
    version: str = ""

    @property
    def needs_weights(self) -> bool:
        """True if it has weights, which a file or a package holds."""
        return bool(self.shapes())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of its weights by reference name."""
        shapes = Shapes()
        self.make(shapes)
        return shapes.taken


def frames_of(crop: bool) -> Callable[[Fraction, bool], Sampling]:
    """Returns the sampling of a network that takes single frames, which no option changes."""
    return lambda seconds_per_feature, even: FrameSampling(seconds_per_feature, crop)


def clips(seconds_per_feature: Fraction, even: bool) -> Sampling:
    """Returns the sampling of a network that takes clips of 32 frames."""
    return ClipSampling(seconds_per_feature, even)


class Extractor:
    """Network with its weights, ready to use on all devices of this process.

    Attributes:
      name: the network's name.
      width: number of features of a row.
      weights: hash of the weights, the same for the same numbers in files of any kind.
      batch: rows that are computed at once; fewer take as long.
      warnings: sentences that say why the weights may be other ones than published features are of.
    """

    def __init__(
        self,
        network: Network,
        arrays: Mapping[str, np.ndarray],
        dtype: str = "float32",
        warnings: Sequence[str] = (),
    ):
        """Folds the weights and puts them on the devices.

        Args:
          network: the network.
          arrays: its weights by reference name, float32, all of `network.shapes()` and no others.
          dtype: `float32` or `bfloat16`, which the network computes in.
          warnings: sentences about the weights.
        """
        features = network.make(Weights(arrays, dtype))
        self.name, self.width = network.name, network.width
        self.weights = weights_hash(arrays) if arrays else network.version
        self.warnings = tuple(warnings)
        self.sampling = network.sampling
        devices = jax.local_devices()
        self.batch = len(devices) * network.batch[devices[0].platform != "cpu"]
        is_module = isinstance(features, nnx.Module)
        self._compute = self._on_devices(features, dtype) if is_module else features

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 features `[n, width]` of uint8 rows `[n, ...]`.

        A module is compiled once for each shape of a row.
        """
        features = [np.zeros((0, self.width), np.float32)]
        for start in range(0, len(rows), self.batch):
            features.append(self._compute(rows[start : start + self.batch]))
        return np.concatenate(features)

    def _on_devices(self, module: FeatureModule, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
        """Returns what computes features of up to a batch of rows on all devices."""
        graphdef, split = nnx.split(module)
        mesh = Mesh(np.array(jax.local_devices()), "rows")
        over_devices = NamedSharding(mesh, P("rows"))
        state = jax.device_put(split, NamedSharding(mesh, P()))

        @functools.partial(jax.jit, out_shardings=over_devices)
        def compiled(state: nnx.State, rows: jax.Array) -> jax.Array:
            # GPUs and TPUs would otherwise round the factors of products.
            with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
                return nnx.merge(graphdef, state)(rows)

        def compute(rows: np.ndarray) -> np.ndarray:
            padding = [(0, self.batch - len(rows))] + [(0, 0)] * (rows.ndim - 1)
            batch = jax.device_put(np.pad(rows, padding), over_devices)
            return np.asarray(compiled(state, batch))[: len(rows)]

        return compute
