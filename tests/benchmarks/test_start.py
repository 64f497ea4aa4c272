"""The benchmark of a process's start, tiny."""

import pytest

from benchmarks import start
from configs import pretrain
from hero_jax.training.step import draw_task
from tests.end_to_end.harness import Runs, build


def test_the_first_updates_are_of_different_tasks(tmp_path):
    for model in start.MODELS:
        flag, fields = start.config_of(model, tmp_path)
        config = pretrain.get_config(flag.partition(":")[2])
        config.update_from_flattened_dict(fields)
        tasks = [draw_task(config, step) for step in range(config.optimizer.steps)]
        assert sorted(tasks) == sorted(name for name in config.tasks if config.tasks[name])


@pytest.mark.slow
def test_seconds_of_a_run(tmp_path):
    build(tmp_path / "films")
    settings = {"optimizer__steps": 2, "tasks__vsm": 0.0, "tasks__mfm_nce": 0.0, "tasks__fom": 0.0}
    flags = Runs(tmp_path / "films").command(tmp_path / "run", **settings)
    steps, end = start.run(flags, tmp_path / "cache")
    assert steps.keys() == {1, 2}
    assert (0, 0) < steps[1] <= steps[2] <= end
    assert any("step" in path.name for path in (tmp_path / "cache/compiled").glob("*-cache"))
