"""How far a long loop is: a bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


def progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yields `items` and reports on standard error; the last report tells how many there were."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, leave=True)
        return
    begun = reported = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - reported > SECONDS_BETWEEN_LINES:
            reported = time.monotonic()
            _report(label, f"{count} of {total}" if total else f"{count}", reported - begun)
    _report(label, f"{count}, done", time.monotonic() - begun)


def _report(label: str, how_far: str, seconds: float) -> None:
    print(f"{label}: {how_far} ({seconds:.0f} s)", file=sys.stderr, flush=True)
