"""The one evaluation loop: every task's metrics over a whole split, each clip once."""

import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from data.arguments import user_path
from data.errors import InputError
from data.files import NO_ROOM, replacing, writing_to
from data.pipeline.batches import Batches
from data.pipeline.units import AnnotatedSplit
from data.progress import progress
from hero_jax.experiment.datasets import OpenDataset
from hero_jax.experiment.experiment import Experiment
from hero_jax.experiment.task_group import TaskGroup
from hero_jax.metrics.contents import CONTENTS, PredictionsOf, contents
from hero_jax.metrics.report import means, table
from hero_jax.models.batch import Batch
from hero_jax.training.checkpoint import ADVICE, Checkpoints
from hero_jax.training.compiling import compile_evaluation
from hero_jax.training.feed import evaluation_batches
from hero_jax.training.init_from import initial_params
from hero_jax.training.step import Program

# Metrics by `task/metric`: numbers of things as int, all else as float.
Metrics = dict[str, float | int]


def evaluate(
    experiment: Experiment,
    program: Program,
    params: nnx.State,
    files: dict[str, str] | None = None,
) -> Metrics:
    """Returns metrics of the split to evaluate, `task/metric`; `queries/metric` of its queries.

    The datasets of a mixture that have the split are evaluated one by one, as
    `dataset/task/metric`; `task/metric` is the first's.

    Args:
      params: the model's parameters on the devices.
      files: filled with the prediction files of downstream tasks, text by name.

    Returns:
      Means over all that was counted in the split, whatever the batches and hosts were.
    """
    results: Metrics = {}
    for group in experiment.task_groups.values():
        results |= _evaluate_group(program, params, group, files)
    return results


def _evaluate_group(
    program: Program, params: nnx.State, group: TaskGroup, files: dict[str, str] | None
) -> Metrics:
    split = group.config.data.eval_split
    if group.downstream is not None:
        return _evaluate_downstream(program, params, group, split, files)
    results: Metrics = {}
    for source in group.with_split(split):
        of_source = _evaluate_source(program, params, group, source, split)
        results = results or dict(of_source)
        if len(group.sources) > 1:
            results |= {f"{source.name}/{key}": value for key, value in of_source.items()}
    return results


def _evaluate_source(
    program: Program, params: nnx.State, group: TaskGroup, source: OpenDataset, split: str
) -> Metrics:
    batches = group.source_batches(source, split)
    results = _evaluate_batches(program, params, batches, group, list(group.tasks))
    queries = group.query_batches(source, split)
    for name, task in group.tasks.items():
        if task.query_metrics and queries is not None:
            scores = _evaluate_batches(program, params, queries, group, [name])
            prefix = len(name)
            results |= {task.query_metrics + key[prefix:]: value for key, value in scores.items()}
    return results


def _evaluate_batches(
    program: Program,
    params: nnx.State,
    batches: Batches,
    group: TaskGroup,
    names: Sequence[str],
) -> Metrics:
    """Returns the metrics of some tasks from one pass over batches."""
    sums: dict[str, np.ndarray] = {}
    predictions: dict[str, list] = {name: [] for name in names}
    first, passing = _begun(evaluation_batches(batches, group.division, group.config))
    compile_evaluation(program, params, [(name, 0, first) for name in names if first])
    for arrays, _ in passing:
        for name in names:
            metrics, prediction = jax.device_get(program.evaluate_step(params, arrays, name))
            for metric, value in metrics.items():
                key = f"{name}/{metric}"
                sums[key] = sums.get(key, 0) + np.asarray(value, np.float64)
            if prediction is not None:
                predictions[name].append(prediction)
    results: Metrics = dict(means(sums))
    for name, outputs in predictions.items():
        if outputs:
            summary = program.tasks[name].summarize(_concatenate(outputs), None)
            results |= {f"{name}/{key}": value for key, value in summary.items()}
    return results


def _evaluate_downstream(
    program: Program,
    params: nnx.State,
    group: TaskGroup,
    split: str,
    files: dict[str, str] | None,
) -> Metrics:
    """Returns metrics of what is labelled; predicts for all of a split."""
    predictions, annotated = predict(program, params, group, split)
    task = group.downstream
    assert task is not None
    predictions = task.complete(program.model(params), predictions, annotated, program.mesh)
    return score(group, predictions, annotated, files)


def predict(
    program: Program, params: nnx.State, group: TaskGroup, split: str
) -> tuple[dict[str, Any], AnnotatedSplit]:
    """Returns the predictions of all passes of a downstream task over a split, and the split."""
    source = group.with_split(split)[0]
    assert group.downstream is not None
    task = program.tasks[group.downstream.name]
    annotated = group.annotated(source, split)
    predictions: dict[str, Any] = {}
    data = [group.evaluation_batches(source, split, one_pass.layout) for one_pass in task.passes]
    begun = [_begun(evaluation_batches(one, group.division, group.config)) for one, _ in data]
    firsts = [(task.name, number, first) for number, (first, _) in enumerate(begun) if first]
    compile_evaluation(program, params, firsts)
    for number, one_pass in enumerate(task.passes):
        passing, left_out = begun[number][1], data[number][1]
        if jax.process_index() == 0:
            left_out.tell("not predicted")
            passing = progress(passing, f"{task.name}: batches of {one_pass.layout.name}")
        outputs = [
            jax.device_get(program.evaluate_step(params, arrays, task.name, number)[1])
            for arrays, _ in passing
        ]
        if not outputs:
            raise InputError(f"split {split!r} of {source.directory} has nothing to predict")
        predictions |= _concatenate(outputs)
    return predictions, annotated


