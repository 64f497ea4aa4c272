"""The tables of ablations: rows that can be run, their figures, and what is said of them."""

import pytest

from benchmarks import shapes, tables
from data import build
from hero_jax.experiment.experiment import Experiment


def build_here(command, **_):
    """Builds a dataset in this process."""
    options = [option for option in command[3:] if not option.startswith("--workers")]
    build.main([*options, "--workers=1"])


def test_every_row_can_be_run(tmp_path, monkeypatch, capsys):
    """Runs are checked as far as their data and batches, and not trained."""
    made = []

    def check(config, workdir):
        Experiment(config)
        made.append((workdir, config))

    monkeypatch.setattr(shapes.subprocess, "run", build_here)
    monkeypatch.setattr(shapes, "train", check)
    results = dict.fromkeys(tables.METRICS, 0.5)
    monkeypatch.setattr(tables, "evaluate_checkpoint", lambda *_: results)
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "runs")]
    tables.main(["--preset=shapes", *folders, "--num_clips=30", "--seeds=1"])
    pretrained = [name for name, row in tables.ROWS.items() if row.tasks]
    assert len(made) == len(tables.ROWS) + len(pretrained)
    configs = {workdir.rpartition("/")[2]: config for workdir, config in made}
    assert {*configs["mlm_mfm_vsm-0"].tasks} == {"mlm", "mfm_nce", "vsm"}
    assert configs["both-0"].data.name == "shapes,shapes_more"
    assert configs["flat-0-tvr"].model.encoder == "flat"
    assert configs["flat-0-tvr"].init_from == str(tmp_path / "runs/tables/shapes/flat-0")
    printed = capsys.readouterr().out
    for row in tables.ROWS.values():
        assert f"| {row.title}" in printed
    assert "VSM, clip: +0.00, seeds range over 0.00: not shown" in printed


def scores(*values):
    return [dict.fromkeys(tables.METRICS, value) for value in values]


def test_a_part_helps_if_the_difference_exceeds_the_seeds():
    found = {"all": scores(20.0, 22.0, 24.0), "mlm_mfm_vsm": scores(15.0, 16.0, 17.0)}
    found |= {"mlm_mfm_fom": scores(21.0, 23.0, 22.0), "flat": scores(30.0, 30.0, 30.0)}
    lines = tables.effects(found)
    assert "FOM, clip: +6.00, seeds range over 4.00: helps" in lines
    assert "VSM, clip: +0.00, seeds range over 4.00: not shown" in lines
    assert "hierarchy, clip: -8.00, seeds range over 4.00: harms" in lines
    assert not any(line.startswith("pre-training") for line in lines)
    row = next(line for line in tables.tables(found) if line.startswith("| all four "))
    assert row.count("22.00 (4.00)") == 3


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
def test_rows_of_two_steps_are_scored(tmp_path, capsys):
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "runs")]
    steps = ["--num_clips=30", "--steps=2", "--pretraining_steps=2", "--seeds=1"]
    tables.main(["--preset=shapes", *folders, *steps, "--rows", "mlm", "flat"])
    assert "| F-TRM" in capsys.readouterr().out
