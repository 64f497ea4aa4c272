"""An interrupted run that is started again ends with the bits of an uninterrupted run.

The runs are five epochs long, accumulate two batches per update, and have clips that wait for the
next batch at every checkpoint.
"""

import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

from tests.end_to_end.harness import assert_same_bits, saved, steps

STEPS = 12
SETTINGS = {
    "optimizer__steps": STEPS,
    "batch__accumulation": 2,
    # Every process traces and loads anew what it runs: one task takes less than four.
    "tasks__mfm_nce": 0.0,
    "tasks__vsm": 0.0,
    "tasks__fom": 0.0,
}
# Between the largest log of so short a run and the largest file of a checkpoint.
FILE_LIMIT = 32 << 10


def start(runs, workdir, **settings):
    return runs.start(runs.command(workdir, **SETTINGS, **settings))


def last_saved(workdir):
    folder = workdir / "checkpoints"
    return max(steps(workdir), default=0) if folder.exists() else 0


def killed_in_a_step(runs, workdir):
    process = start(runs, workdir, save_every=2)
    process.wait_for_step(random.randint(1, 4))
    time.sleep(random.uniform(0, 0.05))
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.text


def killed_in_a_save(runs, workdir):
    """Tries until a half-written checkpoint is left: the exact moment cannot be chosen."""
    for _ in range(3):
        process = start(runs, workdir, save_every=1)
        process.wait_for_path(workdir / "checkpoints", "*tmp*")
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.text
        if any((workdir / "checkpoints").glob("*tmp*")):
            return
    pytest.fail("no save was hit")


def stopped(runs, workdir):
    lines = _stopped(runs, workdir, signal.SIGTERM, status=0)
    assert lines[-1].startswith("step ")


def stopped_by_keyboard(runs, workdir):
    *_, saved, last = _stopped(runs, workdir, signal.SIGINT, status=1)
    assert saved.startswith("step ")
    assert last == "error: interrupted"


def _stopped(runs, workdir, number, status):
    """Stops a run by a signal; it says where it resumed and what it saved. Returns its lines."""
    before = last_saved(workdir)
    process = start(runs, workdir)
    process.wait_for_step(before + 1)
    process.signal(number)
    assert process.wait() == status, process.text
    last, checkpoints = last_saved(workdir), workdir / "checkpoints"
    assert before < last < STEPS
    assert (f"resuming at step {before} from {checkpoints}" in process.lines) == (before > 0)
    saying = f"step {last} is saved in {checkpoints}; the same command continues from there"
    assert saying in process.lines
    assert not any(checkpoints.glob("*tmp*"))
    return process.lines


def not_allowed_to_grow(runs, workdir):
    """Limits the size of files while the run writes checkpoints, as a quota does."""
    process = start(runs, workdir, save_every=1)
    process.wait_for_path(workdir / "checkpoints", str(last_saved(workdir) + 1))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    assert process.wait() == 1, process.text
    # Orbax's threads print messages too.
    (sentence,) = [line for line in process.lines if line.startswith("error: ")]
    assert f"{workdir / 'checkpoints'} could not be written to (File too large)" in sentence
    assert "make room and start the same command again" in sentence
    assert 0 < last_saved(workdir) < STEPS


def out_of_room(runs, workdir):
    """Fills the disk once the run is under way."""
    before = last_saved(workdir)
    process = start(runs, workdir, save_every=STEPS)
    process.wait_for_step(before + 1)
    ballast = workdir / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(workdir).free - (1 << 20)))
    assert process.wait() == 1, process.text
    assert process.lines[-1].startswith("error: a checkpoint takes up to ")
    assert f"{workdir / 'checkpoints'} has room for" in process.lines[-1]
    assert not any(line.startswith("Traceback") for line in process.lines)
    assert last_saved(workdir) == before
    ballast.unlink()


@pytest.fixture(scope="module")
def uninterrupted(runs, tmp_path_factory):
    """The workdir of a run that nothing happens to."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    runs.train(workdir, **SETTINGS, save_every=2, keep_checkpoints=STEPS, profile_steps=1)
    return workdir


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A file system of 32 MB; None where mounting is not allowed."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", folder]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def interrupted(runs, pool, tmp_path_factory):
    """The future of the workdir of a run that is killed and stopped."""
    workdir = tmp_path_factory.mktemp("interrupted") / "run"
    return pool.submit(run_with, [killed_in_a_save, stopped], runs, workdir)


@pytest.fixture(scope="module")
def haunted(runs, small_disk, pool, tmp_path_factory):
    """The future of the workdir of a run that all other misfortunes interrupt."""
    workdir = (small_disk or tmp_path_factory.mktemp("haunted")) / "run"
    misfortunes = [killed_in_a_step, stopped_by_keyboard, not_allowed_to_grow]
    if small_disk:
        misfortunes.append(out_of_room)
    return pool.submit(run_with, misfortunes, runs, workdir)


def run_with(misfortunes, runs, workdir):
    """Runs to the end, interrupted by one misfortune after the other; returns the workdir."""
    for misfortune in misfortunes:
        misfortune(runs, workdir)
    runs.run(workdir, **SETTINGS)
    return workdir


def test_the_runs_cross_epochs_and_carry_clips_over(runs, uninterrupted):
    folder = uninterrupted
    streams = [saved(folder, step, "stream")["['stream']"] for step in steps(folder)]
    states = [stream.view("int64") for stream in streams]
    assert states[-1][:, 0].min() > 4 * runs.metadata.clips["train"]
    assert all(state[:, 1].any() for state in states)


def test_a_profile_is_written_on_request(uninterrupted):
    assert any((uninterrupted / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("item", ["state", "stream"])
def test_a_run_killed_and_stopped_ends_with_the_same_bits(interrupted, uninterrupted, item):
    workdir = interrupted.result()
    assert_same_bits(saved(workdir, STEPS, item), saved(uninterrupted, STEPS, item))


@pytest.mark.slow
@pytest.mark.parametrize("item", ["state", "stream"])
def test_a_run_out_of_luck_ends_with_the_same_bits(haunted, uninterrupted, item):
    workdir = haunted.result()
    assert_same_bits(saved(workdir, STEPS, item), saved(uninterrupted, STEPS, item))


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_with_the_same_bits(haunted, uninterrupted, small_disk):
    """The last misfortune of the run, which says what to do."""
    if small_disk is None:
        pytest.skip("no right to mount a small file system")
    workdir = haunted.result()
    assert workdir.parent == small_disk
    assert_same_bits(saved(workdir, STEPS), saved(uninterrupted, STEPS))
