"""The one training loop."""

import collections
import contextlib
import functools
import math
import os
import pathlib
import signal
import sys
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from data.arguments import user_path
from data.errors import InputError
from data.files import NO_ROOM, replacing, writing_to
from data.pipeline.stream import initial_state
from hero_jax.experiment.experiment import Experiment
from hero_jax.metrics.report import table
from hero_jax.training import curves, flops
from hero_jax.training.checkpoint import ADVICE, Checkpoints, DamagedCheckpoint
from hero_jax.training.compiling import Compiling, enough_memory
from hero_jax.training.evaluate import evaluate
from hero_jax.training.feed import ONLY, Feeds, stream_from_devices, stream_sharding
from hero_jax.training.init_from import initial_params
from hero_jax.training.logs import Log, Meter
from hero_jax.training.state import TrainState
from hero_jax.training.step import Program
from hero_jax.training.task_draws import draw_task
from hero_jax.training.workdir import held

# The profile leaves compilation out.
PROFILE_AFTER = 10
# Updates that the host may be ahead of the devices.
STEPS_AHEAD = 2
# Updates between two looks at their losses.
CHECK_EVERY = 10


def train(
    config: ConfigDict, workdir: str | os.PathLike, program: Program | None = None
) -> dict[str, float | int]:
    """Trains from the last checkpoint in `workdir`, or from the start, to `optimizer.steps`.

    SIGTERM and Ctrl-C save and end the run; a second Ctrl-C ends it at once.

    Args:
      program: compiled functions of an experiment that differs in its data alone, to use them
        again; a new one is made by default.

    Returns:
      The last evaluation's metrics.

    Raises:
      InputError: an error that the user can fix.
      KeyboardInterrupt: after Ctrl-C, when the run is saved.
    """
    workdir = user_path(workdir)
    experiment = Experiment(config)
    with held(workdir):
        return _train(experiment, workdir, program)


def _train(
    experiment: Experiment, workdir: pathlib.Path, program: Program | None
) -> dict[str, float | int]:
    config = experiment.config
    checkpoints = Checkpoints(workdir, config.keep_checkpoints, config.best_metric)
    groups = experiment.task_groups
    batches = {name: group.batches(group.config.data.train_split) for name, group in groups.items()}
    program = program or Program(config, experiment.tasks, experiment.mesh)
    with Compiling(experiment, program, batches) as compiling:
        state, streams = start_or_resume(experiment, program, checkpoints, compiling)
        with writing_to(workdir, ADVICE, NO_ROOM), Interruption() as interruption:
            # An export may read it now.
            with replacing(workdir / "config.json") as temporary:
                temporary.write_text(config.to_json_best_effort(indent=1))
            feeds = Feeds(experiment, batches, streams, int(state.step))
            log = Log(workdir, int(state.step), config.optimizer.steps)
            if state.step:
                log.say(f"resuming at step {state.step} from {checkpoints.directory}")
            for group in groups.values():
                for line in group.left_out.lines():
                    log.say(f"left out of training: {line}")
            try:
                run = _Run(experiment, program, compiling, checkpoints, feeds, log, workdir)
                results = run.train(state, interruption)
            except InputError:
                # Saves that have begun are of good steps.
                checkpoints.finish()
                raise
            finally:
                feeds.close()
                log.close()
    if interruption.by_keyboard:
        raise KeyboardInterrupt
    return results


def start_or_resume(
    experiment: Experiment, program: Program, checkpoints: Checkpoints, compiling: Compiling
) -> tuple[TrainState, dict[str, np.ndarray]]:
    """Returns the training state, and the stream state of this process's groups by task group.

    Begins to compile when nothing is wrong with the run.

    Raises:
      DamagedCheckpoint: the last checkpoint is, unless `on_damaged_checkpoint` is 'previous' and
        one before is whole, which is taken then.
    """
    while True:
        try:
            return _start_or_resume(experiment, program, checkpoints, compiling)
        except DamagedCheckpoint as damaged:
            if experiment.config.on_damaged_checkpoint != "previous" or damaged.whole is None:
                raise
            checkpoints.set_aside(damaged)


