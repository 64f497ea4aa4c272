"""The stores of an index: which there are, and which one a folder has.

`files` needs no package and scores all clips; `lance` is a table of Lance with an index of its
vectors (`requirements-lance.txt`). See `hero_jax.index.protocol` for what both promise.
"""

import os
from typing import Any

from data.arguments import choice, user_path
from data.errors import InputError
from hero_jax.index import manifest
from hero_jax.index.creation import settings, vacant
from hero_jax.index.index import Index
from hero_jax.index.manifest import TABLE, write_manifest
from hero_jax.index.protocol import Snapshot, StoreWriter
from hero_jax.index.writer import Writer

STORES = ("files", "lance")


def create(
    path: str | os.PathLike,
    *,
    width: int,
    dtype: str,
    max_frames: int,
    seconds_per_feature: float,
    model: dict[str, Any],
    store: str = "files",
) -> None:
    """Makes an index without clips.

    Args:
      path: folder of the index; it is made if it does not exist.
      width: H of the frames.
      dtype: one of `DTYPES`, in which frames are stored; `lance` has no bfloat16.
      max_frames: number of frames of the longest clip that the index can take. In memory every clip
        takes room for that many; on disk it takes room for its own frames.
      seconds_per_feature: seconds of a video from one frame to the next.
      model: identity of the model and the tokenizer, JSON values; `model["identity"]` is a string.
      store: one of `STORES`.

    Raises:
      InputError: the folder is not empty or cannot be written to, a value is not allowed, or a
        package is missing.
    """
    path = user_path(path)
    made = settings(
        path,
        width=width,
        dtype=dtype,
        max_frames=max_frames,
        seconds_per_feature=seconds_per_feature,
        model=model,
    )
    if choice(store, "store", STORES) == "lance":
        _lance().create(path, made)
        return
    with vacant(path):
        write_manifest(path, made)


def exists(path: str | os.PathLike) -> bool:
    """Returns whether a folder holds an index, of which nothing is read."""
    return manifest.exists(path) or _is_table(path)


def open_index(path: str | os.PathLike) -> Snapshot:
    """Opens an index to read it.

    Raises:
      InputError: there is no index, it is damaged or too old, or a package is missing.
    """
    return _lance().LanceIndex(path) if _is_table(path) else Index(path)


def open_writer(path: str | os.PathLike) -> StoreWriter:
    """Opens an index to change it.

    Raises:
      InputError: as `open_index`, or another program writes to it.
    """
    return _lance().LanceWriter(path) if _is_table(path) else Writer(path)


def _is_table(path: str | os.PathLike) -> bool:
    return (user_path(path) / TABLE).is_dir()


def _lance() -> Any:
    """Returns the module of the store `lance`, which only that store needs."""
    try:
        from hero_jax.index import lance_store
    except ModuleNotFoundError as error:
        raise InputError(
            f"the store lance needs the package {error.name}, which is missing: install what is in "
            "requirements-lance.txt"
        ) from error
    return lance_store
