"""Which checkpoints stay, which are found, and what a full disk does to one."""

import errno
import os
import re
import shutil

import jax
import numpy as np
import pytest

from data.errors import InputError
from data.files import writing_to
from hero_jax import sharding
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_tasks
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.step import Program
from tests.hero_jax.tiny import TOKENS, make_config

SCORES = {1: 0.2, 2: 0.9, 3: 0.4, 4: None, 5: 0.5}
STREAM = np.arange(6, dtype=np.int32).reshape(1, 6)


@pytest.fixture(scope="module")
def program():
    config = make_config()
    return Program(
        config, make_tasks(config, TOKENS), sharding.make_mesh(config.mesh, jax.devices()[:1])
    )


@pytest.fixture(scope="module")
def state(program):
    return program.init()


@pytest.fixture(scope="module")
def directory(state, tmp_path_factory):
    """A workdir with five checkpoints saved, two of the last and the best to be kept."""
    workdir = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(workdir, keep=2, best_metric="vsm/r@1")
    for step, score in SCORES.items():
        metrics = None if score is None else {"vsm/r@1": score, "mlm/loss": -score}
        checkpoints.save(step, state, STREAM, {"step": step}, metrics)
    checkpoints.finish()
    return workdir


def test_the_last_and_the_best_stay(directory):
    kept = {int(path.name) for path in (directory / "checkpoints").iterdir()}
    assert kept == {2, 4, 5}


@pytest.mark.parametrize(
    ("which", "step"), [("latest", 5), ("best", 2), ("4", 4)], ids=lambda value: str(value)
)
def test_a_checkpoint_is_found_by_what_it_is(directory, which, step):
    checkpoints = Checkpoints(directory, best_metric="vsm/r@1", read_only=True)
    assert checkpoints.find(which) == step
    assert checkpoints.metadata(step) == {"step": step}


def test_a_checkpoint_that_went_or_was_never_scored_is_named(directory):
    checkpoints = Checkpoints(directory, best_metric="fom/accuracy", read_only=True)
    with pytest.raises(InputError, match=r"checkpoint='3' is not in .*best or one of 2, 4, 5"):
        checkpoints.find("3")
    with pytest.raises(InputError, match="was evaluated by 'fom/accuracy'"):
        checkpoints.find("best")


def test_what_was_saved_comes_back(program, state, directory):
    checkpoints = Checkpoints(directory, read_only=True)
    abstract = jax.ShapeDtypeStruct(STREAM.shape, STREAM.dtype, sharding=state.step.sharding)
    restored, stream = checkpoints.restore(5, program.abstract_state(), abstract)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    np.testing.assert_array_equal(stream, STREAM)
    params, expected = checkpoints.restore_params(5), flatten(state.params)
    assert params.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(params[name], array, err_msg=name)


def test_leftovers_of_systems_are_no_checkpoints(state, directory, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(directory, workdir)
    folders = [path for path in (workdir / "checkpoints").rglob("*") if path.is_dir()]
    for folder in (workdir, workdir / "checkpoints", *folders):
        for name in (".DS_Store", "._7", "Thumbs.db", "desktop.ini"):
            (folder / name).touch()
    checkpoints = Checkpoints(workdir, best_metric="vsm/r@1")
    assert (checkpoints.find("latest"), checkpoints.find("best")) == (5, 2)
    assert checkpoints.metadata(5) == {"step": 5}
    assert checkpoints.restore_params(5).keys() == flatten(state.params).keys()


def fail(error, cause=None):
    raise error from cause


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [(FULL,), (ValueError("in a thread"), FULL)], ids=len)
def test_a_full_disk_is_a_sentence(tmp_path, error):
    sentence = rf"{re.escape(str(tmp_path))} could not be written to \(No space left on device\)"
    with pytest.raises(InputError, match=sentence), writing_to(tmp_path, "make room"):
        fail(*error)


def test_a_bug_stays_one(tmp_path):
    with pytest.raises(ZeroDivisionError), writing_to(tmp_path, "make room"):
        fail(ZeroDivisionError())
