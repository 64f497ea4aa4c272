"""Checkpoints that stay, those that are found, and one on a full disk."""

import errno
import hashlib
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
from hero_jax.training.checkpoint import Checkpoints, DamagedCheckpoint
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


def test_the_best_may_be_by_the_mean_of_several_metrics(directory):
    names = "vsm/r@1,mlm/loss,mlm/loss"
    assert Checkpoints(directory, best_metric=names, read_only=True).find("best") == 5


def test_a_checkpoint_that_went_or_was_never_scored_is_named(directory):
    checkpoints = Checkpoints(directory, best_metric="vsm/r@1,fom/accuracy", read_only=True)
    with pytest.raises(InputError, match=r"checkpoint='3' is not in .*best or one of 2, 4, 5"):
        checkpoints.find("3")
    with pytest.raises(InputError, match="was evaluated by 'vsm/r@1,fom/accuracy'"):
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


def truncate(folder):
    """Cuts all files of arrays, since which of them holds what is read differs between runs."""
    paths = sorted((folder / "state" / "ocdbt.process_0" / "d").iterdir())
    for path in paths:
        os.truncate(path, 100)
    return paths[0]


def flip(folder):
    """Changes what no reader of arrays checks: a few bits of one number."""
    path = max((folder / "state" / "ocdbt.process_0" / "d").iterdir(), key=os.path.getsize)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def remove(name):
    def damage(folder):
        shutil.rmtree(folder / name)
        return next((name for name in folder.glob(f"{name}/*")), folder / name)

    return damage


def empty(name):
    def damage(folder):
        (folder / name).write_text("")
        return folder / name

    return damage


DAMAGES = {
    "truncated": truncate,
    "flipped": flip,
    "no state": remove("state"),
    "no stream": remove("stream"),
    "no description": remove("about"),
    "empty description": empty("about/metadata"),
    "empty metrics": empty("metrics/metrics"),
    "empty checksums": empty("checksums.sha256"),
}
# What shows without checksums, by what reads it.
SEEN = {
    "truncated": "restore_params",
    "no state": "restore_params",
    "no description": "metadata",
    "empty description": "metadata",
    "empty metrics": "metrics",
}


def copy_of(directory, tmp_path, checksums=True):
    shutil.copytree(directory, tmp_path / "run")
    if not checksums:
        for path in (tmp_path / "run").glob("checkpoints/*/checksums.sha256"):
            path.unlink()
    return tmp_path / "run", tmp_path / "run" / "checkpoints"


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named_with_the_checkpoint_to_take_instead(directory, tmp_path, kind):
    workdir, folder = copy_of(directory, tmp_path)
    damaged = DAMAGES[kind](folder / "5").relative_to(folder / "5")
    truncate(folder / "4")
    checkpoints = Checkpoints(workdir, best_metric="vsm/r@1", read_only=True)
    for which in ("latest", "5", *(["best"] if kind == "empty metrics" else [])):
        with pytest.raises(DamagedCheckpoint) as caught:
            checkpoints.find(which)
        sentence = str(caught.value)
        assert sentence.startswith(f"checkpoint 5 of {folder} is damaged ({damaged}")
        assert sentence.endswith(f"), and 2 is whole: delete {folder / '5'}, or set checkpoint=2")
        assert (caught.value.step, caught.value.whole) == (5, 2)
    assert checkpoints.find("2") == 2


# Reads of other arrays that end later would each print a traceback.
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", SEEN)
def test_damage_without_checksums_is_found_in_reading(directory, tmp_path, kind):
    workdir, folder = copy_of(directory, tmp_path, checksums=False)
    truncate(folder / "4")
    DAMAGES[kind](folder / "5")
    checkpoints = Checkpoints(workdir, read_only=True)
    step = checkpoints.find("latest")
    with pytest.raises(DamagedCheckpoint) as caught:
        getattr(checkpoints, SEEN[kind])(step)
    assert str(caught.value).startswith(f"checkpoint 5 of {folder} is damaged (it cannot be read: ")
    assert caught.value.whole == 2


def test_checkpoints_without_checksums_are_read(directory, state, tmp_path):
    workdir, _ = copy_of(directory, tmp_path, checksums=False)
    checkpoints = Checkpoints(workdir, best_metric="vsm/r@1", read_only=True)
    assert checkpoints.find("best") == 2
    assert checkpoints.metrics(2) == {"vsm/r@1": 0.9, "mlm/loss": -0.9}
    assert checkpoints.metrics(4) == {}
    assert checkpoints.restore_params(4).keys() == flatten(state.params).keys()


def test_the_checksums_are_those_of_sha256sum(directory):
    folder = directory / "checkpoints" / "5"
    lines = (folder / "checksums.sha256").read_text().splitlines()
    named = {line[66:]: line[:64] for line in lines}
    assert {"about/metadata", "metrics/metrics", "state/_METADATA"} < named.keys()
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_where_none_is_whole_there_is_no_other_to_take(directory, tmp_path):
    workdir, folder = copy_of(directory, tmp_path)
    for step in folder.iterdir():
        flip(step)
    with pytest.raises(DamagedCheckpoint, match="no other is whole: choose another run") as caught:
        Checkpoints(workdir, read_only=True).find("latest")
    assert caught.value.whole is None
    with pytest.raises(DamagedCheckpoint, match=f"whole: delete {folder / '5'} to start anew"):
        Checkpoints(workdir).find("latest")


def test_a_checkpoint_that_a_run_removes_meanwhile_is_not_damaged(directory, tmp_path):
    workdir, folder = copy_of(directory, tmp_path)
    checkpoints = Checkpoints(workdir, read_only=True)
    step = checkpoints.find("latest")
    shutil.rmtree(folder / "5")
    with pytest.raises(InputError, match=r"checkpoint 5 .* was removed while it was read"):
        checkpoints.restore_params(step)


def test_a_damaged_checkpoint_is_set_aside_and_written_again(directory, state, tmp_path, capsys):
    workdir, folder = copy_of(directory, tmp_path)
    flip(folder / "5")
    checkpoints = Checkpoints(workdir, keep=2, best_metric="vsm/r@1")
    with pytest.raises(DamagedCheckpoint, match="or set on_damaged_checkpoint=previous") as caught:
        checkpoints.find("latest")
    checkpoints.set_aside(caught.value)
    (place,) = (workdir / "damaged").iterdir()
    assert place.name.startswith("5-")
    assert (place / "state").is_dir()
    warning = rf"^warning: checkpoint 5 of .* is damaged \(state/.*\): it is moved to {place}, and "
    assert re.match(f"{warning}training goes on from step 4\n$", capsys.readouterr().err)
    assert checkpoints.find("latest") == 4
    checkpoints.save(5, state, STREAM, {"step": 5})
    checkpoints.finish()
    assert Checkpoints(workdir, read_only=True).find("latest") == 5


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
