"""Evaluation of two runs together: one of video alone, and one of subtitles alone, as in VALUE."""

import os
from typing import Any

from flax import nnx
from ml_collections import ConfigDict

from data.arguments import user_path
from data.errors import InputError
from hero_jax.experiment.compatibility import complete_model
from hero_jax.experiment.experiment import Experiment
from hero_jax.experiment.task_group import TaskGroup
from hero_jax.tasks.two_streams import complete, stream_task
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.evaluate import Metrics, checkpoint_params, predict, score, tell
from hero_jax.training.step import Program

# Fields of a batch that the second run keeps; what is predicted, and of which frames, is the
# first's.
OWN_FIELDS = ("context_subtitles", "max_tokens", "row_length")
# Numbers of rows, which are found anew.
ROWS = ("rows_per_group", "query_rows_per_group", "frame_rows_per_group", "frame_row_length")
# What the names of the evaluation's files end with.
KIND = "-two_streams"


def evaluate_two(
    config: ConfigDict, workdir: str | os.PathLike, second: str | os.PathLike
) -> Metrics:
    """Scores the predictions of two runs together on a split; see `evaluate_checkpoint`.

    Prints the metrics and writes them to `workdir/evaluation-SPLIT-STEP-two_streams.json`, and the
    predictions to `workdir/predictions-SPLIT-STEP-two_streams/`. The checkpoint is chosen in both
    runs by `config.checkpoint`.

    Args:
      config: of the run of video alone. Settings of predictions are its own.
      workdir: of that run.
      second: workdir of the run of subtitles alone.

    Raises:
      InputError: an error that the user can fix.
    """
    workdir, second = user_path(workdir), user_path(second)
    _check_channels(config.model.to_dict(), "video", workdir)
    others = Checkpoints(second, best_metric=config.best_metric, read_only=True)
    step = others.find(config.checkpoint)
    if step is None:
        raise InputError(
            f"there is no checkpoint in {others.directory}: name the workdir of a run of "
            "model.channels='subtitle'"
        )
    saved = others.metadata(step)["config"]
    _check_channels(saved["model"], "subtitle", second)
    streams = []
    for one, directory in ((config, workdir), (_second_config(config, saved, second), second)):
        experiment = Experiment(one)
        tasks = {name: stream_task(task) for name, task in experiment.tasks.items()}
        program = Program(experiment.config, tasks, experiment.mesh)
        streams.append((experiment, program, *checkpoint_params(experiment, program, directory)))
    (experiment, program, params, step), (other, other_program, other_params, _) = streams
    files: dict[str, str] = {}
    results: Metrics = {}
    for name, group in experiment.task_groups.items():
        results |= _evaluate_group(
            (program, other_program),
            (params, other_params),
            (group, other.task_groups[name]),
            files,
        )
    tell(experiment, workdir, step, results, files, kind=KIND)
    return results


def _evaluate_group(
    programs: tuple[Program, Program],
    params: tuple[nnx.State, nnx.State],
    groups: tuple[TaskGroup, TaskGroup],
    files: dict[str, str],
) -> Metrics:
    group = groups[0]
    assert group.downstream is not None
    name, split = group.downstream.name, group.config.data.eval_split
    first, second = (predict(*one, split) for one in zip(programs, params, groups, strict=True))
    predictions = complete(
        (programs[0].tasks[name], programs[1].tasks[name]),
        (programs[0].model(params[0]), programs[1].model(params[1])),
        (first[0], second[0]),
        first[1],
    )
    return score(group, predictions, first[1], files)


def _check_channels(model: dict[str, Any], channels: str, directory: str | os.PathLike) -> None:
    """Raises an InputError if a run does not read the channel of its stream."""
    found = complete_model(model)["channels"]
    if found != channels:
        raise InputError(
            f"the run in {directory} has model.channels={found!r}, and two streams are a run of "
            f"'video' and a second one of 'subtitle': name one of model.channels={channels!r}"
        )


def _second_config(
    config: ConfigDict, saved: dict[str, Any], directory: str | os.PathLike
) -> ConfigDict:
    """Returns the config of the second run: the first's, with the model and the heads of its own.

    Args:
      config: of the first run.
      saved: the settings in the second's checkpoint.
      directory: of the second run, for messages.

    Raises:
      InputError: the second run has not the same tasks.
    """
    config = config.copy_and_resolve_references()
    config.model.update(complete_model(saved["model"]))
    parts = {"": config}
    if config.parts:
        parts = {name: config.parts[name] for name, ratio in config.tasks.items() if ratio}
    for name, part in parts.items():
        own: dict[str, Any] = saved.get(f"parts.{name}", {}) if name else saved
        for kind in (kind for kind, ratio in part.tasks.items() if ratio):
            if kind not in own:
                raise InputError(
                    f"the run in {directory} was not trained for {name or kind}: two streams are "
                    "two runs of the same tasks"
                )
            part[kind].update(own[kind])
        part.batch.update({field: own["batch"][field] for field in OWN_FIELDS})
        part.batch.update(dict.fromkeys(ROWS, 0), segmentation="subtitle")
    return config
