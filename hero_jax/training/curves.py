"""A picture of a run: losses and accuracies of training and evaluation over steps."""

import json
import pathlib

HISTORY = "metrics.jsonl"
PICTURE = "curves.png"


def record(workdir, step: int, values: dict[str, float]) -> None:
    """Appends a line of metrics to the run's history."""
    with open(pathlib.Path(workdir) / HISTORY, "a") as file:
        file.write(json.dumps({"step": step, **values}) + "\n")


def history(workdir) -> dict[str, dict[int, float]]:
    """Values by metric and step. Steps made again after a resume count once, the last time."""
    curves: dict[str, dict[int, float]] = {}
    for line in (pathlib.Path(workdir) / HISTORY).read_text().splitlines():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:  # the line that a killed run was writing
            continue
        step = values.pop("step")
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
    return curves


def draw(workdir) -> pathlib.Path:
    """Draws a run's history to its workdir, a row of losses and a row of accuracies."""
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
    path = pathlib.Path(workdir) / PICTURE
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path


def _metrics(kind):
    return ("loss",) if kind == "loss" else ("accuracy", "accuracy_without_frames", "r@1")
