"""Checkpoints of a run: saved in the background, never half-written, the last ones and the best."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from data.arguments import user_path
from data.errors import InputError, reason
from data.files import writing_to
from hero_jax.models.params import flatten_nested
from hero_jax.training import checkpoint_files as files
from hero_jax.training.state import TrainState, from_dict, to_dict
from hero_jax.training.workdir import from_process_0

# Size on disk of a checkpoint beside its arrays, at most.
METADATA_BYTES = 4 << 20
ADVICE = (
    "make room and start the same command again, it continues from the last complete checkpoint"
)


class DamagedCheckpoint(InputError):
    """A checkpoint whose files are not as they were saved.

    Attributes:
      step: of the checkpoint.
      whole: step of the newest one that is whole, None if there is none.
    """

    def __init__(self, message: str, step: int, whole: int | None):
        super().__init__(message)
        self.step, self.whole = step, whole


class Checkpoints:
    """The checkpoints under `workdir/checkpoints`.

    A checkpoint holds the training state, the state of every group's stream of clips, as JSON the
    config and the identity of the data, and the checksums of its files; those of earlier versions
    have none.
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
          best_metric: of evaluation, larger is better; the best checkpoint by it stays too. Of
            several, with commas between, it is the mean.

        Raises:
          InputError: workdir cannot be written to.
        """
        self.directory = user_path(workdir).absolute() / "checkpoints"
        if not read_only:
            _make_folder(self.directory)
        self.best_metric, self.keep, self.read_only = best_metric, keep, read_only
        self._saving = 0

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        # It reads all metrics when it is made.
        for step in self.steps():
            self.metrics(step)
        policies = [
            ocp.checkpoint_managers.LatestN(self.keep),
            ocp.checkpoint_managers.BestN(
                get_metric_fn=self._merit, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
        return ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                # Without it metrics are not written; the policies decide what stays.
                best_fn=self._merit,
                preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(policies),
                create=not self.read_only,
                read_only=self.read_only,
                cleanup_tmp_directories=not self.read_only,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._add_checksums),
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "stream": ocp.StandardCheckpointHandler(),
                "about": ocp.JsonCheckpointHandler(),
            },
        )

    def _add_checksums(self) -> None:
        """Adds checksums to a checkpoint that is written and not yet in its place.

        Process 0 does this in the thread that saves.
        """
        folders = list(self.directory.glob(f"{self._saving}.*tmp*"))
        # Where folders cannot be renamed, it is written in its place.
        for folder in folders or [self._folder(self._saving)]:
            files.write_checksums(folder)

    def _merit(self, metrics: Mapping[str, float]) -> float:
        return score if (score := self._score(metrics)) is not None else -np.inf

    def _score(self, metrics: Mapping[str, float]) -> float | None:
        """Returns the mean of the metrics that `best_metric` names, None if one is missing."""
        names = self.best_metric.split(",")
        if not metrics.keys() >= {*names}:
            return None
        return float(np.mean([metrics[name] for name in names]))

    def steps(self) -> list[int]:
        """Returns the steps of all complete checkpoints, in order."""
        if not self.directory.is_dir():
            return []
        folders = (path for path in self.directory.iterdir() if path.is_dir())
        return sorted(int(path.name) for path in folders if path.name.isdecimal())

    def find(self, which: str) -> int | None:
        """Returns the step of a checkpoint that is whole, None if there is none at all.

        Args:
          which: 'latest', 'best' or a step.

        Raises:
          InputError: there is no such checkpoint.
          DamagedCheckpoint: it is damaged.
        """
        steps = self.steps()
        if not steps:
            return None
        step = self._choose(which, steps)
        self._check(step)
        return step

    def _choose(self, which: str, steps: list[int]) -> int:
        if which == "latest":
            return steps[-1]
        if which == "best":
            scores = {
                step: score
                for step in steps
                if (score := self._score(self.metrics(step))) is not None
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
                f"{', '.join(map(str, steps))}"
            )
        return int(which)

    def _check(self, step: int) -> None:
        """Raises DamagedCheckpoint if files of a checkpoint are not as they were saved."""
        found: list[Any] = ["", None]
        if jax.process_index() == 0:
            damage = files.find_damage(self._folder(step))
            found = [damage, self._newest_whole(step) if damage else None]
        damage, whole = json.loads(from_process_0(json.dumps(found)))
        if damage:
            raise self._damaged(step, damage, whole)

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Turns what goes wrong in reading a checkpoint without checksums into its damage."""
        try:
            with files.without_late_errors():
                yield
        except Exception as error:
            # The files are those that were saved, or their devices lack memory.
            if files.has_checksums(self._folder(step)) or isinstance(
                error, (InputError, jax.errors.JaxRuntimeError)
            ):
                raise
            damage = f"it cannot be read: {reason(error)}"
            raise self._damaged(step, damage, self._newest_whole(step)) from error

    def _newest_whole(self, damaged: int) -> int | None:
        """Returns the last step whose checkpoint is whole, and not the damaged one."""
        others = [step for step in reversed(self.steps()) if step != damaged]
        return next((step for step in others if files.is_whole(self._folder(step))), None)

    def _damaged(self, step: int, damage: str, whole: int | None) -> InputError:
        folder = self._folder(step)
        if not folder.exists():
            return InputError(
                f"checkpoint {step} of {self.directory} was removed while it was read, as the run "
                "there goes on: try again"
            )
        sentence = f"checkpoint {step} of {self.directory} is damaged ({damage})"
        if whole is None:
            sentence += ", and no other is whole: "
            sentence += "choose another run" if self.read_only else f"delete {folder} to start anew"
        elif self.read_only:
            sentence += f", and {whole} is whole: delete {folder}, or set checkpoint={whole}"
        else:
            sentence += (
                f", and {whole} is whole: delete {folder} to go on from {whole}, or set "
                "on_damaged_checkpoint=previous"
            )
        return DamagedCheckpoint(sentence, step, whole)

    def set_aside(self, damaged: DamagedCheckpoint) -> None:
        """Moves a damaged checkpoint out of the way, so that the one before is the last."""
        if "_manager" in self.__dict__:
            self._manager.close()
            del self._manager
        if jax.process_index() == 0:
            kept = self.directory.parent / "damaged"
            with writing_to(kept, ADVICE):
                kept.mkdir(exist_ok=True)
                place = pathlib.Path(tempfile.mkdtemp(prefix=f"{damaged.step}-", dir=kept))
                self._folder(damaged.step).replace(place)
            sentence = str(damaged).partition(", and ")[0]
            print(
                f"warning: {sentence}: it is moved to {place}, and training goes on from step "
                f"{damaged.whole}",
                file=sys.stderr,
                flush=True,
            )
        # No process looks for the last checkpoint before.
        from_process_0("")

    def _folder(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

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
            self._manager.wait_until_finished()
            self._check_room(state)
            self._saving = step
            self._manager.save(
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
            self._manager.wait_until_finished()
            self._manager.close()

    def metadata(self, step: int) -> dict[str, Any]:
        """Returns the JSON values of a checkpoint."""
        with self._reading(step):
            return files.read_json(self._folder(step) / files.ABOUT)

    def metrics(self, step: int) -> dict[str, float]:
        """Returns the metrics of a checkpoint, none if it was not evaluated."""
        path = self._folder(step) / files.METRICS
        with self._reading(step):
            try:
                metrics = files.read_json(path) if path.exists() else {}
                if not all(isinstance(value, int | float) for value in metrics.values()):
                    raise ValueError("a metric is no number")
                return metrics
            except ValueError:
                self._check(step)
                raise

    def restore(
        self, step: int, abstract: TrainState, streams: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Returns the training state and the streams' states.

        Args:
          abstract: shapes and shardings of the training state.
          streams: shapes and shardings of the streams' states.
        """
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(to_dict(abstract)),
            stream=ocp.args.StandardRestore(streams),
        )
        with self._reading(step):
            restored = self._manager.restore(step, args=args)
        return from_dict(restored["state"], abstract), restored["stream"]

    def restore_params(self, step: int) -> dict[str, np.ndarray]:
        """Returns the parameters alone, by path, on the host."""
        with self._reading(step):
            return flatten_nested(
                files.read_arrays(self._folder(step) / "state", "params")["params"]
            )


def _make_folder(directory: pathlib.Path) -> None:
    with writing_to(directory, "fix that or choose another workdir"):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
