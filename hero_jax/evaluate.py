"""The one evaluation loop: every task's metrics over a whole split, each clip once."""

import itertools
import json
import pathlib

import jax
import numpy as np

from data.errors import InputError
from hero_jax.checkpoint import Checkpoints
from hero_jax.experiment import Experiment
from hero_jax.feed import evaluation_batches
from hero_jax.init_from import initial_params


def evaluate(program, params, experiment, split) -> dict[str, float]:
    """Metrics of a split, `task/metric`; `queries/metric` where it has annotated queries.

    A mixture's sources that have the split are evaluated one by one, as `source/task/metric`, and
    `task/metric` is the first's.

    Args:
      program: `hero_jax.step.Program`.
      params: the model's parameters on the devices.
      experiment: `hero_jax.experiment.Experiment`.

    Returns:
      Means over all that was counted in the split, whatever the batches and hosts were.
    """
    results: dict[str, float] = {}
    for source in experiment.with_split(split):
        found = _evaluate_source(program, params, experiment, source, split)
        results = results or dict(found)
        if len(experiment.sources) > 1:
            results |= {f"{source.name}/{key}": value for key, value in found.items()}
    return results


def _evaluate_source(program, params, experiment, source, split):
    config = experiment.config
    batches = experiment.source_batches(source, split)
    results = evaluate_batches(program, params, batches, config)
    queries = experiment.query_batches(source, split)
    if "vsm" in program.tasks and queries is not None:
        found = evaluate_batches(program, params, queries, config, ["vsm"])
        results |= {key.replace("vsm", "queries", 1): value for key, value in found.items()}
    return results


def evaluate_batches(program, params, batches, config, names=None) -> dict[str, float]:
    """Metrics of one pass over `data.pipeline.Batches`, of some tasks or all."""
    names = names or list(program.tasks)
    sums: dict[str, np.ndarray] = {}
    predictions: dict[str, list] = {name: [] for name in names}
    for arrays, _ in evaluation_batches(batches, program.mesh, config):
        for name in names:
            metrics, prediction = jax.device_get(program.evaluate_step(params, arrays, name))
            for key, value in metrics.items():
                key = f"{name}/{key}"
                sums[key] = sums.get(key, 0) + np.asarray(value, np.float64)
            if prediction is not None:
                predictions[name].append(prediction)
    results = means(sums)
    for name, parts in predictions.items():
        if parts:
            whole = jax.tree.map(lambda *x: np.concatenate(x), *parts)
            summary = program.tasks[name].summarize(whole)
            results |= {f"{name}/{key}": value for key, value in summary.items()}
    return results


def evaluate_checkpoint(config, workdir) -> dict[str, float]:
    """Scores a checkpoint of a run, or without one the weights of `init_from`, on a split.

    Prints the metrics and writes them to `workdir/evaluation-SPLIT-STEP.json`.
    """
    experiment = Experiment(config)
    config, split = experiment.config, experiment.config.data.eval_split
    params, step = _checkpoint_params(experiment, workdir)
    results = evaluate(experiment.program, params, experiment, split)
    if jax.process_index() == 0:
        path = pathlib.Path(workdir) / f"evaluation-{split}-{step}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1, sort_keys=True))
        print(f"{split} at step {step} of {workdir}:\n{table(results)}\nwritten to {path}")
    return results


def _checkpoint_params(experiment, workdir):
    """Parameters on the devices, and the step they are of."""
    config, program = experiment.config, experiment.program
    checkpoints = Checkpoints(workdir, best_metric=config.best_metric, read_only=True)
    step = checkpoints.find(config.checkpoint)
    if step is not None:
        experiment.check_model(checkpoints.about(step), f"The run in {workdir}")
        return program.place_params(checkpoints.restore_params(step)), step
    params = initial_params(experiment)
    if params is None:
        raise InputError(
            f"There is no checkpoint in {checkpoints.directory} and config.init_from is empty; "
            "name the --workdir of a run, or weights."
        )
    return params, 0


def means(sums: dict[str, np.ndarray]) -> dict[str, float]:
    """Values of metrics from sums and counts; what was never counted is left out."""
    return {name: float(total / count) for name, (total, count) in sums.items() if count}


def table(results: dict[str, float]) -> str:
    """Metrics as text, a line each; what is a share is in percent."""
    lines = []
    for task, keys in itertools.groupby(sorted(results), lambda key: key.rpartition("/")[0]):
        lines.append(f"  {task}")
        for key in keys:
            metric = key.rpartition("/")[2]
            lines.append(f"    {metric.replace('_', ' '):<26}{_format(metric, results[key]):>9}")
    return "\n".join(lines)


def _format(metric, value):
    if "accuracy" in metric or "r@" in metric or metric == "chance":
        return f"{100 * value:.2f}%"
    return f"{value:.0f}" if metric in ("queries", "clips", "median_rank") else f"{value:.4f}"
