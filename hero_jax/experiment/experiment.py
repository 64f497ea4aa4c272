"""A config made ready: the data of its task groups checked against the model and the mesh."""

import dataclasses
import os
import sys
from collections.abc import Container, Iterable
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.errors import InputError
from hero_jax import sharding
from hero_jax.experiment.compatibility import (
    IDENTITY,
    check_identity,
    complete_batch,
    complete_model,
    differences,
    identity,
    plain,
)
from hero_jax.experiment.datasets import MissingDataset
from hero_jax.experiment.task_group import TaskGroup
from hero_jax.tasks.registry import TASKS

# Blocks that a run may only continue with as they were; so are the blocks of its tasks.
FIXED = ("model", "batch", "seed", "tasks", "objective", "optimizer")
# Fields of `model` that may differ from those of a checkpoint that is evaluated.
FREE = ("dropout", "attention_dropout", "initializer_range", "dtype", "remat")
# The same of a checkpoint whose weights a run starts from.
FREE_AT_START = (*FREE, "channels")
# Blocks that all parts of a config share.
SHARED = ("model", "seed", "optimizer", "mesh")


class Experiment:
    """A checked config with its datasets, tasks and devices, for training and for evaluation.

    Attributes:
      config: copy of the given config with references resolved and, unless it has parts, numbers of
        rows filled in.
      task_groups: the task groups by name; a single one named '' unless the config has parts.
      dataset_metadata: metadata of the first dataset, for which the model is made.
      mesh: mesh of all devices.
      tasks: the tasks of all groups, by name.
    """

    def __init__(self, config: ConfigDict):
        """Opens the datasets of a config, and checks it.

        Raises:
          InputError: data are missing, or settings do not go together.
        """
        self.config = config = config.copy_and_resolve_references()
        self.mesh = sharding.make_mesh(config.mesh)
        self.task_groups = {
            name: _make_group(part, self.mesh, name) for name, part in _part_configs(config)
        }
        first, *others = self.task_groups.values()
        self.dataset_metadata, self.accepted = first.metadata, first.accepted
        for group in others:
            subject = f"dataset {first.sources[0].name!r} has"
            check_identity(group.metadata, identity(first.metadata), subject, group.accepted)
        self.tasks = {
            name: task for group in self.task_groups.values() for name, task in group.tasks.items()
        }

    def group_of(self, task: str) -> TaskGroup:
        """Returns the group that a task is in; 'all' stands for the tasks of the only group."""
        return next(
            group for group in self.task_groups.values() if task in group.tasks or task == "all"
        )

    def run_metadata(self) -> dict[str, Any]:
        """Returns how a checkpoint of this experiment is made, as JSON values."""
        groups = self.task_groups.values()
        return {
            "config": {name: plain(self.config[name]) for name in FIXED if name in self.config}
            | {name: value for group in groups for name, value in _own_blocks(group)},
            "data": identity(self.dataset_metadata),
            "sources": [source for group in groups for source in group.training_shares()],
        }

    def check_model(
        self, metadata: dict[str, Any], subject: str, free: Container[str] = FREE
    ) -> None:
        """Checks that a checkpoint's weights fit this model, and its data these data.

        Args:
          metadata: of the checkpoint.
          subject: its name in a sentence.
          free: fields of `model` that may differ.

        Raises:
          InputError: they do not.
        """
        _check_complete(metadata, subject)
        for field, here, there in differences(
            plain(self.config.model), complete_model(metadata["config"]["model"])
        ):
            if field[1:] not in free:
                raise InputError(
                    f"{subject} has model{field}={there}, not {here}: set model{field}={there}"
                )
        check_identity(
            self.dataset_metadata, metadata["data"], f"{subject} was made for", self.accepted
        )

    def check_same(self, metadata: dict[str, Any], directory: str | os.PathLike) -> None:
        """Checks that a run would continue with the settings and data that it began with.

        Only `optimizer.steps` may grow, of which it warns.

        Args:
          metadata: of its last checkpoint.
          directory: of its checkpoints, for messages.

        Raises:
          InputError: it would not.
        """
        current, subject = self.run_metadata(), f"the run in {directory}"
        _check_complete(metadata, subject)
        # First the data, on which some of the config depends.
        check_identity(
            self.dataset_metadata, metadata["data"], f"{subject} was made for", self.accepted
        )
        if current["sources"] != metadata["sources"]:
            raise InputError(
                f"{subject} is trained on {_in_words(metadata['sources'])}, not on "
                f"{_in_words(current['sources'])}: set data.name and data.weights to that, choose "
                "another workdir, or start from its weights with init_from"
            )
        planned = steps = self.config.optimizer.steps
        settings, earlier = map(_with_defaults, (current["config"], metadata["config"]))
        for name in dict.fromkeys([*settings, *earlier]):
            for field, here, there in differences(settings.get(name), earlier.get(name)):
                if name + field == "optimizer.steps" and here > there:
                    planned = there
                    continue
                raise InputError(
                    f"{subject} has {name}{field}={there}, not {here}: set it to that, choose "
                    "another workdir, or start from its weights with init_from"
                )
        if steps > planned and jax.process_index() == 0:
            print(
                f"warning: {subject} was planned for optimizer.steps={planned} and goes on to "
                f"{steps}: from here on its learning rate is that of the longer schedule",
                file=sys.stderr,
                flush=True,
            )


