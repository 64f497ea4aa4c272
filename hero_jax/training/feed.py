"""Batches on their way from the host to the devices, a few ahead of the step that needs them."""

import queue
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np

from data.pipeline.batches import GAUGES
from hero_jax import sharding

# Updates' batches that wait on the devices.
AHEAD = 2
# The name that the stream of the only part has in a checkpoint.
ONLY = "stream"


class Feed:
    """An iterator over batches on the devices, filled by a thread.

    Attributes:
      waited: seconds that the consumer has waited for batches so far.
    """

    def __init__(self, batches: Iterator):
        self._queue: queue.Queue = queue.Queue(maxsize=AHEAD)
        self._stopped = threading.Event()
        self.waited = 0.0
        self._thread = threading.Thread(target=self._run, args=(batches,), daemon=True)
        self._thread.start()

    def _run(self, batches):
        try:
            for item in batches:
                if not self._put((item, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:  # is raised again where the batch is asked for
            self._put((None, error))

    def _put(self, item):
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self):
        return self

    def __next__(self):
        begun = time.perf_counter()
        item, error = self._queue.get()
        self.waited += time.perf_counter() - begun
        if error is not None:
            raise error
        return item

    def close(self):
        """Ends the thread."""
        self._stopped.set()
        self._thread.join()


class Feeds:
    """The feeds of an experiment's parts, and where each of their streams stands."""

    def __init__(self, experiment, batches, streams, step: int):
        """Starts to read.

        Args:
          batches: `data.pipeline.batches.Batches` by part.
          streams: state of the local groups by part.
          step: updates made so far.
        """
        self._parts, self._mesh = experiment.parts, experiment.mesh
        self._local = streams
        self._feeds = {
            name: Feed(
                training_batches(batches[name], self._mesh, part.config, streams[name], step)
            )
            for name, part in self._parts.items()
        }

    def take(self, part: str):
        """A batch on the devices of a part, its counts, and how many slots it has."""
        batch, self._local[part], counts = next(self._feeds[part])
        config = self._parts[part].config.batch
        groups = len(sharding.local_groups(self._mesh, config.groups))
        slots = groups * config.accumulation * config.rows_per_group * config.row_length
        return batch, counts, slots

    @property
    def waited(self) -> float:
        """Seconds that the consumer has waited for batches so far."""
        return sum(feed.waited for feed in self._feeds.values())

    @property
    def streams(self) -> dict[str, jax.Array]:
        """Where each part stands after the last batch taken; see `stream_to_devices`."""
        return {
            name or ONLY: stream_to_devices(
                state, self._mesh, self._parts[name].config.batch.groups
            )
            for name, state in self._local.items()
        }

    def close(self):
        """Ends the threads."""
        for feed in self._feeds.values():
            feed.close()


def training_batches(batches, mesh, config, stream: np.ndarray, step: int) -> Iterator:
    """(batches on the devices `[accumulation, G, ...]`, stream state, counts) from `step` on.

    Args:
      batches: `data.pipeline.batches.Batches`.
      stream: the local groups' state, as `initial_state` makes it.
      step: updates made so far.
    """
    accumulation, groups = config.batch.accumulation, config.batch.groups
    source = batches.train(config.seed, stream, step * accumulation)
    while True:
        parts = [next(source) for _ in range(accumulation)]
        arrays = {
            name: np.stack([part.arrays[name] for part in parts])
            if accumulation > 1
            else parts[0].arrays[name][None]
            for name in parts[0].arrays
        }
        counts = {
            name: last if name in GAUGES else sum(part.counts[name] for part in parts)
            for name, last in parts[-1].counts.items()
        }
        yield (
            sharding.to_devices(arrays, mesh, groups, leading=1),
            parts[-1].state,
            counts,
        )


def stream_to_devices(state: np.ndarray, mesh, groups: int) -> jax.Array:
    """A stream's state `[local groups, N]` int64 as a global int32 array `[G, 2 N]`."""
    return sharding.to_devices(state.view(np.int32), mesh, groups)


def stream_from_devices(array: jax.Array) -> np.ndarray:
    """The local groups' part of `stream_to_devices`' array."""
    shards = {
        shard.index[0].start or 0: np.asarray(shard.data) for shard in array.addressable_shards
    }
    return np.ascontiguousarray(np.concatenate([shards[start] for start in sorted(shards)])).view(
        np.int64
    )


def evaluation_batches(batches, mesh, config) -> Iterator:
    """(batch on the devices `[G, ...]`, counts): one pass, as long as any process has clips."""
    source = batches.once(config.seed)
    while True:
        part = next(source, None)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            more = multihost_utils.process_allgather(np.array(part is not None))
            if not more.any():
                return
        elif part is None:
            return
        part = part or batches.empty()
        yield sharding.to_devices(part.arrays, mesh, config.batch.groups), part.counts
