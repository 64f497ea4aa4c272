"""A thread that makes items ahead ends before what it reads is closed."""

import threading
import time

import pytest

from hero_jax.extract.ahead import read_ahead


def test_items_and_errors_keep_their_order():
    def items():
        yield from range(5)
        raise ValueError("after five")

    ahead = read_ahead(items(), 2)
    assert [next(ahead) for _ in range(5)] == [*range(5)]
    with pytest.raises(ValueError, match="after five"):
        next(ahead)
    assert [*read_ahead(iter(range(5)), 2)] == [*range(5)]


def test_an_interrupt_while_the_thread_starts_waits_for_its_item(monkeypatch):
    start = threading.Thread.start
    began, made = threading.Event(), []

    def items():
        began.set()
        time.sleep(0.1)
        made.append(1)
        yield 1

    def interrupted(thread):
        start(thread)
        began.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(read_ahead(items(), 2))
    assert made == [1]
