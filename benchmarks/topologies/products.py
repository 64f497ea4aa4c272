"""Operations of the matrix products of a program, padding included."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.extend import core

from hero_jax.training.step import Program


def executed_flops(
    program: Program, task: str, batches: Mapping[str, jax.ShapeDtypeStruct]
) -> float:
    """Returns the operations of an update's matrix products, on all devices together.

    Args:
      program: the program.
      task: one of its tasks.
      batches: shapes of the arrays of an update's batches, `[accumulation, G, ...]`.
    """

    def update(state: Any, batches: Any) -> Any:
        return program.train_step(state, batches, task)

    closed = jax.make_jaxpr(update)(program.abstract_state(), program.lay_out(task, batches))
    return _products(closed.jaxpr, program.mesh.size)


def _products(jaxpr: core.Jaxpr, devices: int) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = math.prod(shape[axis] for axis in contracted)
            total += 2.0 * inner * math.prod(equation.outvars[0].aval.shape)
        # A loop of an open number of rounds counts as none, as in `hlo.Compiled.operations`.
        times = {"scan": equation.params.get("length", 1), "while": 0, "shard_map": devices}
        inside = sum(_products(part, devices) for part in _parts(equation.params))
        total += times.get(equation.primitive.name, 1) * inside
    return total


def _parts(params: Mapping[str, Any]) -> list[core.Jaxpr]:
    found = []
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.ClosedJaxpr):
                found.append(one.jaxpr)
            elif isinstance(one, core.Jaxpr):
                found.append(one)
    return found
