"""Devices to compile for: what XLA calls them, and what their makers publish about them."""

import dataclasses
import importlib.util
import os
from typing import Any

import jax
from jax.experimental import topologies

from data.errors import InputError

# What libtpu asks of a machine that has no TPU.
TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
REQUIREMENTS = "requirements-topologies.txt"

# XLA's description of a card, `GpuTargetConfigProto`, with the card's published properties.
H100_CARD = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 85017493504
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclasses.dataclass(frozen=True)
class Chip:
    """Properties of a chip, as its maker publishes them.

    Attributes:
      memory: bytes.
      flops: bfloat16 operations a second.
      bandwidth: bytes a second of its memory.
      links: bytes a second to other chips, all links and both directions together.
      clock: cycles a second of its compiler's estimates; None where it makes none.
    """

    memory: float
    flops: float
    bandwidth: float
    links: float
    clock: float | None = None


GIB = 2**30
V5E = Chip(16 * GIB, 197e12, 819e9, 200e9, 1.5e9)
V4 = Chip(32 * GIB, 275e12, 1228e9, 300e9, 1.05e9)
V5P = Chip(95 * GIB, 459e12, 2765e9, 600e9, 1.75e9)
V6E = Chip(32 * GIB, 918e12, 1640e9, 448e9, 1.75e9)
H100 = Chip(80e9, 989e12, 3350e9, 900e9)


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips that are linked to each other.

    Attributes:
      chip: one of them.
      platform: 'tpu' or 'cuda'.
      xla_name: what the platform's compiler calls it.
      options: what its compiler has to know besides.
    """

    chip: Chip
    platform: str
    xla_name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def missing(self) -> str:
        """Returns the package that compiles for it and is not installed, '' if there is none."""
        package = {"tpu": "libtpu", "cuda": "jax_plugins.xla_cuda12"}[self.platform]
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        return "" if found else package.removeprefix("jax_plugins.")

    def devices(self) -> list[jax.Device]:
        """Returns descriptions of its chips, which programs can be compiled for.

        Raises:
          InputError: its compiler is not installed, or refuses the topology.
        """
        if package := self.missing():
            raise InputError(
                f"{package} is not installed, which compiles for {self.xla_name}: "
                f"pip install --no-deps -r {REQUIREMENTS}"
            )
        os.environ.update({k: v for k, v in TPU_ENVIRONMENT.items() if k not in os.environ})
        try:
            described = topologies.get_topology_desc(
                platform=self.platform, topology_name=self.xla_name, **self.options
            )
        except (RuntimeError, NotImplementedError) as error:
            raise InputError(
                f"the {self.platform} compiler refuses {self.xla_name}: {error}"
            ) from error
        return list(described.devices)


# The number in a v4's and a v5p's name is of TensorCores, of which a chip has two.
MEGACORE = {"chip_config_name": "megacore"}
TOPOLOGIES = {
    "v5e-4": Topology(V5E, "tpu", "v5e:2x2"),
    "v5e-16": Topology(V5E, "tpu", "v5e:4x4"),
    "v5e-64": Topology(V5E, "tpu", "v5e:8x8"),
    "v5e-256": Topology(V5E, "tpu", "v5e:16x16"),
    "v4-32": Topology(V4, "tpu", "v4:2x2x4", MEGACORE),
    "v5p-32": Topology(V5P, "tpu", "v5p:2x2x4"),
    "v6e-16": Topology(V6E, "tpu", "v6e:4x4"),
    "h100-8": Topology(H100, "cuda", "1x1x8", {"target_config": H100_CARD, "topology": "1x1x8"}),
    "h100-16": Topology(H100, "cuda", "1x2x8", {"target_config": H100_CARD, "topology": "1x2x8"}),
}
