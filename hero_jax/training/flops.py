"""The arithmetic that the model needs, and that the devices can do."""

import time
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp

from data.config import Config
from hero_jax.tasks.base import Task
from hero_jax.tasks.work import Work

# The gradient of a matrix product takes two more.
TRAINING_FACTOR = 3


def training_flops(config: Config, counts: Mapping[str, int], tasks: Iterable[Task]) -> float:
    """Returns the floating point operations of an update that a perfect implementation needs.

    Matrix products alone count; see `hero_jax.tasks.base.Work`.

    Args:
      config: of the task group, with the blocks `model` and `batch`.
      counts: of the update's batches; see `data.pipeline.packing.COUNTS`.
      tasks: those that are trained on them.
    """
    work = Work(config, counts)
    return TRAINING_FACTOR * 2.0 * sum(task.products(work) for task in tasks)


def peak_flops(dtype: str) -> float:
    """Returns the operations a second of this process's devices in a large matrix product."""
    size = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    best = min(_seconds(product, x) for _ in range(5))
    return 2.0 * size**3 / best * jax.local_device_count()


def _seconds(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    start = time.perf_counter()
    function(x).block_until_ready()
    return time.perf_counter() - start
