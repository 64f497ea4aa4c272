"""Loading the model of an export, or of a run that was not exported."""

import logging
import os
import warnings
from pathlib import Path

from data.arguments import user_path
from data.errors import InputError
from hero_jax.inference import exported, model


def load(path: str | os.PathLike) -> model.Model:
    """Loads a model.

    Args:
      path: folder of an export, or the workdir of a run; the latter needs the requirements of
        training.

    Raises:
      InputError: there is no such model, it cannot be read, or packages are missing.
    """
    path = user_path(path)
    is_run = (path / "checkpoints").is_dir() and not (path / exported.DESCRIPTION).exists()
    return _load_run(path) if is_run else model.load(path)


def _load_run(workdir: Path) -> model.Model:
    """Loads the last checkpoint of a run; prints nothing, whatever Orbax reports."""
    with warnings.catch_warnings(action="ignore"):
        try:
            from hero_jax import export
        except ModuleNotFoundError as error:
            raise InputError(
                f"{workdir} is a run that was not exported, which needs the requirements of "
                f"training ({error.name} is missing): export it, or install requirements.txt"
            ) from error
        logging.getLogger("absl").setLevel(logging.ERROR)
        return model.Model(export.from_run(workdir))
