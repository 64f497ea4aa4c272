"""How far a long loop is: a bar on a terminal, now and then a line elsewhere."""

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
    """Yields `items` and reports to `file`, or standard error; last of all how many there were."""
    file = file or sys.stderr
    if file.isatty():
        yield from tqdm(items, desc=label, total=total, leave=True, file=file)
        return

    def report(how_far: str, seconds: float) -> None:
        print(f"{label}: {how_far} ({seconds:.0f} s)", file=file, flush=True)

    begun = reported = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - reported > SECONDS_BETWEEN_LINES:
            reported = time.monotonic()
            report(f"{count} of {total}" if total else f"{count}", reported - begun)
    whole = total is None or count == total
    report(f"{count}, done" if whole else f"{count} of {total}", time.monotonic() - begun)
