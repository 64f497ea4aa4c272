"""The creation of an index in a new folder, whatever its store is."""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.arguments import choice, instance, number, whole
from data.errors import InputError
from hero_jax.index.manifest import DTYPES, Manifest, check_vacant, locked, writing_to


def settings(
    path: Path,
    *,
    width: int,
    dtype: str,
    max_frames: int,
    seconds_per_feature: float,
    model: dict[str, Any],
) -> Manifest:
    """Returns the settings of an index without clips; see `hero_jax.index.create`."""
    choice(dtype, "dtype", DTYPES)
    width, max_frames = whole(width, "width"), whole(max_frames, "max_frames")
    seconds_per_feature = number(seconds_per_feature, "seconds_per_feature")
    if min(width, max_frames) < 1 or not 0 < seconds_per_feature < math.inf:
        raise InputError(
            f"index {path} has width {width}, max_frames {max_frames} and seconds_per_feature "
            f"{seconds_per_feature}: choose values above 0"
        )
    _check_identity(model)
    return Manifest(width, dtype, max_frames, seconds_per_feature, model)


def _check_identity(model: dict[str, Any]) -> None:
    instance(model, "model", dict, "`Model.identity` is one")
    if not isinstance(model.get("identity"), str):
        raise InputError("model has no identity: give it one, a string")
    try:
        json.dumps(model)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"model cannot be written as JSON ({error}): give JSON values") from error


@contextlib.contextmanager
def vacant(path: Path) -> Iterator[None]:
    """Makes the folder of an index, and holds its lock while the index is made.

    Raises:
      InputError: the folder is not empty or cannot be written to.
    """
    with writing_to(path):
        path.mkdir(parents=True, exist_ok=True)
        # Nothing is put into a folder with other content, not even a lock.
        check_vacant(path)
    with locked(path):
        # Another program may have made an index in the meantime.
        check_vacant(path)
        yield
