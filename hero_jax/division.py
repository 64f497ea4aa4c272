"""How the batches of an update are divided over the mesh, and what the shards tell each other.

The `data` axis is divided by hand: every shard computes its share of a batch's loss on groups of
its own and sums gradients over an update's batches in float32, so that they are reduced once per
update. What a loss needs of other shards (counts, negatives, candidates) it asks for through
`Shards`. The compiler divides layers over `tensor`.

With `fsdp`, the compiler divides everything: parameters have to be gathered and gradients reduced
layer by layer, and its partitioner fails on gathers of batches that are divided in both ways.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from data.config import Config
from data.errors import InputError
from hero_jax.sharding import local_groups, to_devices

# The mesh axis whose shards compute their own losses.
AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of a batch, seen from one of them, in a function that runs on each.

    By default there is one, which holds the whole batch.

    Attributes:
      count: number of shards of a batch.
      at_once: number of batches that are on the mesh at once; shard n of batch b has the place
        `n · at_once + b` on the axis.
      together: number of neighbouring shards that `gather` joins; all if 0.
    """

    count: int = 1
    at_once: int = 1
    together: int = 0

    @property
    def number(self) -> jax.Array | int:
        """Number of this shard."""
        return 0 if self.count == 1 else jax.lax.axis_index(AXIS) // self.at_once

    @property
    def place_in_set(self) -> jax.Array | int:
        """Number of this shard among those that `gather` joins."""
        return self.number % (self.together or self.count)

    @property
    def batch(self) -> jax.Array | int:
        """Number of this shard's batch among those at once."""
        return 0 if self.at_once == 1 else jax.lax.axis_index(AXIS) % self.at_once

    @property
    def is_first(self) -> jax.Array | float:
        """1 on the first shard and 0 on others: the count of a metric that a batch has once."""
        return 1.0 if self.count == 1 else jnp.float32(self.number == 0)

    def sum(self, x: jax.Array) -> jax.Array:
        """Returns the sum over all shards, as a constant: no gradient flows through it."""
        x = jax.lax.stop_gradient(x)
        if self.count == 1:
            return x
        return jax.lax.psum(x, AXIS, axis_index_groups=self._members(self.count))

    def gather(self, x: jax.Array) -> jax.Array:
        """Joins the shards' arrays `[N, ...]`, in order, to `[N · shards, ...]`."""
        size = self.together or self.count
        if size == 1:
            return x
        return jax.lax.all_gather(x, AXIS, tiled=True, axis_index_groups=self._members(size))

    def to_rows(self, columns: jax.Array) -> jax.Array:
        """Returns this shard's rows `[N, M · shards]` of a matrix, of which each has columns.

        Args:
          columns: this shard's columns `[N · shards, M]`.
        """
        if self.count == 1:
            return columns
        members = self._members(self.count)
        return jax.lax.all_to_all(columns, AXIS, 0, 1, tiled=True, axis_index_groups=members)

    def sets(self, together: int) -> "Shards":
        """Returns the same shards, of which `gather` joins sets of `together` neighbours."""
        return dataclasses.replace(self, together=together)

    def _members(self, size: int) -> list[list[int]] | None:
        """Returns the places on the axis of every set of `size` neighbouring shards of a batch."""
        if size == self.count and self.at_once == 1:
            return None
        return [
            [shard * self.at_once + batch for shard in range(first, first + size)]
            for batch in range(self.at_once)
            for first in range(0, self.count, size)
        ]


WHOLE = Shards()


