"""The order of an epoch as a stateless permutation: no buffer, and any position at once."""

import numpy as np

ROUNDS = 4
_MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    """Applies a bijection of 64-bit numbers that scatters them (the finaliser of splitmix64)."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class EpochOrder:
    """Numbers of items at the positions of an endless walk, shuffled in every epoch.

    Position p is in epoch `p // size`. Within an epoch the order is a permutation of the items: a
    Feistel network over the next even power of two, applied until its value is below the size.

    Args:
      size: number of items.
      seed: seed of the order; None keeps the items' own order in every epoch.
    """

    def __init__(self, size: int, seed: int | None):
        self.size = size
        self.seed = seed
        self.half_bits = max((size - 1).bit_length() + 1, 2) // 2

    def __call__(self, position: int) -> int:
        epoch, place = divmod(position, self.size)
        if self.seed is None:
            return place
        key = _mix(_mix(self.seed & _MASK) ^ epoch)
        while True:
            place = self._scatter(place, key)
            if place < self.size:
                return place

    def _scatter(self, place: int, key: int) -> int:
        mask = (1 << self.half_bits) - 1
        left, right = place >> self.half_bits, place & mask
        for number in range(ROUNDS):
            left, right = right, left ^ (_mix(key + (number << 32) ^ right) & mask)
        return left << self.half_bits | right


def spread(size: int, count: int) -> np.ndarray:
    """Returns at most `count` of the numbers below a size, spread evenly."""
    return np.linspace(0, size - 1, min(count, size)).astype(int)
