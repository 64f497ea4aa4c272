"""Means of counted metrics, and the table that shows them."""

import itertools
import re

import numpy as np


def means(sums: dict[str, np.ndarray]) -> dict[str, float]:
    """Values of metrics from sums and counts; what was never counted is left out."""
    return {name: float(total / count) for name, (total, count) in sums.items() if count}


def table(results: dict[str, float]) -> str:
    """Metrics as text, a line each, recalls at 1, 5, ... in one; what is a share is in percent."""
    lines = []
    for task, keys in itertools.groupby(sorted(results), lambda key: key.rpartition("/")[0]):
        lines.append(f"  {task}")
        recalls: dict[str, dict[int, float]] = {}
        for key in keys:
            metric = key.rpartition("/")[2]
            recall = None if metric.startswith("chance") else RECALL.fullmatch(metric)
            if recall:
                name = " ".join(filter(None, recall.group("before", "after"))).replace("_", " ")
                recalls.setdefault(name, {})[int(recall["k"])] = results[key]
            else:
                lines.append(_line(metric.replace("_", " "), _format(metric, results[key])))
        for name, at in recalls.items():
            values = "  ".join(f"@{k} {100 * at[k]:6.2f}%" for k in sorted(at))
            lines.append(_line(f"{name} recall".lstrip(), values))
    return "\n".join(lines)


def _line(name, value):
    return f"    {name:<26}{value:>9}"


# What is a number of things and not a mean of something.
COUNTED = ("queries", "clips", "median_rank", "questions", "statements", "moments")
# Recall at k, of something and of queries of some kind.
RECALL = re.compile(r"(?P<before>\w*?)_?r@(?P<k>\d+)_?(?P<after>.*)")


def _format(metric, value):
    if "accuracy" in metric or metric.startswith("chance"):
        return f"{100 * value:.2f}%"
    return f"{value:.0f}" if metric.endswith(COUNTED) else f"{value:.4f}"
