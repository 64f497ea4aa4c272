"""Means of counted metrics, and the table that shows them."""

import itertools
import re
from collections.abc import Mapping

import numpy as np

# Recall at k, optionally of a task (before) and of queries of one kind (after).
_RECALL = re.compile(r"(?P<task>\w*?)_?r@(?P<k>\d+)_?(?P<kind>.*)")


def means(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the mean of each metric.

    Args:
      sums: arrays `[2]` of the sum and the count of each metric, by name.

    Returns:
      Sum / count by name, without metrics whose count is zero.
    """
    return {name: float(total / count) for name, (total, count) in sums.items() if count}


def table(results: Mapping[str, float]) -> str:
    """Formats metrics as text: a line for each task, then one for each of its metrics.

    Recalls at different k of the same thing share a line. Fractions are shown as percentages.

    Args:
      results: values by `TASK/METRIC`; numbers of things are int.
    """
    lines = []
    for task, names in itertools.groupby(sorted(results), lambda name: name.rpartition("/")[0]):
        lines.append(f"  {task}")
        recalls: dict[str, dict[int, float]] = {}
        for name in names:
            metric = name.rpartition("/")[2]
            match = None if metric.startswith("chance") else _RECALL.fullmatch(metric)
            if match:
                label = " ".join(filter(None, match.group("task", "kind"))).replace("_", " ")
                recalls.setdefault(label, {})[int(match["k"])] = results[name]
            else:
                lines.append(_line(metric.replace("_", " "), _format(metric, results[name])))
        for label, by_k in recalls.items():
            values = "  ".join(f"@{k} {100 * by_k[k]:6.2f}%" for k in sorted(by_k))
            lines.append(_line(f"{label} recall".lstrip(), values))
    return "\n".join(lines)


def _line(label: str, value: str) -> str:
    return f"    {label:<26}{value:>9}"


def _format(metric: str, value: float) -> str:
    if re.search("accuracy|_map|_aver|^chance", metric):
        return f"{100 * value:.2f}%"
    is_count = isinstance(value, int) or metric.endswith("rank")
    return f"{value:.0f}" if is_count else f"{value:.4f}"
