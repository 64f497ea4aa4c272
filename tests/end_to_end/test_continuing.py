"""A run that is started again while it runs, after damage to its last checkpoint, or for longer."""

import shutil

import pytest

from data.errors import InputError
from hero_jax import export
from hero_jax.training.checkpoint import DamagedCheckpoint
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.workdir import held
from tests.end_to_end.harness import (
    assert_same_bits,
    make_program,
    saved,
    scalars,
    sentence,
    steps,
    train,
)

# One task takes less to compile than four.
SETTINGS = {
    "optimizer__steps": 4,
    "save_every": 2,
    "tasks__mfm_nce": 0.0,
    "tasks__vsm": 0.0,
    "tasks__fom": 0.0,
}


@pytest.fixture(scope="module")
def program(runs):
    return make_program(runs.config(**SETTINGS))


@pytest.fixture(scope="module")
def trained(runs, program, tmp_path_factory):
    """The workdir of a run of four steps with checkpoints of steps 2 and 4."""
    workdir = tmp_path_factory.mktemp("trained")
    train(runs.config(**SETTINGS), workdir, program)
    assert steps(workdir) == [2, 4]
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def damage(workdir):
    """Removes the state of the last checkpoint; returns the beginning of all sentences about it."""
    shutil.rmtree(workdir / "checkpoints" / "4" / "state")
    return f"checkpoint 4 of {workdir / 'checkpoints'} is damaged (state/"


def test_a_second_run_touches_nothing(runs, program, tmp_path):
    being_written = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp" / "state"
    being_written.mkdir(parents=True)
    with held(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match="is in use by process"):
            train(runs.config(**SETTINGS), tmp_path, program)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_run_is_evaluated_and_exported_while_it_goes_on(runs, program, trained):
    with held(trained):
        assert evaluate_checkpoint(runs.config(**SETTINGS), trained, program)
        assert export.from_run(trained).params


def test_a_damaged_checkpoint_is_a_sentence(runs, program, workdir):
    start, folder = damage(workdir), workdir / "checkpoints" / "4"
    for function, advice in (
        (lambda: train(runs.config(**SETTINGS), workdir, program), " to go on from 2, or set "),
        (lambda: evaluate_checkpoint(runs.config(**SETTINGS), workdir, program), ", or set "),
        (lambda: export.from_run(workdir), ", or set checkpoint=2"),
    ):
        with pytest.raises(DamagedCheckpoint) as caught:
            function()
        assert str(caught.value).startswith(start)
        assert f"), and 2 is whole: delete {folder}{advice}" in str(caught.value)
    assert evaluate_checkpoint(runs.config(**SETTINGS, checkpoint="2"), workdir, program)


def test_the_command_names_its_flag(runs, workdir, tmp_path):
    start = damage(workdir)
    out = tmp_path / "export"
    text = sentence(runs.start(["--mode=export", f"--workdir={workdir}", f"--out={out}"]))
    assert text.startswith(start)
    assert text.endswith(f"delete {workdir / 'checkpoints' / '4'}, or set --checkpoint=2")


def test_training_goes_on_from_the_checkpoint_before_if_it_may(runs, program, trained, workdir):
    """As earlier versions left them, without checksums."""
    damage(workdir)
    for path in workdir.glob("checkpoints/*/checksums.sha256"):
        path.unlink()
    start = f"checkpoint 4 of {workdir / 'checkpoints'} is damaged (it cannot be read: "
    config = runs.config(**SETTINGS, on_damaged_checkpoint="previous")
    lines = train(config, workdir, program).splitlines()
    assert lines[0].startswith(f"warning: {start}")
    assert lines[0].endswith("and training goes on from step 2")
    assert any("resuming at step 2 from" in line for line in lines)
    assert_same_bits(saved(workdir, 4), saved(trained, 4))


def test_a_finished_run_goes_on_for_longer(runs, workdir):
    lines = runs.train(workdir, **SETTINGS | {"optimizer__steps": 6}).splitlines()
    assert "was planned for optimizer.steps=4 and goes on to 6" in lines[0]
    assert steps(workdir) == [4, 6]
    rates = {step: rate for (name, step), rate in scalars(workdir).items() if "rate" in name}
    # It ends where the longer schedule does.
    assert rates[5] > rates[6]
    with pytest.raises(InputError, match=r"has optimizer.steps=6, not 4"):
        runs.train(workdir, **SETTINGS)
