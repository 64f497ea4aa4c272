"""Requests are gathered, bounded, given up in time, and all answered at the end."""

import asyncio
import threading

import pytest

from data.errors import InputError
from hero_jax.search.server.batching import Batcher, Bounds, Busy, Late
from hero_jax.search.server.metrics import Metrics


def run(scenario, compute, **bounds):
    """Runs a scenario with a batcher, and returns its result."""
    given = {"most_at_once": 4, "most_waiting": 100, "gather": 0.01, "deadline": 30} | bounds

    async def main():
        batcher = Batcher(compute, Bounds(**given), Metrics())
        batcher.start()
        try:
            return await scenario(batcher)
        finally:
            await batcher.close()

    return asyncio.run(main())


class Recorder:
    """Doubles numbers, and keeps the batches that it is given."""

    def __init__(self):
        self.batches, self.threads = [], set()

    def __call__(self, kind, items):
        self.batches.append((kind, list(items)))
        self.threads.add(threading.current_thread())
        if "bad" in items:
            raise InputError("bad is no number")
        return [2 * item for item in items]


def test_requests_of_a_kind_are_gathered_in_order_up_to_the_most():
    recorder = Recorder()

    async def scenario(batcher):
        kinds = ["a", "b", "a", "a", "b", "a", "a"]
        return await asyncio.gather(*(batcher.submit(k, n) for n, k in enumerate(kinds)))

    assert run(scenario, recorder) == [0, 2, 4, 6, 8, 10, 12]
    assert recorder.batches == [("a", [0, 2, 3, 5]), ("b", [1, 4]), ("a", [6])]
    assert len(recorder.threads) == 1


def test_one_bad_request_fails_no_other():
    async def scenario(batcher):
        return await asyncio.gather(
            *(batcher.submit("a", item) for item in (1, "bad", 2)), return_exceptions=True
        )

    one, bad, two = run(scenario, Recorder())
    assert (one, two) == (2, 4)
    assert isinstance(bad, InputError)


def test_a_fault_is_told_and_the_next_request_answered():
    def compute(kind, items):
        if kind == "fault":
            raise ZeroDivisionError
        return items

    async def scenario(batcher):
        with pytest.raises(ZeroDivisionError):
            await batcher.submit("fault", 1)
        return await batcher.submit("a", 1)

    assert run(scenario, compute) == 1


class Gate(Recorder):
    """Computes nothing until it is opened."""

    def __init__(self):
        super().__init__()
        self.opened, self.reached = threading.Event(), threading.Event()

    def __call__(self, kind, items):
        self.reached.set()
        assert self.opened.wait(30)
        return super().__call__(kind, items)


def test_too_many_waiting_requests_are_refused_and_no_more_wait():
    gate = Gate()

    async def scenario(batcher):
        first = asyncio.create_task(batcher.submit("a", 0))
        await asyncio.to_thread(gate.reached.wait)
        others = [asyncio.create_task(batcher.submit("a", n)) for n in range(1, 6)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as caught:
            await batcher.submit("a", 9)
        assert caught.value.seconds >= 1
        assert len(batcher.waiting) == 5
        gate.opened.set()
        return await asyncio.gather(first, *others)

    assert run(scenario, gate, most_waiting=5) == [0, 2, 4, 6, 8, 10]


def test_what_is_given_up_is_not_computed():
    gate = Gate()

    async def scenario(batcher):
        first = asyncio.create_task(batcher.submit("a", 0))
        await asyncio.to_thread(gate.reached.wait)
        # One waits for too long, the other is cancelled.
        gone = asyncio.create_task(batcher.submit("a", 1))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(Late):
            await batcher.submit("a", 2)
        assert not batcher.waiting
        gate.opened.set()
        with pytest.raises(Late):
            await first
        return await batcher.submit("a", 3)

    assert run(scenario, gate, deadline=0.05) == 6
    assert gate.batches == [("a", [0]), ("a", [3])]


def test_what_waits_is_answered_before_the_end():
    gate = Gate()

    async def scenario(batcher):
        tasks = [asyncio.create_task(batcher.submit("a", n)) for n in range(9)]
        await asyncio.to_thread(gate.reached.wait)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        gate.opened.set()
        await closing
        return [task.result() for task in tasks]

    assert run(scenario, gate) == [0, 2, 4, 6, 8, 10, 12, 14, 16]
