"""Steps are compiled in threads, while the state is drawn and the first batches are read."""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict

from data.errors import InputError
from data.pipeline.batches import Batches
from hero_jax.experiment.experiment import Experiment
from hero_jax.models.batch import Batch
from hero_jax.training.feed import abstract_batches
from hero_jax.training.logs import say
from hero_jax.training.step import Program
from hero_jax.training.task_draws import tasks_ahead

# Stands beside the names of tasks for the part of a step that all of them share.
UPDATE = "the update"


class Compiling:
    """Compiles the steps of tasks in threads, those first that are needed first.

    Python traces one function at a time, and XLA compiles as many as there are cores. The calls of
    a function find in JAX's memory what was compiled for the same shapes.
    """

    def __init__(self, experiment: Experiment, program: Program, batches: Mapping[str, Batches]):
        """Starts no thread yet.

        Args:
          batches: by task group.
        """
        self._experiment, self._program, self._batches = experiment, program, batches
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="compiling")
        self._tracing = threading.Lock()
        self._compiled: dict[str, Future] = {}

    def __enter__(self) -> "Compiling":
        return self

    def __exit__(self, *error: object) -> None:
        # XLA cannot be stopped: the functions that it compiles now are waited for.
        self._pool.shutdown(cancel_futures=True)

    def run(self, function: Callable[[], Any]) -> Future:
        """Calls a function in a thread, before what is begun later."""
        return self._pool.submit(function)

    def begin(self, step: int) -> None:
        """Begins to compile what the updates after a step need and is not compiled yet."""
        for name in tasks_ahead(self._experiment.config, step):
            if name not in self._compiled and not self._program.is_known(name):
                self._submit(name, functools.partial(self._lower, name))
            if UPDATE not in self._compiled:
                self._submit(UPDATE, self._program.lower_update)

    def wait(self, name: str) -> None:
        """Waits until what a step needs is compiled, if that has begun; raises its error."""
        for part in (name, UPDATE):
            if part in self._compiled:
                self._compiled[part].result()

    def _submit(self, name: str, lower: Callable[[], jax.stages.Lowered]) -> None:
        self._compiled[name] = self._pool.submit(self._compile, name, lower)

    def _lower(self, name: str) -> jax.stages.Lowered:
        group = self._experiment.group_of(name)
        shapes = abstract_batches(self._batches[group.name], group.config)
        return self._program.lower(name, shapes)

    def _compile(self, name: str, lower: Callable[[], jax.stages.Lowered]) -> None:
        begun = time.perf_counter()
        with self._tracing:
            lowered = lower()
        lowered.compile()
        say(f"compiled {name} in {time.perf_counter() - begun:.1f} s")


def compile_evaluation(
    program: Program, params: nnx.State, passes: Sequence[tuple[str, int, Batch]]
) -> None:
    """Compiles the functions of an evaluation at the same time, but those that are compiled.

    Args:
      params: on the devices.
      passes: task, number of the task's pass, and a batch of it.
    """
    new = [one_pass for one_pass in passes if not program.is_known(*one_pass[:2])]
    if not new:
        return
    begun = time.perf_counter()
    lowered = (program.lower_evaluation(params, batch, name, number) for name, number, batch in new)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="compiling") as pool:
        # What is lowered is compiled while the next one is.
        list(pool.map(jax.stages.Lowered.compile, lowered))
    names = ", ".join(dict.fromkeys(name for name, *_ in new))
    say(f"compiled the evaluation of {names} in {time.perf_counter() - begun:.1f} s")


@contextlib.contextmanager
def enough_memory(batch: ConfigDict) -> Iterator[None]:
    """Raises an InputError if the devices' memory does not hold an update."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
            raise
        raise InputError(
            "the devices' memory does not hold an update: halve "
            f"batch.clips_per_group={batch.clips_per_group} or batch.groups={batch.groups} and "
            f"double batch.accumulation={batch.accumulation}, set model.remat=True, or use more "
            "devices"
        ) from error
