"""Weights to start a run from: a run of ours, a checkpoint of the original, or RoBERTa's.

This is not resuming: a run resumes by itself from what is in its own workdir.
"""

import pathlib
import sys

import jax
import numpy as np

from data.errors import InputError
from hero_jax.conversion import original_names
from hero_jax.conversion.state_dict import ConversionReport, from_state_dict
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.training.checkpoint import Checkpoints


def initial_params(experiment, program):
    """Parameters from `config.init_from` on the devices, None if it is empty.

    Prints the report of what was missing, unused and resized.

    Raises:
      InputError: no such weights, or weights of another shape.
    """
    source = experiment.config.init_from
    if not source:
        return None
    path = pathlib.Path(source)
    # Drawing takes a while, so what is wrong with the path is said before.
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


def _from_run(experiment, program, path):
    checkpoints = Checkpoints(path, best_metric=experiment.config.best_metric, read_only=True)
    step = checkpoints.find(experiment.config.checkpoint)
    if step is None:
        raise InputError(
            f"config.init_from={path} has no checkpoints; name the --workdir of a run, or a file."
        )
    experiment.check_model(checkpoints.about(step), f"The run in {path}")
    params, drawn = checkpoints.restore_params(step), program.host_params()
    return from_run(params, drawn, path, step)


def from_run(
    theirs: dict[str, np.ndarray], drawn: dict[str, np.ndarray], path: pathlib.Path, step: int
) -> tuple[dict[str, np.ndarray], ConversionReport]:
    """Puts a run's parameters in place of drawn ones, both by our paths.

    Args:
      path, step: of the run, for sentences.

    Raises:
      InputError: a parameter has another shape.
    """
    found = _same_parameters(theirs, drawn)
    for name, own in found.items():
        if theirs[own].shape != drawn[name].shape:
            raise InputError(
                f"The run in {path} has {own} of shape {theirs[own].shape}, where this model needs "
                f"{drawn[name].shape}; set the config of its task to that of the run."
            )
    report = ConversionReport(
        f"step {step} of {path}",
        len(found),
        sorted(drawn.keys() - found.keys()),
        sorted(theirs.keys() - set(found.values())),
        [],
    )
    return drawn | {name: theirs[own] for name, own in found.items()}, report


def _same_parameters(theirs, ours) -> dict[str, str]:
    """Which of their paths each of ours is: the same, or a head's that has another task's name."""
    by_name: dict[str, list[str]] = {}
    for path, name in original_names.original_names(theirs).items():
        if name:
            by_name.setdefault(name, []).append(path)
    found = {path: path for path in ours if path in theirs}
    names = original_names.original_names(ours)
    for path in ours.keys() - found.keys():
        candidates = by_name.get(names[path] or "", [])
        # Of two heads of a kind nobody can tell which is meant.
        if len(candidates) == 1:
            found[path] = candidates[0]
    return found
