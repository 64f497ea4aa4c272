"""The device mesh, and the shardings of parameters and batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data.errors import InputError

AXES = ("data", "fsdp", "tensor")
# The groups of a batch are sharded over these axes.
BATCH_AXES = ("data", "fsdp")
# Mesh axes of the logical axes of parameters; other logical axes are not sharded.
RULES = {"embed": "fsdp", "vocab": "tensor", "mlp": "tensor", "heads": "tensor"}


def make_mesh(axis_sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over all devices.

    Args:
      axis_sizes: sizes of the axes `data`, `fsdp` and `tensor`; one may be -1 and takes the devices
        that the others leave.
      devices: the devices; by default all of this run.

    Raises:
      InputError: the product of the sizes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [axis_sizes[axis] for axis in AXES]
    if sizes.count(-1) == 1:
        others = -np.prod(sizes)
        if others > 0 and len(devices) % others == 0:
            sizes[sizes.index(-1)] = len(devices) // int(others)
    if min(sizes) < 1 or np.prod(sizes) != len(devices):
        given = ", ".join(f"mesh.{axis}={axis_sizes[axis]}" for axis in AXES)
        raise InputError(
            f"{given} do not multiply to the {len(devices)} devices: set one of them to -1, and it "
            "takes the devices that the others leave"
        )
    # The compiler propagates shardings; they are not part of types.
    types = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(sizes, AXES, axis_types=types, devices=devices)


def check_heads(mesh: Mesh, heads: int) -> None:
    """Raises InputError unless the attention heads of a layer divide evenly over `tensor`."""
    tensor = mesh.shape["tensor"]
    if heads % tensor:
        raise InputError(
            f"model.num_heads={heads} does not divide over mesh.tensor={tensor}: the nearest that "
            f"does is mesh.tensor={nearest_divisor(heads, tensor, mesh.size)}"
        )


def nearest_divisor(size: int, wanted: int, devices: int) -> int:
    """Returns the divisor of a size, and of the number of devices, that is nearest to another."""
    divisors = [n for n in range(1, size + 1) if size % n == 0 and devices % n == 0]
    return min(divisors, key=lambda n: abs(n - wanted))


def parameter_shardings(state: nnx.State, mesh: Mesh) -> nnx.State:
    """Returns a NamedSharding for every parameter, by its logical axis names.

    Raises:
      InputError: a dimension does not divide evenly over its mesh axis.
    """

    def sharding(path: tuple, variable: nnx.Variable) -> nnx.Variable:
        names = variable.get_metadata("out_sharding")
        spec = P(*(RULES.get(name) for name in names))
        for size, name, axis in zip(variable.shape, names, spec, strict=True):
            if axis and size % mesh.shape[axis]:
                nearest = nearest_divisor(size, mesh.shape[axis], mesh.size)
                raise InputError(
                    f"{'/'.join(map(str, path))} has a dimension {name!r} of size {size}, which "
                    f"does not divide over mesh.{axis}={mesh.shape[axis]}: the nearest that does "
                    f"is mesh.{axis}={nearest}"
                )
        return variable.replace(NamedSharding(mesh, spec))

    return nnx.map_state(sharding, state)


def optimizer_dimensions(params: nnx.State, shardings: nnx.State, mesh: Mesh) -> nnx.State:
    """Returns the dimension along which `data` shards each parameter's optimizer state, or -1.

    It is the largest of those that divide and that no other axis shards: each device updates its
    part of the parameters (ZeRO, stage 1).

    Args:
      params: shapes of the parameters.
      shardings: theirs, of `parameter_shardings`.
      mesh: the device mesh.
    """
    data = mesh.shape["data"]

    def dimension(param: jax.ShapeDtypeStruct, sharding: NamedSharding) -> int:
        axes = (*sharding.spec, *(None,) * len(param.shape))
        free = [
            n
            for n, size in enumerate(param.shape)
            if size % data == 0 and (axes[n] is None or mesh.shape[axes[n]] == 1)
        ]
        return max(free, key=lambda n: param.shape[n], default=-1)

    return jax.tree.map(dimension, params, shardings)


def with_data(sharding: NamedSharding, dimension: int) -> NamedSharding:
    """Returns a sharding with `data` along a dimension, or as it is for -1."""
    if dimension < 0:
        return sharding
    spec = [*sharding.spec, *(None,) * (dimension + 1 - len(sharding.spec))]
    spec[dimension] = "data"
    return NamedSharding(sharding.mesh, P(*spec))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device holds in full."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """Returns the sharding of arrays `[..., G, ...]` with `leading` axes before G."""
    return NamedSharding(mesh, P(*(None,) * leading, BATCH_AXES))


def local_groups(mesh: Mesh, groups: int) -> range:
    """Returns the range of a batch's groups that the devices of this process hold."""
    indices = batch_sharding(mesh).addressable_devices_indices_map((groups,)).values()
    bounds = [index[0].indices(groups)[:2] for index in indices if index is not None]
    return range(min(start for start, _ in bounds), max(stop for _, stop in bounds))


def to_devices(arrays: Any, mesh: Mesh, groups: int, leading: int = 0) -> Any:
    """Puts a host's part of a batch on its devices.

    Args:
      arrays: pytree of NumPy arrays `[..., local groups, ...]`.
      mesh: the device mesh.
      groups: number of groups of the whole batch.
      leading: number of axes before that of the groups.

    Returns:
      The pytree of global arrays `[..., G, ...]`.
    """
    sharding = batch_sharding(mesh, leading)
    first = local_groups(mesh, groups).start

    def put(array: np.ndarray) -> jax.Array:
        shape = (*array.shape[:leading], groups, *array.shape[leading + 1 :])

        def local_part(index: tuple[slice, ...] | None) -> np.ndarray:
            # None stands for a device of another process.
            assert index is not None
            start, stop, _ = index[leading].indices(groups)
            return array[(*index[:leading], slice(start - first, stop - first))]

        return jax.make_array_from_callback(shape, sharding, local_part)

    return jax.tree.map(put, arrays)
