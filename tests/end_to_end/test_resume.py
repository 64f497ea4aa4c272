"""A run that is broken off and started again ends with the weights of the unbroken run, bit by bit.

The runs are five epochs long, accumulate two batches an update, and have clips that wait for the
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
SETTINGS = {"optimizer__steps": STEPS, "batch__accumulation": 2}
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
    """Until a half-written checkpoint is left: the moment is not ours alone."""
    for _ in range(3):
        process = start(runs, workdir, save_every=1)
        process.wait_for_path(workdir / "checkpoints", "*tmp*")
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.text
        if any((workdir / "checkpoints").glob("*tmp*")):
            return
    pytest.fail("no save was hit")


def stopped(runs, workdir):
    before = last_saved(workdir)
    process = start(runs, workdir)
    process.wait_for_step(before + 1)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.text
    last = last_saved(workdir)
    assert before < last < STEPS
    assert process.lines[-1] == f"step {last} is saved in {workdir / 'checkpoints'}"
    assert not any((workdir / "checkpoints").glob("*tmp*"))


def not_allowed_to_grow(runs, workdir):
    """Files may not grow any more, as under a quota."""
    process = start(runs, workdir, save_every=1)
    process.wait_for_path(workdir / "checkpoints", str(last_saved(workdir) + 1))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    assert process.wait() == 1, process.text
    # Orbax's threads have their say too.
    (sentence,) = [line for line in process.lines if line.startswith("error: ")]
    assert f"{workdir / 'checkpoints'} could not be written to (File too large)" in sentence
    assert "make room and start the same command again" in sentence
    assert 0 < last_saved(workdir) < STEPS


def out_of_room(runs, workdir):
    """The disk is full: what is left of it is filled once the run is under way."""
    before = last_saved(workdir)
    process = start(runs, workdir, save_every=STEPS)
    process.wait_for_step(before + 1)
    ballast = workdir / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(workdir).free - (1 << 20)))
    assert process.wait() == 1, process.text
    assert process.lines[-1].startswith("error: A checkpoint takes up to ")
    assert f"{workdir / 'checkpoints'} has room for" in process.lines[-1]
    assert not any(line.startswith("Traceback") for line in process.lines)
    assert last_saved(workdir) == before
    ballast.unlink()


@pytest.fixture(scope="module")
def unbroken(runs, pool, tmp_path_factory):
    """The future of the workdir of a run that nothing happens to."""

    def run():
        runs.run(workdir, **SETTINGS, save_every=2, keep_checkpoints=STEPS, profile_steps=1)
        return workdir

    workdir = tmp_path_factory.mktemp("unbroken")
    return pool.submit(run)


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
def unlucky(runs, unbroken, tmp_path_factory):
    """The workdir of a run to which one thing happens after the other."""
    workdir = tmp_path_factory.mktemp("unlucky")
    for misfortune in (killed_in_a_step, killed_in_a_save, stopped, not_allowed_to_grow):
        misfortune(runs, workdir)
    runs.run(workdir, **SETTINGS)
    return workdir


def test_the_runs_cross_epochs_and_carry_clips_over(runs, unbroken):
    workdir = unbroken.result()
    streams = [saved(workdir, step, "stream")["['stream']"] for step in steps(workdir)]
    states = [stream.view("int64") for stream in streams]
    assert states[-1][:, 0].min() > 4 * runs.metadata.clips["train"]
    assert all(state[:, 1].any() for state in states)


def test_a_profile_is_written_on_request(unbroken):
    assert any((unbroken.result() / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("item", ["state", "stream"])
def test_a_run_killed_and_stopped_ends_with_the_same_bits(unlucky, unbroken, item):
    assert_same_bits(saved(unlucky, STEPS, item), saved(unbroken.result(), STEPS, item))


def test_a_run_on_a_full_disk_goes_on_with_the_same_bits(runs, unbroken, small_disk):
    if small_disk is None:
        pytest.skip("no right to mount a small file system")
    workdir = small_disk / "run"
    out_of_room(runs, workdir)
    runs.run(workdir, **SETTINGS)
    assert_same_bits(saved(workdir, STEPS), saved(unbroken.result(), STEPS))