def _start_or_resume(
    experiment: Experiment, program: Program, checkpoints: Checkpoints, compiling: Compiling
) -> tuple[TrainState, dict[str, np.ndarray]]:
    fresh, like = {}, {}
    for name, group in experiment.task_groups.items():
        batch, division = group.config.batch, group.division
        fresh[name] = initial_state(division.local_groups, batch.max_waiting)
        shape = batch.groups, 2 * fresh[name].shape[1]
        like[name or ONLY] = jax.ShapeDtypeStruct(
            shape, np.int32, sharding=stream_sharding(division)
        )
    latest = checkpoints.find("latest")
    if latest is None:
        params = initial_params(experiment, program)
        draw = program.init if params is None else functools.partial(program.start_from, params)
        drawn = compiling.run(draw)
        compiling.begin(0)
        return drawn.result(), fresh
    experiment.check_same(checkpoints.metadata(latest), checkpoints.directory)
    compiling.begin(latest)
    state, streams = checkpoints.restore(latest, program.abstract_state(), like)
    return state, {
        name: stream_from_devices(streams[name or ONLY], group.division.local_groups)
        for name, group in experiment.task_groups.items()
    }


class _Run:
    """A run under way."""

    def __init__(
        self,
        experiment: Experiment,
        program: Program,
        compiling: Compiling,
        checkpoints: Checkpoints,
        feeds: Feeds,
        log: Log,
        workdir: pathlib.Path,
    ):
        self.experiment, self.program, self.config = experiment, program, experiment.config
        self.checkpoints, self.feeds, self.log = checkpoints, feeds, log
        self.compiling, self.workdir = compiling, workdir
        self.meter = Meter(feeds.waited)
        self.peak = flops.peak_flops(self.config.model.dtype)
        self.results: dict[str, float | int] = {}
        # Steps whose losses were not looked at yet.
        self.unchecked: collections.deque[tuple[int, str, dict]] = collections.deque()

    def train(self, state: TrainState, interruption: "Interruption") -> dict[str, float | int]:
        """Returns the last evaluation's metrics, after all steps or an interruption."""
        config, steps = self.config, self.config.optimizer.steps
        step = saved = first_step = int(state.step)
        while step < steps:
            state = self._update(state, step)
            step += 1
            _profile(config, step - first_step, self.workdir)
            last, stop = step == steps, interruption.at(step)
            evaluating = step % config.eval_every == 0 or last
            if step % config.log_every == 0 or last:
                self._report(step)
            if evaluating:
                self._evaluate(step, state)
            if step % config.save_every == 0 or evaluating or stop:
                self.check_losses()
                metadata = self.experiment.run_metadata()
                results = self.results if evaluating else None
                self.checkpoints.save(step, state, self.feeds.streams, metadata, results)
                saved = step
            if stop and not last:
                break
        self.checkpoints.finish()
        self._conclude(first_step, step, saved)
        return self.results

    def _update(self, state: TrainState, step: int) -> TrainState:
        config = self.config
        name = draw_task(config, step) if config.objective == "one_task" else "all"
        group = self.experiment.group_of(name)
        batch, counts, slots = self.feeds.take(group.name)
        with enough_memory(group.config.batch):
            self.compiling.wait(name)
            state, metrics = self.program.train_step(state, batch, name)
            self.unchecked.append((step + 1, name, metrics))
            if len(self.unchecked) > STEPS_AHEAD:
                # Two updates are always on their way: the host neither waits for the last one nor
                # runs ahead by more batches than the devices have room for.
                jax.block_until_ready(self.unchecked[-1 - STEPS_AHEAD][2]["loss"])
        if len(self.unchecked) >= CHECK_EVERY + STEPS_AHEAD:
            self.check_losses(keep=STEPS_AHEAD)
        trained = group.tasks.values() if name == "all" else [group.tasks[name]]
        operations = flops.training_flops(group.config, counts, trained)
        self.log.advance()
        self.meter.add(metrics, counts, slots, operations)
        return state

    def check_losses(self, keep: int = 0) -> None:
        """Checks all steps that were not looked at yet but the last few.

        Raises:
          InputError: the loss, gradient or parameters of one are not finite.
        """
        while len(self.unchecked) > keep:
            check_finite(*self.unchecked.popleft())

    def _report(self, step: int) -> None:
        self.check_losses()
        values = self.meter.report(self.feeds.waited, self.peak)
        self.log.scalars(step, values, headline(values))

    def _evaluate(self, step: int, state: TrainState) -> None:
        self.check_losses()
        with self.meter.paused():
            self.results = evaluate(self.experiment, self.program, state.params)
        self.log.scalars(step, {f"eval/{key}": value for key, value in self.results.items()})
        self.log.say(f"evaluation at step {step}:\n{table(self.results)}")

    def _conclude(self, first_step: int, step: int, saved: int) -> None:
        if step > first_step:
            self.log.say(f"steps {first_step + 1} to {step} trained on {self.meter.trained_on()}")
        if self.meter.left_out():
            self.log.say(f"not trained on: {self.meter.left_out()}")
        finished = step == self.config.optimizer.steps
        continues = "" if finished else "; the same command continues from there"
        self.log.say(f"step {saved} is saved in {self.checkpoints.directory}{continues}")
        if jax.process_index() == 0 and finished and step > first_step:
            self.log.say(f"curves are drawn in {curves.draw(self.workdir)}")


