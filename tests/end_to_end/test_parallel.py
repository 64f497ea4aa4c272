"""However devices and processes share a batch, the run is the same."""

import json
import shutil
import signal
import socket

import pytest

from tests.end_to_end.harness import scalars, steps

STEPS = 5
SAVED = 3
# Every task in every step, with candidates and negatives from all devices.
SETTINGS = {
    "optimizer__steps": STEPS,
    "objective": "weighted_sum",
    "mfm_nce__candidates": "batch",
    "batch__groups": 8,
    "batch__clips_per_group": 2,
}
MESHES = {
    "data=8": {},
    "data=2, fsdp=2, tensor=2": {"mesh__fsdp": 2, "mesh__tensor": 2},
}


def one_device(runs, folder):
    runs.run(folder / "one", **SETTINGS)
    return folder / "one"


def eight_devices(runs, folder, name):
    runs.run(folder / name, devices=8, **SETTINGS, **MESHES[name], save_every=SAVED)
    return folder / name


def then_one_device(runs, folder, eight):
    """From the checkpoint that eight devices saved, as if they had been stopped after it."""
    before, after = eight["data=8"].result() / "checkpoints", folder / "then one" / "checkpoints"
    shutil.copytree(before / str(SAVED), after / str(SAVED))
    runs.run(after.parent, **SETTINGS)
    return after.parent


def two_processes(runs, folder):
    """Stopped by a signal to one of them, and started again."""
    workdir = folder / "two"
    for stop in (True, False):
        processes = start_two(runs, workdir)
        if stop:
            processes[0].wait_for_step(1)
            processes[1].signal(signal.SIGTERM)
        for process in processes:
            assert process.wait() == 0, process.text
        assert (max(steps(workdir)) < STEPS) == stop
    return workdir


def start_two(runs, workdir):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    commands = [
        runs.command(
            workdir,
            [f"--coordinator={address}", "--processes=2", f"--process={number}"],
            **SETTINGS,
        )
        for number in range(2)
    ]
    return [runs.start(command) for command in commands]


@pytest.fixture(scope="module")
def workdirs(runs, pool, tmp_path_factory):
    """By name, the future of a workdir."""
    folder = tmp_path_factory.mktemp("parallel")
    one = pool.submit(one_device, runs, folder)
    two = pool.submit(two_processes, runs, folder)
    eight = {name: pool.submit(eight_devices, runs, folder, name) for name in MESHES}
    then_one = pool.submit(then_one_device, runs, folder, eight)
    return {"one device": one, "two processes": two, **eight, "then one": then_one}


@pytest.fixture(scope="module")
def expected(workdirs):
    """What one device reports."""
    return reported(workdirs["one device"].result())


def reported(workdir):
    """Losses and metrics by name and step, without what depends on the clock."""
    return {
        (name, step): value
        for (name, step), value in scalars(workdir).items()
        if name.startswith(("train/", "eval/"))
    }


def test_every_task_is_trained_at_every_step(expected):
    for task in ("mlm", "mfm_nce", "fom", "vsm"):
        for step in range(1, STEPS + 1):
            assert expected[f"train/{task}/loss", step] > 0
        assert expected[f"eval/{task}/loss", STEPS] > 0


@pytest.mark.parametrize("name", [*MESHES, "two processes"])
def test_losses_and_metrics_are_those_of_one_device(workdirs, expected, name):
    assert reported(workdirs[name].result()) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_checkpoint_scores_what_it_scored_in_training(runs, workdirs, expected):
    """In evaluation mode, on one device, whatever it was trained on."""
    workdir = workdirs["data=2, fsdp=2, tensor=2"].result()
    runs.run(workdir, ["--mode=evaluate"], **SETTINGS)
    scores = json.loads((workdir / f"evaluation-validation-{STEPS}.json").read_text())
    trained = {name: expected[f"eval/{name}", STEPS] for name in scores}
    assert scores == pytest.approx(trained, rel=1e-5, abs=1e-6)
    assert {"mlm/loss", "vsm/r@1", "queries/r@1"} <= scores.keys()


def test_a_checkpoint_of_eight_devices_goes_on_on_one(workdirs, expected):
    after = {key: value for key, value in expected.items() if key[1] > SAVED}
    assert reported(workdirs["then one"].result()) == pytest.approx(after, rel=1e-5, abs=1e-6)
