"""Several datasets as one stream: which of them, and which of its clips, is at a position."""

import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from data.errors import InputError
from data.pipeline.order import EpochOrder
from data.records.reader import Split
from data.schema import Clip

# Positions in which every source has its share, in an order of their own.
BLOCK = 32
# Blocks kept by an order: groups walk through the same ones, not quite at the same time.
BLOCKS_KEPT = 1024


def shares(weights: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """How much of a mixture each source is: its weight, or without any its size, of their sum."""
    weights = weights or sizes
    return [weight / math.fsum(weights) for weight in weights]


class Mixture:
    """The same split of several datasets, their records numbered one after the other.

    Attributes:
      splits: by the name of their source.
      shares: how much of the mixture each is.
      metadata: of the first source.
    """

    def __init__(self, splits: Mapping[str, Split], weights: Sequence[float] = ()):
        """Mixes splits.

        Args:
          splits: by the name of their source, at least one.
          weights: of each; none: in proportion to their clips.
        """
        self.splits = dict(splits)
        self._of = list(self.splits.values())
        sizes = [len(split) for split in self._of]
        self.shares = shares(weights, sizes)
        self.metadata = self._of[0].metadata
        self._first = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def corrupt(self) -> int:
        """Damaged records met so far."""
        return sum(len(split.corrupt) for split in self._of)

    def sources(self, numbers: np.ndarray) -> np.ndarray:
        """Which source, from 0, the records of these numbers are of."""
        return np.searchsorted(self._first, numbers, "right") - 1

    def read(self, number: int) -> Clip | None:
        """Clip `number`; None if it is damaged and damaged records are skipped.

        Raises:
          InputError: all clips of its source are damaged.
        """
        source = int(self.sources(number))
        split = self._of[source]
        clip = split.read(int(number - self._first[source]))
        if clip is None and len(split.corrupt) == len(split):
            raise InputError(
                f"All records of dataset {list(self.splits)[source]!r} are damaged; build it again."
            )
        return clip

    def order(self, seed: int) -> "MixtureOrder":
        """Of training."""
        return MixtureOrder([len(split) for split in self._of], self.shares, seed)

    def sample(self, count: int) -> np.ndarray:
        """Numbers of at most `count` clips, as many of each source as its share, spread evenly."""
        parts = taken(min(count, len(self)), self.shares)
        return np.concatenate(
            [
                first + np.linspace(0, len(split) - 1, part).astype(int)
                for first, split, part in zip(self._first[:-1], self._of, parts, strict=True)
            ]
        )


class MixtureOrder:
    """Record numbers at the positions of an endless walk through a mixture, without a state.

    In every block of 32 positions sources come in a random order, each as often as `taken` says.
    The k-th clip of a source is the k-th of its own `EpochOrder`, so a source has all its clips
    before it repeats one, and one source alone has the order that it has without a mixture.

    Args:
      sizes: records of each source.
      shares: of each source, from 0 to 1, together 1.
      seed: of the orders, 0 or more.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[float], seed: int):
        self.shares = shares
        self.seed = seed
        self._first = np.cumsum([0, *sizes]).tolist()
        # Seeds differ, or sources of one size would be walked through alike.
        self._orders = [EpochOrder(size, seed + source) for source, size in enumerate(sizes)]
        self._block = functools.lru_cache(BLOCKS_KEPT)(self._arrange)

    def __call__(self, position: int) -> int:
        block, place = divmod(position, BLOCK)
        sources, counts = self._block(block)
        source = int(sources[place])
        return self._first[source] + self._orders[source](int(counts[place]))

    def _arrange(self, block):
        """The source at each of a block's places, and how many clips of it came before."""
        begun = taken(block * BLOCK, self.shares)
        ended = taken((block + 1) * BLOCK, self.shares)
        in_turn = np.repeat(np.arange(len(begun)), np.subtract(ended, begun))
        sources = np.random.default_rng([self.seed, block]).permutation(in_turn)
        counts = np.empty(BLOCK, np.int64)
        for source, before in enumerate(begun):
            places = np.flatnonzero(sources == source)
            counts[places] = before + np.arange(len(places))
        return sources, counts


def taken(positions: int, shares: Sequence[float]) -> list[int]:
    """How many of the first so many positions are each source's; never less for more positions.

    Each source takes, rounded, its part of what those before it left. So of S sources none is
    further from its share than (S - 1) / 2 clips, and exact arithmetic lets that hold forever.
    """
    counts = []
    for part in _parts(tuple(shares)):
        counts.append(math.floor(positions * part + Fraction(1, 2)))
        positions -= counts[-1]
    return counts


@functools.lru_cache
def _parts(shares):
    """Of each source: its share of its own and all later sources' shares."""
    exact = [Fraction(share) for share in shares]
    rests = [sum(exact[source:]) for source in range(len(exact))]
    return [share / rest if rest else rest for share, rest in zip(exact, rests, strict=True)]
