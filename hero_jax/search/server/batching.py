"""Requests gathered into batches, which one thread computes, one after another.

A batch has requests of one kind, in the order in which they came. It begins with the oldest request
that waits, and takes what has come or comes within a few milliseconds of it.
"""

import asyncio
import collections
import dataclasses
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from data.errors import InputError
from hero_jax.search.server.metrics import Metrics


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Bounds of what waits and of how long.

    most_at_once: requests of a batch.
    most_waiting: requests that wait for a batch.
    gather: seconds for which a batch waits for more requests.
    deadline: seconds after which a request that is not answered is given up.
    """

    most_at_once: int
    most_waiting: int
    gather: float
    deadline: float


class Busy(Exception):
    """Too many requests wait; `seconds` is when to try again."""

    def __init__(self, seconds: int):
        super().__init__(f"too many requests wait: try again in {seconds} s")
        self.seconds = seconds


class Late(Exception):
    """A request was not answered before its deadline."""


@dataclasses.dataclass(eq=False)
class _Request:
    kind: Hashable
    item: Any
    since: float
    reply: asyncio.Future


class Batcher:
    """Gathers requests; all methods are called in one event loop.

    Attributes:
      waiting: requests that no batch has taken yet.
    """

    def __init__(
        self,
        run: Callable[[Any, Sequence[Any]], Sequence[Any]],
        bounds: Bounds,
        metrics: Metrics,
    ):
        """Takes the function that computes a batch.

        Args:
          run: takes a kind and the items of requests of that kind, and returns a reply to each; it
            is called in a thread of its own, always the same.
        """
        self.bounds, self._run, self._metrics = bounds, run, metrics
        self.waiting: collections.deque[_Request] = collections.deque()
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._arrived, self._closing = asyncio.Event(), False
        # Seconds that a batch takes, lately.
        self._seconds = 0.0
        self._worker: asyncio.Task | None = None

    def start(self) -> None:
        """Begins to take requests."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Answers what waits, and ends."""
        self._closing = True
        self._arrived.set()
        if self._worker:
            await self._worker
        self._device.shutdown()

    async def submit(self, kind: Hashable, item: Any) -> Any:
        """Returns the reply to a request.

        Raises:
          Busy: too many requests wait.
          Late: it was not answered before the deadline.
          Exception: what the computation raised.
        """
        if len(self.waiting) >= self.bounds.most_waiting:
            batches = len(self.waiting) / self.bounds.most_at_once
            raise Busy(max(1, round(batches * self._seconds)))
        reply = asyncio.get_running_loop().create_future()
        request = _Request(kind, item, time.monotonic(), reply)
        self.waiting.append(request)
        self._arrived.set()
        try:
            async with asyncio.timeout(self.bounds.deadline):
                return await reply
        except TimeoutError as error:
            raise Late from error
        finally:
            # One that was given up is not computed.
            if request in self.waiting:
                self.waiting.remove(request)

    async def _work(self) -> None:
        while await self._some():
            left = self.waiting[0].since + self.bounds.gather - time.monotonic()
            if left > 0 and len(self.waiting) < self.bounds.most_at_once and not self._closing:
                await asyncio.sleep(left)
            batch = self._take()
            if batch:
                await self._compute(batch)

    async def _some(self) -> bool:
        """Waits for requests; returns False if there are none and will be none."""
        while not self.waiting:
            if self._closing:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    def _take(self) -> list[_Request]:
        """Takes the oldest request, and others of its kind."""
        if not self.waiting:
            return []
        kind = self.waiting[0].kind
        batch = [one for one in self.waiting if one.kind == kind][: self.bounds.most_at_once]
        for one in batch:
            self.waiting.remove(one)
        return batch

    async def _compute(self, batch: Sequence[_Request]) -> None:
        begun = time.monotonic()
        loop, kind = asyncio.get_running_loop(), batch[0].kind
        outcomes = await loop.run_in_executor(
            self._device, _outcomes, self._run, kind, [one.item for one in batch]
        )
        self._seconds = time.monotonic() - begun
        self._metrics.batch(len(batch), self._seconds)
        for request, outcome in zip(batch, outcomes, strict=True):
            if request.reply.done():
                continue
            if isinstance(outcome, Exception):
                request.reply.set_exception(outcome)
            else:
                request.reply.set_result(outcome)


def _outcomes(run: Callable, kind: Any, items: Sequence[Any]) -> Sequence[Any]:
    """Returns the reply or the error of each item; an error of one does not fail the others."""
    try:
        return run(kind, items)
    except InputError as error:
        if len(items) == 1:
            return [error]
        return [outcome for item in items for outcome in _outcomes(run, kind, [item])]
    except Exception as error:
        return [error] * len(items)
