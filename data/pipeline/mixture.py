"""Several datasets as one stream: the dataset and its clip at every position."""

import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from data.errors import InputError
from data.pipeline.order import EpochOrder
from data.records.reader import Split
from data.schema import Clip

# Positions of a block, in which every source has its share and which is shuffled by itself.
BLOCK = 32
# Blocks that an order caches, since groups walk through the same blocks at nearly the same time.
BLOCKS_KEPT = 1024


def shares(weights: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Returns the share of each source in a mixture.

    Shares are proportional to the weights, or to the sizes if there are no weights.
    """
    weights = weights or sizes
    return [weight / math.fsum(weights) for weight in weights]


class Mixture:
    """The same split of several datasets (sources), with all records numbered one after another.

    Attributes:
      splits: the splits by the name of their source.
      shares: share of each source in the mixture.
      metadata: metadata of the first source.
    """

    def __init__(self, splits: Mapping[str, Split], weights: Sequence[float] = ()):
        """Mixes splits.

        Args:
          splits: one or more splits by the name of their source.
          weights: weight of each; without any, the numbers of clips.
        """
        self.splits = dict(splits)
        self._splits = list(self.splits.values())
        sizes = [len(split) for split in self._splits]
        self.shares = shares(weights, sizes)
        self.metadata = self._splits[0].metadata
        self._first = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def corrupt(self) -> int:
        """Number of damaged records found so far."""
        return sum(len(split.corrupt) for split in self._splits)

    def sources(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the number of the source, from 0, that each of these records belongs to."""
        return np.searchsorted(self._first, numbers, "right") - 1

    def counts(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Returns counts of a batch of these clips.

        Returns:
          `clips/SOURCE`, the number of clips of each source in the batch, and `corrupt`, the number
          of damaged records found so far.
        """
        sources = self.sources(arrays["clip_numbers"][arrays["num_frames"] > 0])
        clips = {
            f"clips/{name}": int((sources == source).sum())
            for source, name in enumerate(self.splits)
        }
        return {**clips, "corrupt": self.corrupt}

    def read(self, number: int) -> Clip | None:
        """Returns a clip, or None if it is damaged and damaged records are skipped.

        Raises:
          InputError: all clips of its source are damaged.
        """
        source = int(self.sources(np.array(number)))
        split = self._splits[source]
        clip = split.read(int(number - self._first[source]))
        if clip is None and len(split.corrupt) == len(split):
            name = list(self.splits)[source]
            raise InputError(f"all records of dataset {name!r} are damaged: build it again")
        return clip

    def order(self, seed: int) -> "MixtureOrder":
        """Returns the order of training."""
        return MixtureOrder([len(split) for split in self._splits], self.shares, seed)

    def sample(self, count: int) -> np.ndarray:
        """Returns the numbers of at most `count` clips.

        Each source has its share of them, spread evenly over its clips.
        """
        parts = taken(min(count, len(self)), self.shares)
        return np.concatenate(
            [
                first + np.linspace(0, len(split) - 1, part).astype(int)
                for first, split, part in zip(self._first[:-1], self._splits, parts, strict=True)
            ]
        )


class MixtureOrder:
    """Record numbers at the positions of an endless walk through a mixture, without a state.

    In every block of 32 positions the sources come in a random order, each as often as `taken`
    says. The k-th clip of a source is the k-th of its own `EpochOrder`, so a source shows all its
    clips before it repeats one, and a single source has the same order as without a mixture.

    Args:
      sizes: number of records of each source.
      shares: share of each source, from 0 to 1, with a sum of 1.
      seed: seed of the orders, 0 or more.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[float], seed: int):
        self.shares = shares
        self.seed = seed
        self._first = np.cumsum([0, *sizes]).tolist()
        # With equal seeds, sources of the same size would have the same order.
        self._orders = [EpochOrder(size, seed + source) for source, size in enumerate(sizes)]
        self._block = functools.lru_cache(BLOCKS_KEPT)(self._arrange)

    def __call__(self, position: int) -> int:
        block, place = divmod(position, BLOCK)
        sources, counts = self._block(block)
        source = int(sources[place])
        return self._first[source] + self._orders[source](int(counts[place]))

    def _arrange(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the source at each place of a block, and the number of its earlier clips."""
        before_block = taken(block * BLOCK, self.shares)
        after_block = taken((block + 1) * BLOCK, self.shares)
        in_turn = np.repeat(np.arange(len(before_block)), np.subtract(after_block, before_block))
        sources = np.random.default_rng([self.seed, block]).permutation(in_turn)
        counts = np.empty(BLOCK, np.int64)
        for source, before in enumerate(before_block):
            places = np.flatnonzero(sources == source)
            counts[places] = before + np.arange(len(places))
        return sources, counts


def taken(positions: int, shares: Sequence[float]) -> list[int]:
    """Returns the number of clips of each source in the first positions.

    No number falls as `positions` grows. Each source takes its part, rounded, of the positions that
    the sources before it left. So with S sources, no number is further from its share than
    (S - 1) / 2 clips; exact arithmetic keeps this true at any position.
    """
    counts = []
    for part in _parts(tuple(shares)):
        counts.append(math.floor(positions * part + Fraction(1, 2)))
        positions -= counts[-1]
    return counts


@functools.lru_cache
def _parts(shares: tuple[float, ...]) -> list[Fraction]:
    """Returns each source's share divided by the sum of its own and all later shares."""
    exact = [Fraction(share) for share in shares]
    rests = [sum(exact[source:], Fraction()) for source in range(len(exact))]
    return [share / rest if rest else rest for share, rest in zip(exact, rests, strict=True)]
