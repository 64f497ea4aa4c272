"""The order of an epoch as a stateless permutation: no buffer, no memory, any place at once."""

ROUNDS = 4
_MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    """A bijection of 64-bit numbers that scatters them (the finaliser of splitmix64)."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class EpochOrder:
    """Record numbers at the positions of an endless walk through a split, shuffled every epoch.

    Position p is in epoch `p // size`. Within an epoch the order is a permutation of the records: a
    Feistel network over the next even power of two, walked on until it falls inside the split.

    Args:
      size: records of the split.
      seed: of the order; None for the records' own order in every epoch.
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
