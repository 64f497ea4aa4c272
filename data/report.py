"""What an import leaves out, cuts or changes: counted by reason, with examples."""

import collections
import sys
from collections.abc import Iterable

EXAMPLES = 3  # of each reason that are kept


class Report:
    """Counts by reason; nothing is left out of a dataset without being counted here.

    Attributes:
      counts: how often each reason came up.
      examples: the first few sentences that name a case, by reason.
    """

    def __init__(
        self, counts: dict[str, int] | None = None, examples: dict[str, list[str]] | None = None
    ):
        self.counts = collections.Counter(counts or {})
        self.examples = collections.defaultdict(list, examples or {})

    def add(self, reason: str, example: str = "", count: int = 1) -> None:
        """Counts `count` more cases; a reason that never came up has no entry."""
        if not count:
            return
        self.counts[reason] += count
        if example:
            self._keep(reason, example)

    def merge(self, others: Iterable["Report"]) -> None:
        """Adds what others counted."""
        for other in others:
            for reason, count in other.counts.items():
                self.add(reason, count=count)
                for example in other.examples.get(reason, ()):
                    self._keep(reason, example)

    def add_all(self, reason: str, examples: Iterable[str]) -> None:
        """Counts one case for each of the examples."""
        for example in sorted(examples):
            self.add(reason, example)

    def _keep(self, reason: str, example: str) -> None:
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append(example)

    def lines(self) -> list[str]:
        """A line for each reason, with the first examples."""
        return [
            f"{count} {reason}" + f" ({', '.join(examples)})" * bool(examples)
            for reason, count in self.counts.items()
            for examples in [self.examples.get(reason, [])]
        ]

    def tell(self, fate: str) -> None:
        """Prints the lines, each after what became of these cases, to stderr."""
        for line in self.lines():
            print(f"{fate}: {line}", file=sys.stderr, flush=True)

    def to_json(self) -> dict:
        """As plain JSON values: `Report(**content)` is the inverse."""
        return {"counts": dict(self.counts), "examples": dict(self.examples)}
