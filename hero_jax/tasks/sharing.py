"""Heads that tasks share, as VALUE's do: one for questions and statements, one for captions."""

import dataclasses
from collections.abc import Mapping

from flax import nnx

from data.config import Config
from data.errors import InputError
from hero_jax.models.hero import MakeHead
from hero_jax.models.params import flatten
from hero_jax.tasks.base import Task, TaskSettings


@dataclasses.dataclass(frozen=True)
class HeadSettings(TaskSettings):
    """Settings of a task whose head others may share.

    Attributes:
      head: name of the head in the model; '' for one of the task's own, with the task's name.
    """

    head: str = ""

    def __post_init__(self):
        good = isinstance(self.head, str) and (not self.head or self.head.isidentifier())
        self.require("head", good, "a name of letters, digits and _, or '' for the task's own")


def make_heads(tasks: Mapping[str, Task], config: Config) -> dict[str, MakeHead]:
    """Returns functions that make the heads of tasks, by the names of the heads.

    Args:
      tasks: by name.
      config: the experiment's `model` block.

    Raises:
      InputError: two tasks name one head and need heads of other parameters.
    """
    owners: dict[str, tuple[str, Task]] = {}
    for name, task in tasks.items():
        if not task.has_head:
            continue
        other, owner = owners.setdefault(task.head, (name, task))
        if owner is not task and _shapes(owner, config) != _shapes(task, config):
            raise InputError(
                f"tasks {other} and {name} name one head, {task.head!r}, and need different ones: "
                f"set {task.kind}.head of one of them to another name, or their decoders to one "
                "size"
            )
    return {head: task.make_head for head, (_, task) in owners.items()}


def _shapes(task: Task, config: Config) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the parameters of a task's head."""
    head = nnx.eval_shape(lambda: task.make_head(config, nnx.Rngs(0)))
    return {path: x.shape for path, x in flatten(nnx.state(head, nnx.Param)).items()}
