"""Reading ahead: items in order, in bounded number, and no threads left at the end."""

import gc
import itertools
import threading
import time
import weakref

import pytest

from data.pipeline.stream import READ_AHEAD, READERS, read_ahead

PATIENCE = 60


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read_ahead")]


@pytest.fixture(autouse=True)
def no_threads_remain():
    yield
    if reading_threads():
        gc.collect()
    wait_until(lambda: not reading_threads())


class Records:
    """Prepares items, and keeps a list of their positions."""

    def __init__(self):
        self.asked = []

    def prepare(self, position):
        self.asked.append(position)
        # Later items are faster, and must wait for the earlier ones.
        time.sleep(0.002 * (position % 3 == 0))
        return None if position % 5 == 4 else f"item {position}"


def test_items_come_in_the_order_of_their_positions():
    expected = [(n, None if n % 5 == 4 else f"item {n}") for n in range(3, 60, 4)]
    assert list(read_ahead(Records().prepare, iter(range(3, 60, 4)))) == expected


def test_no_positions_are_no_items():
    assert list(read_ahead(Records().prepare, iter(()))) == []


def test_items_are_prepared_ahead_but_not_without_bound():
    records = Records()
    items = read_ahead(records.prepare, itertools.count())
    assert records.asked == []
    for taken in range(1, 4):
        next(items)
        wait_until(lambda taken=taken: len(records.asked) >= taken + READ_AHEAD - 1)
        time.sleep(0.02)
        assert sorted(records.asked) == list(range(taken + READ_AHEAD - 1))
        assert len(reading_threads()) <= READERS


def test_an_error_is_raised_at_its_position():
    def prepare(position):
        if position == 3:
            raise KeyError("three")
        return position

    items = read_ahead(prepare, itertools.count())
    assert [next(items) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(KeyError, match="three"):
        next(items)
    assert list(items) == []


@pytest.mark.parametrize("close", [True, False])
def test_reading_ends_with_its_consumer(close):
    records = Records()
    items = read_ahead(records.prepare, itertools.count())
    next(items)
    if close:
        items.close()
    else:
        del items
    asked = len(records.asked)
    alive = weakref.ref(records)
    del records
    # Not even reads that had been queued hold it.
    assert alive() is None
    assert asked <= READ_AHEAD


def test_reading_ends_when_the_garbage_collector_finds_its_consumer():
    class Consumer:
        pass

    consumer = Consumer()
    consumer.items = read_ahead(Records().prepare, itertools.count())
    consumer.itself = consumer
    next(consumer.items)
    assert reading_threads()
    del consumer
    gc.collect()
    wait_until(lambda: not reading_threads())


def test_the_garbage_collector_may_run_in_a_reading_thread():
    """It may find the iterator of that very thread, which cannot wait for itself."""
    holder, done = {}, threading.Event()

    def prepare(position):
        if position == 1:
            wait_until(lambda: "items" in holder)
            holder.pop("items").close()
            done.set()
        return position

    items = read_ahead(prepare, itertools.count())
    assert next(items) == (0, 0)
    holder["items"] = items
    del items
    assert done.wait(PATIENCE)
