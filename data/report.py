"""Counts of everything that is left out, cut or changed, by reason and with examples."""

import collections
import sys
from collections.abc import Iterable, Mapping
from typing import Any

# Number of examples that are kept for each reason.
EXAMPLES = 3
# The same for reasons whose cases have to be mended one by one.
LISTED = 1000
# Characters of an example that are kept: some quote a line of a damaged file.
_BEGINNING, _END = 400, 200


class Report:
    """Counts by reason; everything that a dataset leaves out is counted here.

    Attributes:
      counts: number of cases by reason.
      examples: sentences that each name one case, by reason; the first EXAMPLES of each are kept,
        without the middle of long ones.
      listed: reasons of which the first LISTED examples are kept.
    """

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        examples: Mapping[str, list[str]] | None = None,
        listed: Iterable[str] = (),
    ):
        self.counts: collections.Counter[str] = collections.Counter(counts or {})
        self.examples: collections.defaultdict[str, list[str]] = collections.defaultdict(
            list, examples or {}
        )
        self.listed = set(listed)

    def add(
        self, reason: str, example: str = "", count: int = 1, *, is_listed: bool = False
    ) -> None:
        """Counts `count` more cases of a reason; a count of 0 makes no entry.

        Args:
          is_listed: whether all cases of this reason are named, up to LISTED.
        """
        if not count:
            return
        if is_listed:
            self.listed.add(reason)
        self.counts[reason] += count
        if example:
            self._keep(reason, example)

    def merge(self, others: Iterable["Report"]) -> None:
        """Adds the counts and examples of other reports."""
        for other in others:
            self.listed |= other.listed
            for reason, count in other.counts.items():
                self.add(reason, count=count)
                for example in other.examples.get(reason, ()):
                    self._keep(reason, example)

    def add_all(self, reason: str, examples: Iterable[str]) -> None:
        """Counts one case for each example, in sorted order."""
        for example in sorted(examples):
            self.add(reason, example)

    def _keep(self, reason: str, example: str) -> None:
        if len(self.examples[reason]) < (LISTED if reason in self.listed else EXAMPLES):
            if len(example) > _BEGINNING + _END:
                example = f"{example[:_BEGINNING]} ... {example[-_END:]}"
            self.examples[reason].append(example)

    def lines(self, most: int = LISTED) -> list[str]:
        """Returns a line for each reason, with its examples, `most` of them at most."""
        return [
            f"{count} {reason}" + f" ({', '.join(examples)})" * bool(examples)
            for reason, count in self.counts.items()
            for examples in [self.examples.get(reason, [])[:most]]
        ]

    def tell(self, fate: str) -> None:
        """Prints the lines to stderr, each after `fate`: what happened to these cases."""
        for line in self.lines():
            print(f"{fate}: {line}", file=sys.stderr, flush=True)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; `Report(**values)` is the inverse."""
        values: dict[str, Any] = {"counts": dict(self.counts), "examples": dict(self.examples)}
        return values | {"listed": sorted(self.listed)}