def score(
    group: TaskGroup, predictions: dict, annotated: AnnotatedSplit, files: dict[str, str] | None
) -> Metrics:
    """Returns the metrics of a downstream task's complete predictions.

    Args:
      files: as in `evaluate`.
    """
    task = group.downstream
    assert task is not None
    if files is not None:
        prefix = f"{group.name}-" if group.name else ""
        submission = task.submission(predictions, annotated)
        files |= {prefix + name: text for name, text in submission.items()}
    results = task.summarize(predictions, annotated)
    return {f"{task.name}/{key}": value for key, value in results.items()}


def _begun(batches: Iterator[tuple[Batch, Any]]) -> tuple[Batch | None, Iterator]:
    """Returns the first batch, None if there is none, and an iterator over all."""
    taken = list(itertools.islice(batches, 1))
    return (taken[0][0] if taken else None), itertools.chain(taken, batches)


def _concatenate(outputs: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *x: np.concatenate(x), *outputs)


def evaluate_checkpoint(
    config: ConfigDict, workdir: str | os.PathLike, program: Program | None = None
) -> Metrics:
    """Scores a checkpoint of a run, or without one the weights of `init_from`, on a split.

    Prints the metrics and writes them to `workdir/evaluation-SPLIT-STEP.json`, and the predictions
    of downstream tasks to `workdir/predictions-SPLIT-STEP/`.

    Args:
      program: as in `train`.

    Raises:
      InputError: an error that the user can fix.
    """
    workdir = user_path(workdir)
    experiment = Experiment(config)
    program = program or Program(experiment.config, experiment.tasks, experiment.mesh)
    params, step = checkpoint_params(experiment, program, workdir)
    files: dict[str, str] = {}
    results = evaluate(experiment, program, params, files=files)
    tell(experiment, workdir, step, results, files)
    return results


def tell(
    experiment: Experiment,
    workdir: pathlib.Path,
    step: int,
    results: Metrics,
    files: dict[str, str],
    *,
    kind: str = "",
) -> None:
    """Writes and prints an evaluation.

    Args:
      step: of the checkpoint.
      files: the prediction files, text by name.
      kind: of the evaluation, which the names of files end with.
    """
    if jax.process_index() == 0:
        split = _split_name(experiment)
        if files:
            files = {**files, CONTENTS: _contents(experiment, files, step)}
        _write(workdir, f"{split}-{step}{kind}", results, files)
        shown = table(results) if results else "  it has no labels: there is nothing to score"
        print(f"{split} at step {step} of {workdir}:\n{shown}")


def _contents(experiment: Experiment, files: dict[str, str], step: int) -> str:
    """Returns the text of the file that says what the others are of."""
    parts = []
    for group in experiment.task_groups.values():
        prefix = f"{group.name}-" if group.name else ""
        names = [name for name in files if name.startswith(prefix)]
        if group.downstream is not None and names:
            data = group.sources[0].name, group.config.data.eval_split
            parts.append(PredictionsOf(*data, group.downstream.kind, names))
    return contents(step, parts)


def _write(folder: pathlib.Path, name: str, results: Metrics, files: dict[str, str]) -> None:
    path = folder / f"evaluation-{name}.json"
    with writing_to(folder, ADVICE, NO_ROOM):
        for file, text in files.items():
            place = folder / f"predictions-{name}" / file
            place.parent.mkdir(parents=True, exist_ok=True)
            _replace(place, text)
            print(f"predictions written to {place}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, json.dumps(results, indent=1, sort_keys=True))
    print(f"metrics written to {path}")


def _replace(path: pathlib.Path, text: str) -> None:
    """Writes a file that another evaluation may write too."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def _split_name(experiment: Experiment) -> str:
    """Returns the split that is evaluated; for several task groups theirs, each once."""
    names = [group.config.data.eval_split for group in experiment.task_groups.values()]
    return "+".join(dict.fromkeys(names))


def checkpoint_params(
    experiment: Experiment, program: Program, workdir: str | os.PathLike
) -> tuple[nnx.State, int]:
    """Returns parameters on the devices, and their step."""
    config = experiment.config
    checkpoints = Checkpoints(workdir, best_metric=config.best_metric, read_only=True)
    step = checkpoints.find(config.checkpoint)
    if step is not None:
        experiment.check_model(checkpoints.metadata(step), f"the run in {workdir}")
        return program.place_params(checkpoints.restore_params(step)), step
    params = initial_params(experiment, program)
    if params is None:
        raise InputError(
            f"there is no checkpoint in {checkpoints.directory} and init_from is empty: name the "
            "workdir of a run, or weights"
        )
    return params, 0
