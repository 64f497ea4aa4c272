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
from runs import assert_same_bits, saved, steps

STEPS = 12
KILLS = 2
SETTINGS = {"optimizer__steps": STEPS, "batch__accumulation": 2}
# Between the largest log of so short a run and the largest file of a checkpoint.
FILE_LIMIT = 32 << 10


def start(runs, workdir, **settings):
    return runs.start(runs.command(workdir, **SETTINGS, **settings))


def finish(runs, workdir):
    return runs.run(workdir, **SETTINGS)


def killed_between_saves(runs, workdir):
    for step in sorted(random.sample(range(1, STEPS - 1), KILLS)):
        process = start(runs, workdir, save_every=2)
        process.wait_for_step(step)
        time.sleep(random.uniform(0, 0.05))
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.text
    finish(runs, workdir)


def killed_during_saves(runs, workdir):
    checkpoints, half_written = workdir / "checkpoints", "*tmp*"
    hits = 0
    for step in sorted(random.sample(range(1, STEPS - 1), KILLS)):
        process = start(runs, workdir, save_every=1)
        process.wait_for_step(step)
        process.wait_for_path(checkpoints, half_written)
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.text
        hits += any(checkpoints.glob(half_written))
    # The moment is not ours alone, but it should not be missed every time.
    assert hits
    finish(runs, workdir)
    assert not any(checkpoints.glob(half_written))


def stopped_and_limited(runs, workdir):
    """Then files may not grow any more, as under a quota."""
    process = start(runs, workdir)
    process.wait_for_step(2)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.text
    (last,) = steps(workdir)
    assert 2 <= last < STEPS
    assert process.lines[-1] == f"step {last} is saved in {workdir / 'checkpoints'}"
    process = start(runs, workdir, save_every=1)
    process.wait_for_path(workdir / "checkpoints", str(last + 1))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    assert process.wait() == 1, process.text
    # Orbax's threads have their say too.
    (sentence,) = [line for line in process.lines if line.startswith("error: ")]
    assert f"{workdir / 'checkpoints'} could not be written to (File too large)" in sentence
    assert "make room and start the same command again" in sentence
    assert last < max(steps(workdir)) < STEPS
    finish(runs, workdir)


def disk_full(runs, workdir):
    process = start(runs, workdir, save_every=6)
    process.wait_for_path(workdir / "checkpoints", "6")
    ballast = workdir / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(workdir).free - (1 << 20)))
    assert process.wait() == 1, process.text
    assert process.lines[-1].startswith("error: A checkpoint takes up to ")
    assert f"{workdir / 'checkpoints'} has room for" in process.lines[-1]
    assert not any(line.startswith("Traceback") for line in process.lines)
    assert steps(workdir) == [6]
    ballast.unlink()
    finish(runs, workdir)


STORIES = [killed_between_saves, killed_during_saves, stopped_and_limited, disk_full]


@pytest.fixture(scope="module")
def unbroken(runs, tmp_path_factory):
    """The workdir of a run that nothing happens to."""
    workdir = tmp_path_factory.mktemp("unbroken")
    runs.run(workdir, **SETTINGS, save_every=2, keep_checkpoints=STEPS)
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
def broken(runs, unbroken, pool, small_disk, tmp_path_factory):
    """By story, the future of its workdir."""
    folder = tmp_path_factory.mktemp("broken")

    def tell(story):
        if story is disk_full and small_disk is None:
            pytest.skip("no right to mount a small file system")
        workdir = (small_disk if story is disk_full else folder) / story.__name__
        story(runs, workdir)
        return workdir

    return {story: pool.submit(tell, story) for story in STORIES}


def test_the_runs_cross_epochs_and_carry_clips_over(runs, unbroken):
    streams = [saved(unbroken, step, "stream")["['stream']"] for step in steps(unbroken)]
    states = [stream.view("int64") for stream in streams]
    assert states[-1][:, 0].min() > 4 * runs.metadata.clips["train"]
    assert all(state[:, 1].any() for state in states)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_broken_run_ends_with_the_same_bits(broken, unbroken, story):
    workdir = broken[story].result()
    for item in ("state", "stream"):
        assert_same_bits(saved(workdir, STEPS, item), saved(unbroken, STEPS, item))
