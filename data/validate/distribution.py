"""Distributions of lengths."""

import collections
from collections.abc import Iterable, Sequence

import numpy as np


class Distribution:
    """Counts of lengths; its size grows with the number of different lengths only."""

    def __init__(self, decimals: int = 0):
        """Makes an empty distribution of lengths that are rounded to so many `decimals`."""
        self.decimals = decimals
        self.counts: collections.Counter[float] = collections.Counter()

    def add(self, lengths: Sequence[float] | np.ndarray) -> None:
        """Counts more lengths; NaN and infinite ones are ignored."""
        values = np.asarray(lengths, np.float64)
        rounded = np.round(values[np.isfinite(values)], self.decimals)
        unique, counts = np.unique(rounded, return_counts=True)
        self.counts.update(dict(zip(unique.tolist(), counts.tolist(), strict=True)))

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """Returns, for each share, the smallest length that at least this share does not exceed."""
        lengths = sorted(self.counts)
        cumulative = np.cumsum([self.counts[length] for length in lengths])
        return [lengths[np.searchsorted(cumulative, share * cumulative[-1])] for share in shares]

    def beyond(self, limit: int) -> tuple[int, int]:
        """Returns the number of lengths above `limit`, and the sum of what exceeds it."""
        longer = {length: count for length, count in self.counts.items() if length > limit}
        excess = sum((length - limit) * count for length, count in longer.items())
        return sum(longer.values()), int(excess)
