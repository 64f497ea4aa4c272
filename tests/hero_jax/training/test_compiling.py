"""Tasks are compiled before their first update, in the order in which a run needs them."""

import jax
import pytest

from configs import pretrain
from data.pipeline.stream import initial_state
from hero_jax.experiment.experiment import Experiment
from hero_jax.training.compiling import Compiling
from hero_jax.training.feed import training_batches
from hero_jax.training.step import Program
from hero_jax.training.task_draws import draw_task, tasks_ahead
from tests.end_to_end.harness import Runs, build


@pytest.mark.parametrize("step", [0, 7])
def test_tasks_ahead_are_in_the_order_of_their_updates(step):
    config = pretrain.get_config()
    draws = [draw_task(config, later) for later in range(step, step + 100)]
    assert tasks_ahead(config, step) == list(dict.fromkeys(draws))
    config.optimizer.steps = step + 2
    assert tasks_ahead(config, step) == list(dict.fromkeys(draws[:2]))


def test_tasks_that_are_hardly_drawn_are_not_ahead():
    config = pretrain.get_config()
    config.tasks.vsm = 1e-9
    assert "vsm" not in tasks_ahead(config, 0)
    config.objective = "weighted_sum"
    assert tasks_ahead(config, 0) == ["all"]


@pytest.fixture
def compiled(monkeypatch):
    """The number of functions that XLA has compiled so far."""
    events = []
    listen = lambda event, _, **__: events.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield lambda: events.count("/jax/core/compile/backend_compile_duration")
    jax.monitoring.unregister_event_duration_listener(listen)


def test_the_first_update_finds_what_was_compiled(tmp_path, compiled, capsys):
    build(tmp_path / "films")
    config = Runs(tmp_path / "films").config(batch__accumulation=2)
    for task in ("mfm_nce", "vsm", "fom"):
        config.tasks[task] = 0.0
    experiment = Experiment(config)
    program = Program(experiment.config, experiment.tasks, experiment.mesh)
    (group,) = experiment.task_groups.values()
    batches = group.batches("train")
    with Compiling(experiment, program, {group.name: batches}) as compiling:
        state = compiling.run(program.init)
        compiling.begin(0)
        compiling.wait("mlm")
        compiling.begin(0)
    said = capsys.readouterr().err
    assert said.count("compiled mlm in ") == said.count("compiled the update in ") == 1
    stream = initial_state(range(2), config.batch.max_waiting)
    batch, *_ = next(training_batches(batches, group.division, group.config, stream, 0))
    state = state.result()
    before = compiled()
    assert before
    state, _ = program.train_step(state, batch, "mlm")
    program.train_step(state, batch, "mlm")
    assert compiled() == before


def test_an_error_of_compiling_is_raised_by_the_update(tmp_path):
    build(tmp_path / "films")
    experiment = Experiment(Runs(tmp_path / "films").config(optimizer__steps=1))
    program = Program(experiment.config, experiment.tasks, experiment.mesh)
    (name,) = tasks_ahead(experiment.config, 0)
    with Compiling(experiment, program, {}) as compiling:
        compiling.begin(0)
        with pytest.raises(KeyError):
            compiling.wait(name)
