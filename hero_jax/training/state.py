"""The training state, and its form in a checkpoint."""

import dataclasses
from typing import Any

import jax
import optax
from flax import nnx


@dataclasses.dataclass(frozen=True)
class TrainState:
    """Parameters, optimizer state and number of updates made."""

    step: jax.Array
    params: nnx.State
    opt_state: optax.OptState


jax.tree_util.register_dataclass(
    TrainState, data_fields=["step", "params", "opt_state"], meta_fields=[]
)


def to_dict(state: TrainState) -> dict[str, Any]:
    """Returns a state as nested dicts of arrays, which no class of ours or of Flax has to read."""
    adam = state.opt_state[1]
    return {
        "step": state.step,
        "params": nnx.to_pure_dict(state.params),
        "optimizer": {
            "count": adam.count,
            "mean": nnx.to_pure_dict(adam.mu),
            "second": nnx.to_pure_dict(adam.nu),
        },
    }


def from_dict(tree: dict[str, Any], like: TrainState) -> TrainState:
    """Returns the state in the form of `to_dict`; `like` gives the structure."""

    def state(params: dict[str, Any]) -> nnx.State:
        filled = jax.tree.map(lambda x: x, like.params)
        nnx.replace_by_pure_dict(filled, params)
        return filled

    empty, adam = like.opt_state
    moments = tree["optimizer"]
    adam = adam._replace(
        count=moments["count"], mu=state(moments["mean"]), nu=state(moments["second"])
    )
    return TrainState(tree["step"], state(tree["params"]), (empty, adam))
