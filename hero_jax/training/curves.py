"""The curves of a run: losses and accuracies of training and evaluation over steps."""

import json
import logging
import os
import pathlib
from collections.abc import Mapping

from data.arguments import user_path

HISTORY = "metrics.jsonl"
PICTURE = "curves.png"


def record(workdir: str | os.PathLike, step: int, values: Mapping[str, float]) -> None:
    """Appends a line of metrics to the run's history."""
    with open(user_path(workdir) / HISTORY, "a") as file:
        file.write(json.dumps({"step": step, **values}) + "\n")


def history(workdir: str | os.PathLike) -> dict[str, dict[int, float]]:
    """Returns values by metric and step; of steps repeated after a resume, the last."""
    curves: dict[str, dict[int, float]] = {}
    for line in (user_path(workdir) / HISTORY).read_text().splitlines():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:  # a killed run was writing this line
            continue
        step = values.pop("step")
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
    return curves


def draw(workdir: str | os.PathLike) -> pathlib.Path:
    """Draws a run's history to its workdir, a row of losses and a row of accuracies."""
    # It says that it builds its font cache.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = history(workdir)
    tasks = sorted({name.split("/")[1] for name in curves if name.endswith("/loss")} - {"loss"})
    figure, axes = pyplot.subplots(2, len(tasks), figsize=(4 * len(tasks), 6), squeeze=False)
    for column, task in enumerate(tasks):
        for row, kind in enumerate(("loss", "accuracy")):
            axis = axes[row, column]
            for phase, style in (("train", "-"), ("eval", "o--")):
                for metric in _metrics(kind):
                    points = sorted(curves.get(f"{phase}/{task}/{metric}", {}).items())
                    if points:
                        label = phase if metric == kind else metric.replace("_", " ")
                        axis.plot(*zip(*points, strict=True), style, markersize=3, label=label)
            axis.set_title(f"{task} {kind}")
            axis.set_xlabel("step")
            axis.grid(alpha=0.3)
            if axis.has_data():
                axis.legend(fontsize=8)
    figure.tight_layout()
    path = user_path(workdir) / PICTURE
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path


def _metrics(kind: str) -> tuple[str, ...]:
    return ("loss",) if kind == "loss" else ("accuracy", "accuracy_without_frames", "r@1")
