"""Parameters by slash-joined path."""

import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict


def flatten(state: nnx.State) -> dict[str, np.ndarray]:
    """An NNX state as a flat dict of arrays by slash-joined path."""
    return flatten_nested(nnx.to_pure_dict(state))


def flatten_nested(tree: dict) -> dict[str, np.ndarray]:
    """Nested dicts as a flat one by slash-joined path."""
    return {"/".join(map(str, path)): value for path, value in flatten_dict(tree).items()}


def unflatten(flat: dict) -> dict:
    """The nested dict that `nnx.replace_by_pure_dict` takes."""
    return unflatten_dict(
        {
            tuple(int(k) if k.isdigit() else k for k in path.split("/")): v
            for path, v in flat.items()
        }
    )
