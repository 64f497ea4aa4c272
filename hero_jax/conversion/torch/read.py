"""Reads state dicts from PyTorch's two formats, `.npz` and `.safetensors`, without PyTorch.

A PyTorch file consists of a pickle of the dict, in which each tensor names the storage that it is a
view of, and of the raw values of the storages. These are members of a zip archive (since PyTorch
1.6), or follow the pickle one after another (before). The pickle is interpreted by
`hero_jax.conversion.torch.unpickle`, never executed.
"""

import io
import mmap
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors

from data.arguments import user_path
from data.errors import InputError
from hero_jax.conversion.torch.unpickle import ADVICE, Pickle, Storage, Tensor, damage_named

TORCH_SUFFIXES = (".pt", ".pth", ".bin")
# The first two values of a file in the format before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

# Reads the bytes of a storage.
_ReadStorage = Callable[[Storage], bytes]


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the state dict in a `.pt`, `.pth`, `.bin`, `.npz` or `.safetensors` file.

    A PyTorch file may hold the state dict itself, or a dict in which exactly one key holds it
    (`{"model": ..., "epoch": 3}`). The prefix `module.`, which DistributedDataParallel adds to
    every name, is removed. PyTorch is not needed and nothing in the file is executed.

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
        reason = error.strerror or error
        raise InputError(f"{path} could not be read ({reason}): check the path") from error
    for array in arrays.values():
        array.flags.writeable = False
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _listed(names: Iterable[object]) -> str:
    """Returns the first ten names, quoted, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(repr(name) for name in names[:10]) + more


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        start = file.read(512)
        if not start:
            raise InputError("is empty: copy or download it again")
        if start.startswith(b"PK\x03\x04"):
            content, read = _open_zip(file)
        elif start.startswith(b"\x80"):
            content, read = _open_legacy(file)
        elif start[257:262] == b"ustar":
            raise InputError(f"is in PyTorch's first format (tar), which cannot be read: {ADVICE}")
        else:
            raise InputError(
                f"is no PyTorch file (it starts with {start[:16]!r}): use the file that "
                "torch.save wrote"
            )
        return _arrays(_state_dict(content), read)


def _open_zip(file: BinaryIO) -> tuple[Any, _ReadStorage]:
    """Opens a file in PyTorch's zip format; returns its pickle's content and a storage reader."""
    with damage_named("the zip archive"):
        archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(
            "is a zip archive, but no PyTorch file (it has no data.pkl in its one folder): use the "
            "file that torch.save wrote"
        )
    root = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        with damage_named(f"its member {name!r}"):
            info = members[root + name]
            if info.compress_type != zipfile.ZIP_STORED:
                raise InputError(f"was packed again with compression: {ADVICE}")
            return archive.read(info)

    if root + "byteorder" in members and member("byteorder") != b"little":
        raise InputError(f"was written by a big-endian machine: {ADVICE}")
    content = Pickle().load(io.BytesIO(member("data.pkl")))
    return content, lambda storage: member(f"data/{storage.key}")


def _open_legacy(file: BinaryIO) -> tuple[Any, _ReadStorage]:
    """Opens a file in the format before PyTorch 1.6; returns the same as `_open_zip`.

    The file consists of five pickles (magic number, protocol, machine, content, storage keys) and,
    for each key, the number of values as an int64 and the values.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if Pickle().load(stream) != _LEGACY_MAGIC:
            raise InputError("is a pickle, but no PyTorch file: use the file that torch.save wrote")
        if Pickle().load(stream) != _LEGACY_PROTOCOL:
            raise InputError(f"has an unknown version of PyTorch's format: {ADVICE}")
        with damage_named("its description of the machine"):
            if Pickle().load(stream)["little_endian"] is not True:
                raise InputError(f"was written by a big-endian machine: {ADVICE}")
        pickle = Pickle()
        content = pickle.load(stream)
        positions = {}
        with damage_named("its list of storages"):
            for key in Pickle().load(stream):
                if type(key) is not str:
                    raise TypeError("a storage whose key is not a string")
                storage = pickle.storages[key]
                if int.from_bytes(stream.read(8), "little") != storage.size:
                    raise ValueError("a storage whose size differs from its tensors'")
                positions[key] = stream.tell()
                stream.seek(storage.nbytes, os.SEEK_CUR)
            if positions.keys() != pickle.storages.keys():
                raise ValueError("a storage that is missing")

    def read(storage: Storage) -> bytes:
        file.seek(positions[storage.key])
        return file.read(storage.nbytes)

    return content, read


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Returns the content itself if it is a state dict, or the one that a single key holds."""
    if type(content) is not dict:
        kind = type(content).__name__.lower()
        raise InputError(f"holds a value of type {kind}, not a state dict: {ADVICE}")
    if not content or _is_state_dict(content):
        return content
    # The original's training saves `"vocab_padded": True` beside the tensors.
    tensors = {key: value for key, value in content.items() if type(value) is not bool}
    if _is_state_dict(tensors):
        return tensors
    inner = [key for key, value in content.items() if _is_state_dict(value)]
    if len(inner) == 1 and not any(type(value) is Tensor for value in content.values()):
        return content[inner[0]]
    raise InputError(
        f"neither is a state dict nor holds exactly one (its keys are {_listed(content)}; "
        f"dicts of tensors are under {_listed(inner) or 'none of them'}): {ADVICE}"
    )


def _is_state_dict(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) > 0
        and all(type(key) is str and type(item) is Tensor for key, item in value.items())
    )


def _arrays(tensors: dict[str, Tensor], read: _ReadStorage) -> dict[str, np.ndarray]:
    """Returns the tensors as views of their storages, each of which is read once."""
    values: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        with damage_named(f"tensor {name!r}"):
            if storage.key not in values:
                raw = read(storage)
                if len(raw) != storage.nbytes:
                    raise EOFError("a storage whose length differs from its pickle's")
                values[storage.key] = _widened(np.frombuffer(raw, storage.dtype))
            buffer = values[storage.key]
            arrays[name] = np.ndarray(
                tensor.shape,
                buffer.dtype,
                buffer,
                tensor.offset * buffer.itemsize,
                [stride * buffer.itemsize for stride in tensor.strides],
            )
    return arrays


def _widened(array: np.ndarray) -> np.ndarray:
    """Converts bfloat16, which NumPy itself lacks, to float32; leaves other types as they are."""
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InputError("is empty or no .npz archive: use one that numpy.savez wrote")
        file.seek(0)
        with damage_named("the archive"), np.load(file, allow_pickle=False) as archive:
            return {name: _member_of_npz(archive, name) for name in archive.files}


def _member_of_npz(archive: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"holds Python objects under {name!r}; nothing in it was executed: save arrays of "
            "numbers alone"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise InputError(f"holds no array of numbers under {name!r}: save it as float32")
    return array


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - the file is no dict and cannot be iterated
                try:
                    arrays[name] = _widened(file.get_tensor(name))
                except (TypeError, AttributeError) as error:
                    dtype = file.get_slice(name).get_dtype()
                    raise InputError(
                        f"holds {name!r} as {dtype}, which NumPy does not have: save it as float32"
                    ) from error
    except safetensors.SafetensorError as error:
        raise InputError(
            f"is cut short, damaged or no safetensors file ({error}): copy or download it again"
        ) from error
    return arrays


_READERS: dict[str, Callable[[pathlib.Path], dict[str, np.ndarray]]] = {
    **dict.fromkeys(TORCH_SUFFIXES, _read_torch),
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}