@dataclasses.dataclass(frozen=True)
class Division:
    """Places of an update's batches on the mesh.

    An update has batches of G groups. Where there are more shards than groups, `at_once` batches
    are on the mesh at the same time. On the devices, arrays are
    `[accumulation / at_once, places, ...]`: the groups of a shard lie side by side, the shards of
    the batches at once after one another.

    Attributes:
      mesh: the device mesh.
      groups: number of groups of a batch.
      at_once: number of batches at once.
    """

    mesh: Mesh
    groups: int
    at_once: int = 1

    @property
    def by_hand(self) -> bool:
        """True if shards compute their own losses, False if the compiler divides a whole batch."""
        return by_hand(self.mesh)

    @property
    def shards(self) -> Shards:
        """The shards of a batch that compute their own losses."""
        if not self.by_hand:
            return WHOLE
        return Shards(self.mesh.shape[AXIS] // self.at_once, self.at_once)

    @property
    def places(self) -> int:
        """Number of groups of all batches at once."""
        return self.groups * self.at_once

    @property
    def local_groups(self) -> range:
        """Groups that this process's devices hold, each for some of the batches at once."""
        groups, _ = self._local
        return range(min(groups), max(groups) + 1)

    @property
    def local_batches(self) -> list[int]:
        """Numbers of the batches at once of which this process's devices hold groups."""
        return sorted(set(self._local[1]))

    def first_batch(self, x: jax.Array) -> jax.Array:
        """Returns the first batch `[G, ...]` of those at once that `to_devices` laid out."""
        shards, rest = self.shards.count, x.shape[2:]
        return x[0].reshape(shards, self.at_once, -1, *rest)[:, 0].reshape(self.groups, *rest)

    def on_shards(self, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
        """Returns a function that runs another on every shard.

        Args:
          in_specs, out_specs: PartitionSpecs of arguments and results over `AXIS`.
        """
        if not self.by_hand:
            return function
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            axis_names={AXIS},
            check_vma=False,
        )

    def reduce(self, x: jax.Array, dimension: int = -1) -> jax.Array:
        """Returns the sum over the shards of all batches; with a dimension, a part along it."""
        if not self.by_hand:
            return x
        if dimension < 0:
            return jax.lax.psum(x, AXIS)
        return jax.lax.psum_scatter(x, AXIS, scatter_dimension=dimension, tiled=True)

    @property
    def _local(self) -> tuple[list[int], list[int]]:
        """Groups and batches of this process's places."""
        size = self.groups // self.shards.count
        groups, batches = [], []
        for place in local_groups(self.mesh, self.places):
            shard, rest = divmod(place, size * self.at_once)
            batches.append(rest // size)
            groups.append(shard * size + rest % size)
        return groups, batches

    def to_devices(self, batches: Sequence[Any]) -> Any:
        """Puts batches on the devices.

        Args:
          batches: pytrees of NumPy arrays `[local groups, ...]`, as many as an update has.

        Returns:
          The pytree of global arrays `[len(batches) / at_once, places, ...]`.
        """
        groups, numbers = self._local
        first = min(groups)

        def rounds(*arrays: np.ndarray) -> np.ndarray:
            if len(arrays) == 1:
                return arrays[0][None]
            if self.at_once == 1:
                return np.stack(arrays)
            chosen = [
                [
                    arrays[start + number][group - first]
                    for group, number in zip(groups, numbers, strict=True)
                ]
                for start in range(0, len(arrays), self.at_once)
            ]
            return np.stack([np.stack(of_round) for of_round in chosen])

        return to_devices(jax.tree.map(rounds, *batches), self.mesh, self.places, leading=1)


def by_hand(mesh: Mesh) -> bool:
    """Returns whether the shards of a mesh compute their own losses; see the module's docstring."""
    return mesh.shape[AXIS] > 1 and mesh.shape["fsdp"] == 1


def divide(mesh: Mesh, config: Config) -> Division:
    """Returns the division of a config's batches, with as few of them at once as possible.

    Args:
      config: of an experiment without parts, or of a part.

    Raises:
      InputError: they do not divide evenly over the mesh; the sentence says what does.
    """
    batch = config.batch
    at_once = _batches_at_once(mesh, batch.groups, batch.accumulation)
    if at_once:
        return Division(mesh, batch.groups, at_once)
    data, fsdp = mesh.shape[AXIS], mesh.shape["fsdp"]
    clips = batch.groups * batch.clips_per_group
    fitting = [
        groups
        for groups in range(1, clips + 1)
        if clips % groups == 0 and _batches_at_once(mesh, groups, batch.accumulation)
    ]
    # If no groups of as many clips fit, there is a multiple of the shards not far away.
    fitting = fitting or [data * fsdp * -(-batch.groups // (data * fsdp))]
    groups = min(fitting, key=lambda groups: abs(groups - batch.groups))
    fit = f"batch.groups={groups}"
    if clips % groups == 0:
        fit += f" with batch.clips_per_group={clips // groups}"
        if "mfm_nce" in config.tasks and config.mfm_nce.candidates == "group":
            fit += f" and mfm_nce.candidates={batch.clips_per_group}"
        fit += ", which trains alike"
    advice = f"the nearest that does is {fit}; or use fewer devices or raise mesh.tensor"
    raise InputError(
        f"batch.groups={batch.groups} × batch.accumulation={batch.accumulation} does not divide "
        f"over the {data * fsdp} data shards of the mesh (mesh.data={data} × mesh.fsdp={fsdp}): "
        f"{advice}"
    )


def _batches_at_once(mesh: Mesh, groups: int, accumulation: int) -> int:
    """Returns the fewest batches that fill the mesh evenly, 0 if no number does."""
    data, fsdp = mesh.shape[AXIS], mesh.shape["fsdp"]
    for at_once in range(1, accumulation + 1 if by_hand(mesh) else 2):
        even = accumulation % at_once == 0 and data % at_once == 0
        if even and groups % (data // at_once * fsdp) == 0:
            return at_once
    return 0
