"""Reads state dicts without PyTorch: from its formats, pickles, `.npz` and `.safetensors`."""

import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable
from typing import IO, Any

import numpy as np
import safetensors

from data.arguments import user_path
from data.arrays import MAGIC, read_array
from data.errors import InputError, reason
from data.torch_files import archive
from data.torch_files.inert import ADVICE, Module, Tensor
from data.torch_files.unpickle import damage_named
from data.zip_files import open_zip

TORCH_SUFFIXES = (".pt", ".pth", ".bin")
# Kinds of files that are read alike but never written: PySlowFast's, and pickles of NumPy's arrays.
_PICKLES = (".pyth", ".pkl")
# caffe2's name of the arrays, which may have plain values among them.
_BLOBS = "blobs"
# Characters of a name that are believed, and of one that a message tells.
_LONGEST_NAME = 1000
_TOLD = 200


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the state dict in a file of PyTorch, NumPy or safetensors, told by its name's ending.

    A PyTorch file may hold the state dict itself, or a dict in which exactly one key holds it
    (`{"model": ..., "epoch": 3}`), or a TorchScript module; a pickle may hold NumPy's arrays
    instead of tensors, as caffe2's `{"blobs": ...}`. The prefix `module.`, which
    DistributedDataParallel adds to every name, is removed. PyTorch is not needed and nothing in the
    file is executed.

    Returns:
      Read-only arrays by name, in the file's order. Tensors that shared memory still do, and a
      transposed tensor is a view with its strides. dtypes are the file's, but bfloat16 becomes
      float32. Only the storages of these arrays are read from a PyTorch file, each once.

    Raises:
      InputError: the file is missing, cut short, damaged, of another kind, or holds anything but
        arrays of numbers. The message names the file.
    """
    path = user_path(path)
    try:
        if not path.is_file():
            raise InputError("does not exist or is no file: check the path")
        if path.suffix not in _READERS:
            raise InputError(f"is of an unknown kind: use one of {', '.join(_READERS)}")
        arrays = _READERS[path.suffix](path)
        if not arrays:
            raise InputError("holds no arrays: use the file that holds the weights")
    except InputError as error:
        raise InputError(f"{path} {error}") from error
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{path} could not be read ({why}): check the path") from error
    for array in arrays.values():
        array.flags.writeable = False
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _listed(names: Iterable[object]) -> str:
    """Returns the first ten names, quoted, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(repr(name)[:100] for name in names[:10]) + more


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    with archive.opened(path) as (content, read):
        return archive.arrays(_state_dict(content), read)


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Returns the content itself if it is a state dict, or the one that a single key holds."""
    if type(content) is Module:
        return _tensors_of(content)
    if type(content) is not dict:
        kind = type(content).__name__.lower()
        raise InputError(f"holds a value of type {kind}, not a state dict: {ADVICE}")
    if not content or _is_state_dict(content):
        return content
    # The original's training saves `"vocab_padded": True` beside the tensors.
    tensors = {key: value for key, value in content.items() if type(value) is not bool}
    if _is_state_dict(tensors):
        return tensors
    blobs = content.get(_BLOBS)
    if type(blobs) is dict:
        arrays = {name: value for name, value in blobs.items() if type(value) is Tensor}
        content = content | {_BLOBS: arrays}
    inner = [key for key, value in content.items() if _is_state_dict(value)]
    if len(inner) == 1 and not any(type(value) is Tensor for value in content.values()):
        return content[inner[0]]
    raise InputError(
        f"neither is a state dict nor holds exactly one (its keys are {_listed(content)}; "
        f"dicts of tensors are under {_listed(inner) or 'none of them'}): {ADVICE}"
    )


def _tensors_of(module: Module) -> dict[str, Tensor]:
    """Returns the tensors of a TorchScript module and of those within it, named as in PyTorch."""
    tensors = {}
    found = {id(module.attributes)}
    pending = [("", module.attributes)]
    while pending:
        prefix, attributes = pending.pop()
        inner = []
        for key, value in attributes.items():
            name = f"{prefix}{key}"
            if len(name) > _LONGEST_NAME:
                raise InputError(f"holds names of more than {_LONGEST_NAME} characters: {ADVICE}")
            if type(value) is Tensor:
                tensors[name] = value
            elif type(value) is Module and value.attributes:
                if id(value.attributes) in found:
                    raise InputError(f"holds one module under two names, {name!r} too: {ADVICE}")
                found.add(id(value.attributes))
                inner.append((f"{name}.", value.attributes))
        pending += reversed(inner)
    return tensors


def _is_state_dict(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) > 0
        and all(type(key) is str and type(item) is Tensor for key, item in value.items())
    )


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InputError("is empty or no .npz archive: use one that numpy.savez wrote")
        file.seek(0)
        with damage_named("the archive"), open_zip(file) as members:
            return {
                name.removesuffix(".npy"): _member_of_npz(members, name)
                for name in members.namelist()
            }


def _member_of_npz(members: zipfile.ZipFile, member: str) -> np.ndarray:
    name = member.removesuffix(".npy")[:_TOLD]
    with members.open(member) as file:
        is_array = file.read(len(MAGIC)) == MAGIC
    array = None
    if is_array:
        with members.open(member) as file:
            array = _array_without_objects(file, name)
    if array is None or array.dtype.kind not in "biuf":
        raise InputError(f"holds no array of numbers under {name!r}: save it as float32")
    return array


def _array_without_objects(file: IO[bytes], name: str) -> np.ndarray:
    try:
        return read_array(file)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"holds Python objects under {name!r}; nothing in it was executed: save arrays of "
            "numbers alone"
        ) from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - the file is no dict and cannot be iterated
                try:
                    arrays[name] = archive.widened(file.get_tensor(name))
                except (TypeError, AttributeError) as error:
                    dtype = file.get_slice(name).get_dtype()
                    raise InputError(
                        f"holds {name[:_TOLD]!r} as {dtype}, which NumPy does not have: save it as "
                        "float32"
                    ) from error
    except safetensors.SafetensorError as error:
        raise InputError(
            f"is cut short, damaged or no safetensors file ({reason(error)}): copy or "
            "download it again"
        ) from error
    return arrays


_READERS: dict[str, Callable[[pathlib.Path], dict[str, np.ndarray]]] = {
    **dict.fromkeys((*TORCH_SUFFIXES, *_PICKLES), _read_torch),
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}
