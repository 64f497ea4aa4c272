"""The one evaluation loop: every task's metrics over a whole split, each clip once."""

import json
import pathlib

import jax
import numpy as np

from data.errors import InputError
from data.files import NO_ROOM, writing_to
from data.progress import progress
from hero_jax.experiment.experiment import Experiment
from hero_jax.metrics.report import means, table
from hero_jax.training.checkpoint import ADVICE, Checkpoints
from hero_jax.training.feed import evaluation_batches
from hero_jax.training.init_from import initial_params
from hero_jax.training.step import Program


def evaluate(experiment, program, params, files: dict | None = None) -> dict[str, float]:
    """Metrics of the split to evaluate, `task/metric`; `queries/metric` of annotated queries.

    A mixture's sources that have the split are evaluated one by one, as `source/task/metric`, and
    `task/metric` is the first's.

    Args:
      experiment: `hero_jax.experiment.experiment.Experiment`.
      program: `hero_jax.training.step.Program`.
      params: the model's parameters on the devices.
      files: filled with the prediction files of downstream tasks, text by name.

    Returns:
      Means over all that was counted in the split, whatever the batches and hosts were.
    """
    results: dict[str, float] = {}
    for part in experiment.parts.values():
        results |= _evaluate_part(program, params, part, files)
    return results


def _evaluate_part(program, params, part, files):
    split = part.config.data.eval_split
    if part.downstream is not None:
        return _evaluate_downstream(program, params, part, split, files)
    results: dict[str, float] = {}
    sources = part.with_split(split)
    for source in sources:
        found = _evaluate_source(program, params, part, source, split)
        results = results or dict(found)
        if len(part.sources) > 1:
            results |= {f"{source.name}/{key}": value for key, value in found.items()}
    return results


def _evaluate_source(program, params, part, source, split):
    names = list(part.tasks)
    results = _evaluate_batches(program, params, part.source_batches(source, split), part, names)
    queries = part.query_batches(source, split)
    if "vsm" in part.tasks and queries is not None:
        found = _evaluate_batches(program, params, queries, part, ["vsm"])
        results |= {key.replace("vsm", "queries", 1): value for key, value in found.items()}
    return results


def _evaluate_batches(program, params, batches, part, names):
    """Metrics of one pass over batches, of some tasks."""
    sums: dict[str, np.ndarray] = {}
    predictions: dict[str, list] = {name: [] for name in names}
    for arrays, _ in evaluation_batches(batches, program.mesh, part.config):
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
            summary = program.tasks[name].summarize(_concatenate(parts), None)
            results |= {f"{name}/{key}": value for key, value in summary.items()}
    return results


def _evaluate_downstream(program, params, part, split, files):
    """Metrics of what is labelled, and predictions for all of a split."""
    task, (source, *_) = part.downstream, part.with_split(split)
    annotated, predictions = part.annotated(source, split), {}
    for layout in task.passes:
        batches, left_out = part.evaluation_batches(source, split, layout)
        passing = evaluation_batches(batches, program.mesh, part.config)
        if jax.process_index() == 0:
            left_out.tell("not predicted")
            passing = progress(passing, f"{task.name}: batches of {layout}")
        parts = [
            jax.device_get(program.evaluate_step(params, arrays, task.name, layout)[1])
            for arrays, _ in passing
        ]
        if not parts:
            raise InputError(f"Split {split!r} of {source.directory} has nothing to predict.")
        predictions |= _concatenate(parts)
    predictions = task.complete(program.model(params), predictions, annotated, program.mesh)
    results = task.summarize(predictions, annotated)
    if files is not None:
        own = task.submission(predictions, annotated)
        files |= {f"{part.name}-{name}" if part.name else name: own[name] for name in own}
    return {f"{task.name}/{key}": float(value) for key, value in results.items()}


def _concatenate(parts):
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def evaluate_checkpoint(config, workdir) -> dict[str, float]:
    """Scores a checkpoint of a run, or without one the weights of `init_from`, on a split.

    Prints the metrics and writes them to `workdir/evaluation-SPLIT-STEP.json`, and the predictions
    of downstream tasks to `workdir/predictions-SPLIT-STEP/`.
    """
    experiment = Experiment(config)
    config, split = experiment.config, _split_name(experiment)
    program = Program(config, experiment.tasks, experiment.mesh)
    params, step = _checkpoint_params(experiment, program, workdir)
    files: dict[str, str] = {}
    results = evaluate(experiment, program, params, files=files)
    if jax.process_index() == 0:
        folder = pathlib.Path(workdir)
        path = folder / f"evaluation-{split}-{step}.json"
        with writing_to(workdir, ADVICE, NO_ROOM):
            for name, text in files.items():
                place = folder / f"predictions-{split}-{step}" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
                print(f"predictions written to {place}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(results, indent=1, sort_keys=True))
        what = table(results) if results else "  it has no labels: there is nothing to score"
        print(f"{split} at step {step} of {workdir}:\n{what}\nwritten to {path}")
    return results


def _split_name(experiment):
    """The split that is evaluated; of several parts theirs, each once."""
    names = [part.config.data.eval_split for part in experiment.parts.values()]
    return "+".join(dict.fromkeys(names))


def _checkpoint_params(experiment, program, workdir):
    """Parameters on the devices, and the step they are of."""
    config = experiment.config
    checkpoints = Checkpoints(workdir, best_metric=config.best_metric, read_only=True)
    step = checkpoints.find(config.checkpoint)
    if step is not None:
        experiment.check_model(checkpoints.about(step), f"The run in {workdir}")
        return program.place_params(checkpoints.restore_params(step)), step
    params = initial_params(experiment, program)
    if params is None:
        raise InputError(
            f"There is no checkpoint in {checkpoints.directory} and config.init_from is empty; "
            "name the --workdir of a run, or weights."
        )
    return params, 0
