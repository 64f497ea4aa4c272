"""Progress of a long loop: a bar on a terminal, a line every few seconds elsewhere."""

import datetime
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


class ProgressMeter:
    """Progress of parts of different sizes: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, label: str, total: float, file: TextIO | None = None):
        """Begins at 0.

        Args:
          label: the beginning of every line.
          total: the amount of all work, in any unit.
          file: where to report to; None for standard error.
        """
        self._label, self._total, self._file = label, max(total, 1e-9), file or sys.stderr
        self._started = self._reported = time.monotonic()
        self._line = ""
        self._bar = None
        if self._file.isatty():
            form = "{percentage:3.0f}%|{bar}| {desc}"
            self._bar = tqdm(total=self._total, desc=label, bar_format=form, file=self._file)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def update(self, done: float, state: str) -> None:
        """Reports the amount of work that is done, and a few words about it."""
        now = time.monotonic()
        if 0 < done < self._total:
            left = self.seconds * (self._total - done) / done
            state += f", {datetime.timedelta(seconds=round(left))} left"
        self._line = f"{self._label}: {state}"
        if self._bar is not None:
            self._bar.set_description_str(self._line, refresh=False)
            self._bar.update(done - self._bar.n)
        elif now - self._reported > SECONDS_BETWEEN_LINES:
            self._print()

    def close(self) -> None:
        """Ends with the last state."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._print()

    def _print(self) -> None:
        """Prints the state, unless it was printed before."""
        if self._line:
            self._reported = time.monotonic()
            print(f"{self._line} ({self.seconds:.0f} s)", file=self._file, flush=True)
            self._line = ""
