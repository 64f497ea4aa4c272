"""Parameters by slash-joined path."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict


def flatten(state: nnx.State) -> dict[str, Any]:
    """Returns the arrays (or abstract arrays) of an NNX state by slash-joined path."""
    return flatten_nested(nnx.to_pure_dict(state))


def flatten_nested(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves of nested dicts by slash-joined path."""
    return {"/".join(map(str, path)): value for path, value in flatten_dict(tree).items()}


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested dict that `nnx.replace_by_pure_dict` takes."""
    return unflatten_dict(
        {
            tuple(int(key) if key.isdigit() else key for key in path.split("/")): value
            for path, value in flat.items()
        }
    )
