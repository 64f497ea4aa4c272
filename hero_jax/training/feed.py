"""Batches on their way from the host to the devices, a few ahead of the step that needs them."""

import itertools
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from data.pipeline.batches import GAUGES, Batches
from data.pipeline.packing import COUNTS
from hero_jax import sharding
from hero_jax.division import Division
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
        self._task_groups = experiment.task_groups
        self._local = streams
        self._feeds = {
            name: Feed(
                training_batches(batches[name], group.division, group.config, streams[name], step)
            )
            for name, group in self._task_groups.items()
        }

    def take(self, name: str) -> tuple[dict[str, jax.Array], dict[str, int], dict[str, int]]:
        """Returns an update's batches on the devices, their counts and their numbers of slots.

        The slots have the name of the count of those that are filled.
        """
        batch, self._local[name], counts = next(self._feeds[name])
        group = self._task_groups[name]
        config, division = group.config.batch, group.division
        here = len(division.local_groups) * len(division.local_batches)
        held = here * (config.accumulation // division.at_once)
        # The array is that of all processes.
        frames = batch["frame_place"].size // (config.groups * config.accumulation) * held
        rows = held * config.rows_per_group
        return batch, counts, {"filled_slots": rows * config.row_length, "frames": frames}

    @property
    def waited(self) -> float:
        """Seconds that the consumer has waited for batches so far."""
        return sum(feed.waited for feed in self._feeds.values())

    @property
    def streams(self) -> dict[str, jax.Array]:
        """States of the task groups after the last batch taken; see `stream_to_devices`."""
        return {
            name or ONLY: stream_to_devices(state, self._task_groups[name].division)
            for name, state in self._local.items()
        }

    def close(self) -> None:
        """Ends the threads."""
        for feed in self._feeds.values():
            feed.close()


def training_batches(
    batches: Batches, division: Division, config: ConfigDict, stream: np.ndarray, step: int
) -> Iterator[tuple[dict[str, jax.Array], np.ndarray, dict[str, int]]]:
    """Yields an update's batches on the devices, stream state and counts.

    Args:
      division: of the batches over the mesh; its docstring has the arrays' shapes.
      stream: state of this process's groups, as `initial_state` makes it.
      step: updates made so far.
    """
    accumulation, at_once = config.batch.accumulation, division.at_once
    source = batches.train(config.seed, stream, step * accumulation)
    held = [n for n in range(accumulation) if n % at_once in division.local_batches]
    while True:
        taken = [next(source) for _ in range(accumulation)]
        counts = {
            name: last if name in GAUGES else sum(taken[n].counts[name] for n in held)
            for name, last in taken[-1].counts.items()
        }
        yield division.to_devices([batch.arrays for batch in taken]), taken[-1].state, counts


def abstract_batches(batches: Batches, config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the arrays of `training_batches`."""
    leading = config.batch.accumulation, config.batch.groups
    return {
        name: jax.ShapeDtypeStruct((*leading, *array.shape[1:]), array.dtype)
        for name, array in batches.empty().arrays.items()
    }


def stream_sharding(division: Division) -> NamedSharding:
    """Returns the sharding of a stream's state, whole everywhere if groups share a shard."""
    mesh = division.mesh
    return sharding.batch_sharding(mesh) if division.at_once == 1 else sharding.replicated(mesh)


def stream_to_devices(state: np.ndarray, division: Division) -> jax.Array:
    """Returns a stream's state `[local groups, N]` int64 as a global int32 array `[G, 2 N]`."""
    placed = division.to_devices([state.view(np.int32)] * division.at_once)
    first = jax.jit(division.first_batch, out_shardings=stream_sharding(division))
    return first(placed)


def stream_from_devices(array: jax.Array, groups: range) -> np.ndarray:
    """Returns the rows of `stream_to_devices`' array that are of this process's groups."""
    shards = {
        shard.index[0].start or 0: np.asarray(shard.data) for shard in array.addressable_shards
    }
    rows = np.concatenate([shards[start] for start in sorted(shards)])
    first = groups.start - min(shards)
    return np.ascontiguousarray(rows[first : first + len(groups)]).view(np.int64)


def evaluation_batches(
    batches: Batches, division: Division, config: ConfigDict
) -> Iterator[tuple[dict[str, jax.Array], dict[str, int]]]:
    """Yields batches on the devices and counts, as long as any process has clips.

    Args:
      division: of the batches over the mesh; arrays are `[1, places, ...]`.
    """
    source = batches.once(config.seed)
    while True:
        taken = list(itertools.islice(source, division.at_once))
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            more = multihost_utils.process_allgather(np.array(bool(taken)))
            if not more.any():
                return
        elif not taken:
            return
        taken += [batches.empty()] * (division.at_once - len(taken))
        counts = {name: sum(batch.counts[name] for batch in taken) for name in COUNTS}
        yield division.to_devices([batch.arrays for batch in taken]), counts
