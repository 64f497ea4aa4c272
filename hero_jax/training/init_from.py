"""Weights to start a run from: a run of ours, a checkpoint of the original, or RoBERTa's.

This is not resuming: a run resumes by itself from what is in its own workdir.
"""

import pathlib
import sys
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx

from data.arguments import user_path
from data.errors import InputError
from hero_jax.conversion import original_names
from hero_jax.conversion.state_dict import ConversionReport, from_state_dict
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.experiment.experiment import FREE_AT_START, Experiment
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.step import Program


def initial_params(experiment: Experiment, program: Program) -> nnx.State | None:
    """Returns parameters from `init_from` on the devices, None if it is empty.

    Prints the report of missing, unused and resized parameters.

    Raises:
      InputError: no such weights, or weights of another shape.
    """
    source = experiment.config.init_from
    if not source:
        return None
    path = user_path(source)
    # Drawing takes a while, so a wrong path is reported before.
    if path.is_dir():
        params, report = _from_run(experiment, program, path)
    else:
        state_dict = read_state_dict(path)
        drawn = program.host_params()
        vocab_size = experiment.config.model.vocab_size
        params, report = from_state_dict(state_dict, drawn, vocab_size, source)
    if jax.process_index() == 0:
        print(report, file=sys.stderr, flush=True)
    return program.place_params(params)


def _from_run(
    experiment: Experiment, program: Program, path: pathlib.Path
) -> tuple[dict[str, np.ndarray], ConversionReport]:
    none = f"init_from={path} has no checkpoints: name the workdir of a run, or a file"
    # Orbax would log that there is no such folder.
    if not (path / "checkpoints").is_dir():
        raise InputError(none)
    checkpoints = Checkpoints(path, best_metric=experiment.config.best_metric, read_only=True)
    step = checkpoints.find(experiment.config.checkpoint)
    if step is None:
        raise InputError(none)
    experiment.check_model(checkpoints.metadata(step), f"the run in {path}", FREE_AT_START)
    params, drawn = checkpoints.restore_params(step), program.host_params()
    return from_run(params, drawn, path, step)


def from_run(
    params: dict[str, np.ndarray], drawn: dict[str, np.ndarray], path: pathlib.Path, step: int
) -> tuple[dict[str, np.ndarray], ConversionReport]:
    """Returns drawn parameters with those of a run in their place, both by our paths, and a report.

    Args:
      params: of the run.
      path, step: of the run, for messages.

    Raises:
      InputError: a parameter has another shape.
    """
    sources = _same_parameters(params, drawn)
    for name, source in sources.items():
        if params[source].shape != drawn[name].shape:
            raise InputError(
                f"the run in {path} has {source} of shape {params[source].shape}, where this model "
                f"needs {drawn[name].shape}: set the settings of its task to those of the run"
            )
    report = ConversionReport(
        f"step {step} of {path}",
        len(sources),
        sorted(drawn.keys() - sources.keys()),
        sorted(params.keys() - set(sources.values())),
        [],
    )
    return drawn | {name: params[source] for name, source in sources.items()}, report


def _same_parameters(
    params: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """Returns the path of each drawn parameter in a run, by its path in this model.

    A path is the same in both, except in a head of a task that has another name in the run.
    Parameters that the run lacks are left out.
    """
    by_name: dict[str, list[str]] = {}
    for path, name in original_names.original_names(params).items():
        if name:
            by_name.setdefault(name, []).append(path)
    sources = {path: path for path in drawn if path in params}
    names = original_names.original_names(drawn)
    for path in drawn.keys() - sources.keys():
        candidates = by_name.get(names[path] or "", [])
        # Two heads of the same kind are ambiguous, so neither is taken.
        if len(candidates) == 1:
            sources[path] = candidates[0]
    return sources
