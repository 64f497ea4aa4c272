"""Progress of a long loop: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], label: str, total: int | None = None, file: TextIO | None = None
) -> Iterator[Item]:
    """Yields the items and reports progress, with the number of items at the end.

    Args:
      label: the beginning of every line.
      total: number of items, None if it is not known.
      file: where to report to; None for standard error.
    """
    file = file or sys.stderr
    if file.isatty():
        yield from tqdm(items, desc=label, total=total, leave=True, file=file)
        return

    def report(state: str, seconds: float) -> None:
        print(f"{label}: {state} ({seconds:.0f} s)", file=file, flush=True)

    started = reported = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - reported > SECONDS_BETWEEN_LINES:
            reported = time.monotonic()
            report(f"{count} of {total}" if total else f"{count}", reported - started)
    complete = total is None or count == total
    report(f"{count}, done" if complete else f"{count} of {total}", time.monotonic() - started)