def headline(values: dict[str, float]) -> str:
    """Returns the metrics of a stretch of training that the terminal shows, in a line."""
    words = [f"loss {values['train/loss']:.3f}"]
    words += [
        f"{name.split('/')[1]} {100 * value:.0f}%"
        for name, value in values.items()
        if name.startswith("train/") and name.endswith("/accuracy")
    ]
    words += [
        f"{values['speed/clips_per_second']:.0f} clips/s",
        f"fill {100 * values['data/fill']:.0f}%",
        f"data wait {100 * values['speed/share_waiting_for_data']:.0f}%",
        f"MFU {100 * values['speed/model_flop_utilisation']:.0f}%",
    ]
    return "  ".join(words)


def check_finite(step: int, name: str, metrics: dict[str, Any]) -> None:
    """Checks a step's loss, gradient and parameters.

    Args:
      name: of the task.

    Raises:
      InputError: one of them is not finite; the step is not saved then.
    """
    for quantity in ("loss", "gradient_norm", "parameter_norm"):
        value = float(metrics[quantity])
        if not math.isfinite(value):
            raise InputError(
                f"the {quantity.replace('_', ' ')} of step {step} (task {name}) is {value}, and "
                "the checkpoints before it are kept: check the features, or lower "
                "optimizer.learning_rate in another workdir, which init_from may start from here"
            )


class Interruption:
    """A request to end the run, which all processes follow at the same step.

    SIGTERM asks for it, and so does Ctrl-C; a second Ctrl-C raises KeyboardInterrupt at once.

    Attributes:
      by_keyboard: whether Ctrl-C asked.
    """

    def __init__(self):
        self.asked = self.by_keyboard = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            # With several processes, JAX tells all of them of a SIGTERM.
            if number == signal.SIGINT or jax.process_count() == 1:
                with contextlib.suppress(ValueError):  # not in the main thread
                    self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        del frame
        self.asked = True
        if number == signal.SIGINT:
            self.by_keyboard = True
            print(
                "stopping after this step, to save it; Ctrl-C again ends at once",
                file=sys.stderr,
                flush=True,
            )
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if jax.process_count() > 1:
                os.kill(os.getpid(), signal.SIGTERM)

    def at(self, step: int) -> bool:
        """Returns whether the run has to be saved and ended after this step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.asked


def _profile(config: ConfigDict, steps_done: int, workdir: pathlib.Path) -> None:
    if not config.profile_steps:
        return
    if steps_done == PROFILE_AFTER:
        jax.profiler.start_trace(str(workdir / "profile"))
    elif steps_done == PROFILE_AFTER + config.profile_steps:
        jax.profiler.stop_trace()
