"""Reading ahead, in a thread."""

import collections
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()


def read_ahead(items: Iterator[Item], number: int) -> Generator[Item, None, None]:
    """Yields the items of an iterator, of which a thread makes at most `number` ahead.

    An error that the iterator raises is raised in its item's place. The thread ends with this
    iterator, after the item that it is making.
    """
    lock, closed = threading.Lock(), threading.Event()

    def following() -> Any:
        with lock:
            return _END if closed.is_set() else next(items, _END)

    pool = ThreadPoolExecutor(1, "read_ahead")
    try:
        waiting: collections.deque[Any] = collections.deque()
        waiting.extend(pool.submit(following) for _ in range(number))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(following))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        # An interrupt while the thread is started keeps the pool from knowing, and joining, it.
        with lock:
            closed.set()
