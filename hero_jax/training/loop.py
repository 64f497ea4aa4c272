"""The one training loop."""

import math
import pathlib
import signal

import jax
from jax.experimental import multihost_utils

from data.errors import InputError
from data.files import NO_ROOM, writing_to
from data.pipeline.stream import initial_state
from hero_jax import sharding
from hero_jax.experiment.experiment import Experiment
from hero_jax.metrics.report import table
from hero_jax.training import curves, flops
from hero_jax.training.checkpoint import ADVICE, Checkpoints
from hero_jax.training.evaluate import evaluate
from hero_jax.training.feed import ONLY, Feeds, stream_from_devices, stream_to_devices
from hero_jax.training.init_from import initial_params
from hero_jax.training.logs import Log, Meter
from hero_jax.training.step import Program, draw_task

# The profile leaves compilation out.
PROFILE_AFTER = 10


def train(config, workdir: str) -> dict[str, float]:
    """Trains from the last checkpoint in `workdir`, or from the start, to `optimizer.steps`.

    Returns:
      The last evaluation's metrics.

    Raises:
      InputError: whatever a person can put right.
    """
    experiment = Experiment(config)
    config = experiment.config
    checkpoints = Checkpoints(workdir, config.keep_checkpoints, config.best_metric)
    parts = experiment.parts
    batches = {name: part.batches(part.config.data.train_split) for name, part in parts.items()}
    program = Program(config, experiment.tasks, experiment.mesh)
    state, streams = start_or_resume(experiment, program, checkpoints)
    with writing_to(workdir, ADVICE, NO_ROOM):
        (pathlib.Path(workdir) / "config.json").write_text(config.to_json_best_effort(indent=1))
        feeds = Feeds(experiment, batches, streams, int(state.step))
        log = Log(workdir, int(state.step), config.optimizer.steps)
        for part in parts.values():
            for line in part.left_out.lines():
                log.say(f"left out of training: {line}")
        try:
            return _loop(experiment, program, checkpoints, state, feeds, log, workdir)
        except InputError:
            # What is on its way to the disk is good.
            checkpoints.finish()
            raise
        finally:
            feeds.close()
            log.close()


def start_or_resume(experiment, program, checkpoints):
    """The training state, and by part the local groups' stream state."""
    mesh = experiment.mesh
    fresh, like = {}, {}
    for name, part in experiment.parts.items():
        batch = part.config.batch
        groups = sharding.local_groups(mesh, batch.groups)
        fresh[name] = initial_state(groups, batch.max_waiting)
        array = stream_to_devices(fresh[name], mesh, batch.groups)
        like[name or ONLY] = jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)
    latest = checkpoints.latest()
    if latest is None:
        params = initial_params(experiment, program)
        return program.init() if params is None else program.start_from(params), fresh
    experiment.check_same(checkpoints.about(latest), checkpoints.directory)
    state, streams = checkpoints.restore(latest, program.abstract_state(), like)
    return state, {name: stream_from_devices(streams[name or ONLY]) for name in fresh}


def _loop(experiment, program, checkpoints, state, feeds, log, workdir):
    config = experiment.config
    steps = config.optimizer.steps
    step = first_step = int(state.step)
    interrupted = Interruption()
    meter = Meter(feeds.waited)
    peak = flops.peak_flops(config.model.dtype)
    results, saved, previous = {}, first_step, None
    while step < steps:
        name = draw_task(config, step) if config.objective == "one_task" else "all"
        part = experiment.part_of(name)
        batch, counts, slots = feeds.take(part)
        state, metrics = program.train_step(state, batch, name)
        step += 1
        log.advance()
        meter.add(
            metrics, counts, slots, flops.training_flops(experiment.parts[part], counts, name)
        )
        # The step before has ended by now, so that looking at its loss holds nothing up.
        check_finite(previous)
        previous = (step, name, metrics)
        _profile(config, step - first_step, workdir)
        last, stop = step == steps, interrupted.at(step)
        if step % config.log_every == 0 or last:
            values = meter.report(feeds.waited, peak)
            log.scalars(step, values, headline(values))
        if step % config.eval_every == 0 or last:
            check_finite(previous)
            with meter.paused():
                results = evaluate(experiment, program, state.params)
            log.scalars(step, {f"eval/{key}": value for key, value in results.items()})
            log.say(f"evaluation at step {step}:\n{table(results)}")
        if step % config.save_every == 0 or step % config.eval_every == 0 or last or stop:
            check_finite(previous)
            evaluated = results if step % config.eval_every == 0 or last else None
            checkpoints.save(step, state, feeds.streams, experiment.about(), evaluated)
            saved = step
        if stop and not last:
            break
    checkpoints.finish()
    if step > first_step:
        log.say(f"steps {first_step + 1} to {step} trained on {meter.trained_on()}")
    if meter.left_out():
        log.say(f"not trained on: {meter.left_out()}")
    log.say(f"step {saved} is saved in {checkpoints.directory}")
    if jax.process_index() == 0 and step == steps and step > first_step:
        log.say(f"curves are drawn in {curves.draw(workdir)}")
    return results


def headline(values: dict[str, float]) -> str:
    """What a person wants to see while it runs."""
    parts = [f"loss {values['train/loss']:.3f}"]
    parts += [
        f"{name.split('/')[1]} {100 * value:.0f}%"
        for name, value in values.items()
        if name.startswith("train/") and name.endswith("/accuracy")
    ]
    parts += [
        f"{values['speed/clips_per_second']:.0f} clips/s",
        f"fill {100 * values['data/fill']:.0f}%",
        f"data wait {100 * values['speed/share_waiting_for_data']:.0f}%",
        f"MFU {100 * values['speed/model_flop_utilisation']:.0f}%",
    ]
    return "  ".join(parts)


def check_finite(step_name_metrics) -> None:
    """InputError if a step had no finite loss, gradient or parameters; it is not saved then."""
    if step_name_metrics is None:
        return
    step, name, metrics = step_name_metrics
    for what in ("loss", "gradient_norm", "parameter_norm"):
        value = float(metrics[what])
        if not math.isfinite(value):
            raise InputError(
                f"The {what.replace('_', ' ')} of step {step} (task {name}) is {value} and the "
                "checkpoints before it are kept: check the features, or lower "
                "config.optimizer.learning_rate in another --workdir, which config.init_from may "
                "start from here."
            )


class Interruption:
    """Whether the run was asked to stop, on all processes at the same step."""

    def __init__(self):
        self.asked = False
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, signal_number, frame):
        del signal_number, frame
        self.asked = True

    def at(self, step: int) -> bool:
        """True if the run should be saved and ended after this step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.asked


def _profile(config, done: int, workdir) -> None:
    if not config.profile_steps:
        return
    if done == PROFILE_AFTER:
        jax.profiler.start_trace(str(pathlib.Path(workdir) / "profile"))
    elif done == PROFILE_AFTER + config.profile_steps:
        jax.profiler.stop_trace()
