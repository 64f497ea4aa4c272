"""Checkpoints of a run: saved in the background, never half-written, the last ones and the best."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from data.arguments import user_path
from data.errors import InputError
from data.files import writing_to
from hero_jax.models.params import flatten_nested
from hero_jax.training.state import TrainState, from_dict, to_dict

# Size on disk of a checkpoint beside its arrays, at most.
METADATA_BYTES = 4 << 20
ADVICE = (
    "make room and start the same command again, it continues from the last complete checkpoint"
)


class Checkpoints:
    """The checkpoints under `workdir/checkpoints`.

    A checkpoint holds the training state, the state of every group's stream of clips, and as JSON
    the config and the identity of the data.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        keep: int = 1,
        best_metric: str = "",
        read_only: bool = False,
    ):
        """Opens the checkpoints of a run.

        Args:
          keep: how many of the last ones stay.
          best_metric: of evaluation, larger is better; the best checkpoint by it stays too.

        Raises:
          InputError: workdir cannot be written to.
        """
        self.directory = user_path(workdir).absolute() / "checkpoints"
        if not read_only:
            _make_folder(self.directory)
        self.best_metric = best_metric
        policies = [
            ocp.checkpoint_managers.LatestN(keep),
            ocp.checkpoint_managers.BestN(
                get_metric_fn=self._merit, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
        self.manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                # Without it metrics are not written; the policies decide what stays.
                best_fn=self._merit,
                preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(policies),
                create=not read_only,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "stream": ocp.StandardCheckpointHandler(),
                "about": ocp.JsonCheckpointHandler(),
            },
        )

    def _merit(self, metrics: Mapping[str, float]) -> float:
        return metrics.get(self.best_metric, -np.inf)

    def latest(self) -> int | None:
        """Returns the last complete checkpoint's step, None if there is none."""
        return self.manager.latest_step()

    def find(self, which: str) -> int | None:
        """Returns the step of a checkpoint, None if there is none at all.

        Args:
          which: 'latest', 'best' or a step.

        Raises:
          InputError: there is no such checkpoint.
        """
        steps = self.manager.all_steps()
        if not steps or which == "latest":
            return max(steps, default=None)
        if which == "best":
            scores = {
                step: metrics[self.best_metric]
                for step in steps
                if self.best_metric in (metrics := self.manager.metrics(step) or {})
            }
            if not scores:
                raise InputError(
                    f"no checkpoint in {self.directory} was evaluated by {self.best_metric!r}: "
                    "choose checkpoint=latest or another best_metric"
                )
            return max(scores, key=lambda step: scores[step])
        if not which.isdecimal() or int(which) not in steps:
            raise InputError(
                f"checkpoint={which!r} is not in {self.directory}: choose latest, best or one of "
                f"{', '.join(map(str, sorted(steps)))}"
            )
        return int(which)

    def save(
        self,
        step: int,
        state: TrainState,
        streams: Mapping[str, jax.Array],
        metadata: dict[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Begins to save; a failure of the save before is raised here.

        Args:
          streams: int32 arrays `[G, ...]` by task group; see `Feeds.streams`.
          metadata: JSON values.
          metrics: of an evaluation of this step.

        Raises:
          InputError: the disk is full or cannot be written to.
        """
        with writing_to(self.directory, ADVICE):
            self.manager.wait_until_finished()
            self._check_room(state)
            self.manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(to_dict(state)),
                    stream=ocp.args.StandardSave(streams),
                    about=ocp.args.JsonSave(metadata),
                ),
                metrics=metrics,
                force=True,
            )

    def _check_room(self, state: TrainState) -> None:
        """Raises an InputError if a checkpoint will not fit: Orbax would print 1,000 lines."""
        needed = sum(array.nbytes for array in jax.tree.leaves(state)) + METADATA_BYTES
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise InputError(
                f"a checkpoint takes up to {needed / 2**20:.1f} MiB and {self.directory} has room "
                f"for {free / 2**20:.1f}: {ADVICE}"
            )

    def finish(self) -> None:
        """Waits until everything is on disk.

        Raises:
          InputError: the disk is full or cannot be written to.
        """
        with writing_to(self.directory, ADVICE):
            self.manager.wait_until_finished()
            self.manager.close()

    def metadata(self, step: int) -> dict[str, Any]:
        """Returns the JSON values of a checkpoint."""
        args = ocp.args.Composite(about=ocp.args.JsonRestore())
        return self.manager.restore(step, args=args)["about"]

    def restore(
        self, step: int, abstract: TrainState, streams: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Returns the training state and the streams' states.

        Args:
          abstract: shapes and shardings of the training state.
          streams: shapes and shardings of the streams' states.
        """
        restored = self.manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(to_dict(abstract)),
                stream=ocp.args.StandardRestore(streams),
            ),
        )
        return from_dict(restored["state"], abstract), restored["stream"]

    def restore_params(self, step: int) -> dict[str, np.ndarray]:
        """Returns the parameters alone, by path, on the host."""
        tree = self.manager.item_metadata(step)["state"].tree
        abstract = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype), tree["params"])
        restored = ocp.PyTreeCheckpointer().restore(
            self.directory / str(step) / "state",
            args=ocp.args.PyTreeRestore(
                {"params": abstract},
                restore_args={
                    "params": jax.tree.map(
                        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract
                    )
                },
                partial_restore=True,
            ),
        )
        return flatten_nested(restored["params"])


def _make_folder(directory: pathlib.Path) -> None:
    with writing_to(directory, "fix that or choose another workdir"):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