def _make_group(config: ConfigDict, mesh: Mesh, name: str) -> TaskGroup:
    try:
        return TaskGroup(config, mesh, name)
    except MissingDataset:
        raise
    except InputError as error:
        raise InputError(f"parts.{name}: {error}" if name else str(error)) from error


def _part_configs(config: ConfigDict) -> list[tuple[str, ConfigDict]]:
    """Returns (name, config) of every part; a config without parts is the only one, named ''."""
    if not config.parts:
        return [("", config)]
    if config.objective != "one_task":
        raise InputError(
            f"objective={config.objective!r} does not go with parts, whose batches differ: set "
            "objective=one_task"
        )
    parts = []
    for name, ratio in config.tasks.items():
        if name not in config.parts:
            known = ", ".join(config.parts)
            raise InputError(f"tasks.{name}: no such part, choose of {known}")
        if not ratio >= 0:
            raise InputError(f"tasks.{name}={ratio} is negative: set it to 0 or more")
        if ratio:
            part = config.parts[name].copy_and_resolve_references()
            part.update({field: config[field] for field in SHARED})
            part.data.dir = config.data.dir
            parts.append((name, part))
    if not parts:
        raise InputError("all of tasks are 0: give one of them a ratio")
    return parts


def _own_blocks(group: TaskGroup) -> Iterable[tuple[str, Any]]:
    """Returns (name, value) of the settings that are a group's own."""
    blocks = {task.kind: plain(group.config[task.kind]) for task in group.tasks.values()}
    if not group.name:
        return blocks.items()
    return [(f"parts.{group.name}", {"batch": plain(group.config.batch), **blocks})]


def _check_complete(metadata: dict[str, Any], subject: str) -> None:
    """Raises an InputError if a checkpoint lacks what later versions write about a run."""
    if "sources" not in metadata or not IDENTITY.keys() <= metadata["data"].keys():
        raise InputError(
            f"{subject} was made by an earlier version, which did not write all that has to be "
            "compared: train it again"
        )


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Returns blocks of settings, with the values of those that earlier versions did not have."""
    complete = {}
    for name, block in config.items():
        if name.startswith("parts."):
            complete[name] = _with_defaults(block)
        elif name in TASKS:
            fields = dataclasses.fields(TASKS[name].Settings)
            complete[name] = {field.name: plain(field.default) for field in fields} | block
        elif name == "batch":
            complete[name] = complete_batch(block)
        elif name == "model":
            complete[name] = complete_model(block)
        else:
            complete[name] = block
    return complete


def _in_words(sources: list[dict[str, Any]]) -> str:
    shares = (f"{s['name']} ({s['clips']} clips, {100 * s['share']:g}%)" for s in sources)
    return " and ".join(shares)
