"""The device mesh, and where parameters and batches lie on it."""

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data.errors import InputError

AXES = ("data", "fsdp", "tensor")
# Groups of a batch are split over these.
BATCH_AXES = ("data", "fsdp")
# Logical axes of parameters to mesh axes; the others are not split.
RULES = {"embed": "fsdp", "vocab": "tensor", "mlp": "tensor", "heads": "tensor"}


def make_mesh(config, devices=None) -> Mesh:
    """A mesh over all devices.

    Args:
      config: sizes `data`, `fsdp`, `tensor`; one may be -1 and takes what the others leave.

    Raises:
      InputError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config[axis] for axis in AXES]
    if sizes.count(-1) == 1:
        known = -np.prod(sizes)
        if known > 0 and len(devices) % known == 0:
            sizes[sizes.index(-1)] = len(devices) // int(known)
    if min(sizes) < 1 or np.prod(sizes) != len(devices):
        wanted = ", ".join(f"config.mesh.{axis}={config[axis]}" for axis in AXES)
        raise InputError(
            f"{wanted} do not multiply to the {len(devices)} devices there are; "
            "set one of them to -1 to let it take what the others leave."
        )
    # Shardings are propagated by the compiler, not part of types.
    types = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(sizes, AXES, axis_types=types, devices=devices)


def check_groups(mesh: Mesh, groups: int) -> None:
    """InputError unless a batch's groups divide over the mesh."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if groups % shards:
        raise InputError(
            f"config.batch.groups={groups} does not divide over the {shards} data shards of the "
            f"mesh (data={mesh.shape['data']} × fsdp={mesh.shape['fsdp']}); make it a multiple of "
            f"{shards}, or use fewer devices or more config.mesh.tensor."
        )


def parameter_shardings(state: nnx.State, mesh: Mesh) -> nnx.State:
    """A NamedSharding for every parameter, by its logical axis names.

    Raises:
      InputError: a dimension does not divide over its mesh axis.
    """

    def place(path, variable):
        names = variable.get_metadata("out_sharding")
        spec = P(*(RULES.get(name) for name in names))
        for size, name, axis in zip(variable.shape, names, spec, strict=True):
            if axis and size % mesh.shape[axis]:
                raise InputError(
                    f"The {name!r} dimension {size} of {'/'.join(map(str, path))} does not divide "
                    f"over config.mesh.{axis}={mesh.shape[axis]}; choose a divisor of it."
                )
        return variable.replace(NamedSharding(mesh, spec))

    return nnx.map_state(place, state)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device has whole."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """The sharding of arrays `[..., G, ...]` with `leading` axes before G."""
    return NamedSharding(mesh, P(*(None,) * leading, BATCH_AXES))


def local_groups(mesh: Mesh, groups: int) -> range:
    """Which of a batch's groups the devices of this process hold."""
    slices = batch_sharding(mesh).addressable_devices_indices_map((groups,)).values()
    bounds = [index[0].indices(groups)[:2] for index in slices]
    return range(min(b[0] for b in bounds), max(b[1] for b in bounds))


def to_devices(arrays, mesh: Mesh, groups: int, leading: int = 0):
    """Puts a host's part of a batch on its devices.

    Args:
      arrays: pytree of NumPy arrays `[..., local groups, ...]`.
      groups: of the whole batch.
      leading: axes before the one of the groups.
    """
    sharding = batch_sharding(mesh, leading)
    first = local_groups(mesh, groups).start

    def put(array):
        shape = (*array.shape[:leading], groups, *array.shape[leading + 1 :])

        def part(index):
            start, stop, _ = index[leading].indices(groups)
            return array[(*index[:leading], slice(start - first, stop - first))]

        return jax.make_array_from_callback(shape, sharding, part)

    return jax.tree.map(put, arrays)
