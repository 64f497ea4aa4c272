"""Batches on their way from the host to the devices, a few ahead of the step that needs them."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.pipeline.batches import GAUGES, Batches
from hero_jax import sharding
from hero_jax.experiment.experiment import Experiment

# Updates whose batches wait on the devices.
AHEAD = 2
# Name in a checkpoint of the stream of the only task group.
ONLY = "stream"


class Feed:
    """An iterator over batches on the devices, filled by a thread.

    Attributes:
      waited: seconds that the consumer has waited for batches so far.
    """

    def __init__(self, batches: Iterator):
        """Starts the thread.

        Args:
          batches: iterator that runs in it; its errors are raised in the consumer.
        """
        self._queue: queue.Queue = queue.Queue(maxsize=AHEAD)
        self._stopped = threading.Event()
        self.waited = 0.0
        self._thread = threading.Thread(target=self._run, args=(batches,), daemon=True)
        self._thread.start()

    def _run(self, batches: Iterator) -> None:
        try:
            for item in batches:
                if not self._put((item, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:  # raised again in the consumer
            self._put((None, error))

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        item, error = self._queue.get()
        self.waited += time.perf_counter() - start
        if error is not None:
            raise error
        return item

    def close(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join()


class Feeds:
    """The feeds of an experiment's task groups, and the states of their streams."""

    def __init__(
        self,
        experiment: Experiment,
        batches: Mapping[str, Batches],
        streams: dict[str, np.ndarray],
        step: int,
    ):
        """Starts to read.

        Args:
          batches: by task group.
          streams: state of this process's groups by task group.
          step: updates made so far.
        """
        self._task_groups, self._mesh = experiment.task_groups, experiment.mesh
        self._local = streams
        self._feeds = {
            name: Feed(
                training_batches(batches[name], self._mesh, group.config, streams[name], step)
            )
            for name, group in self._task_groups.items()
        }

    def take(self, name: str) -> tuple[dict[str, jax.Array], dict[str, int], dict[str, int]]:
        """Returns an update's batches on the devices, their counts and their numbers of slots.

        The slots have the name of the count of those that are filled.
        """
        batch, self._local[name], counts = next(self._feeds[name])
        config = self._task_groups[name].config.batch
        groups = len(sharding.local_groups(self._mesh, config.groups))
        rows = groups * config.accumulation * config.rows_per_group
        # The array is that of all processes.
        frames = batch["frame_place"].size // config.groups * groups
        return batch, counts, {"filled_slots": rows * config.row_length, "frames": frames}

    @property
    def waited(self) -> float:
        """Seconds that the consumer has waited for batches so far."""
        return sum(feed.waited for feed in self._feeds.values())

    @property
    def streams(self) -> dict[str, jax.Array]:
        """States of the task groups after the last batch taken; see `stream_to_devices`."""
        return {
            name or ONLY: stream_to_devices(
                state, self._mesh, self._task_groups[name].config.batch.groups
            )
            for name, state in self._local.items()
        }

    def close(self) -> None:
        """Ends the threads."""
        for feed in self._feeds.values():
            feed.close()


def training_batches(
    batches: Batches, mesh: Mesh, config: ConfigDict, stream: np.ndarray, step: int
) -> Iterator[tuple[dict[str, jax.Array], np.ndarray, dict[str, int]]]:
    """Yields batches on the devices `[accumulation, G, ...]`, stream state and counts.

    Args:
      stream: state of this process's groups, as `initial_state` makes it.
      step: updates made so far.
    """
    accumulation, groups = config.batch.accumulation, config.batch.groups
    source = batches.train(config.seed, stream, step * accumulation)
    while True:
        taken = [next(source) for _ in range(accumulation)]
        arrays = {
            name: np.stack([batch.arrays[name] for batch in taken])
            if accumulation > 1
            else taken[0].arrays[name][None]
            for name in taken[0].arrays
        }
        counts = {
            name: last if name in GAUGES else sum(batch.counts[name] for batch in taken)
            for name, last in taken[-1].counts.items()
        }
        yield (
            sharding.to_devices(arrays, mesh, groups, leading=1),
            taken[-1].state,
            counts,
        )


def abstract_batches(batches: Batches, config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the arrays of `training_batches`."""
    leading = config.batch.accumulation, config.batch.groups
    return {
        name: jax.ShapeDtypeStruct((*leading, *array.shape[1:]), array.dtype)
        for name, array in batches.empty().arrays.items()
    }


def stream_to_devices(state: np.ndarray, mesh: Mesh, groups: int) -> jax.Array:
    """Returns a stream's state `[local groups, N]` int64 as a global int32 array `[G, 2 N]`."""
    return sharding.to_devices(state.view(np.int32), mesh, groups)


def stream_from_devices(array: jax.Array) -> np.ndarray:
    """Returns the part of `stream_to_devices`' array that is of this process's groups."""
    shards = {
        shard.index[0].start or 0: np.asarray(shard.data) for shard in array.addressable_shards
    }
    return np.ascontiguousarray(np.concatenate([shards[start] for start in sorted(shards)])).view(
        np.int64
    )


def evaluation_batches(
    batches: Batches, mesh: Mesh, config: ConfigDict
) -> Iterator[tuple[dict[str, jax.Array], dict[str, int]]]:
    """Yields batches on the devices `[G, ...]` and counts, as long as any process has clips."""
    source = batches.once(config.seed)
    while True:
        batch = next(source, None)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            more = multihost_utils.process_allgather(np.array(batch is not None))
            if not more.any():
                return
        elif batch is None:
            return
        batch = batch or batches.empty()
        yield sharding.to_devices(batch.arrays, mesh, config.batch.groups), batch.counts
