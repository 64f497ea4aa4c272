"""However devices and processes share a batch, the run is the same."""

import functools
import json
import shutil
import signal
import socket

import pytest

from tests.end_to_end.harness import scalars, steps, train

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
# Processes do not share what they compile, so two of them train only the task whose negatives and
# evaluation are from all devices.
TWO_PROCESSES = SETTINGS | {
    # Long enough to be stopped before its end: the processes agree on the step within a few.
    "optimizer__steps": 12,
    "save_every": 1,
    "tasks__mlm": 0.0,
    "tasks__mfm_nce": 0.0,
    "tasks__fom": 0.0,
    "model__dropout": 0.0,
    "model__attention_dropout": 0.0,
}
MIXED = "data=2, fsdp=2, tensor=2"
MESHES = {MIXED: {"mesh__fsdp": 2, "mesh__tensor": 2}, "data=8": {}}


def two_processes(runs, workdir):
    """Two processes, which a signal to one of them stops, and which are started again."""
    for stop in (True, False):
        processes = start_two(runs, workdir)
        if stop:
            processes[0].wait_for_step(1)
            processes[1].signal(signal.SIGTERM)
        for process in processes:
            assert process.wait() == 0, process.text
        assert (max(steps(workdir)) < TWO_PROCESSES["optimizer__steps"]) == stop


def start_two(runs, workdir):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    commands = [
        runs.command(
            workdir,
            [f"--coordinator={address}", "--processes=2", f"--process={number}"],
            **TWO_PROCESSES,
        )
        for number in range(2)
    ]
    return [runs.start(command) for command in commands]


@pytest.fixture(scope="module")
def workdir(runs, eight_devices, tmp_path_factory):
    """Returns the workdir of a run on a mesh of eight devices."""

    @functools.cache
    def workdir(mesh):
        folder = tmp_path_factory.mktemp("eight")
        eight_devices(train, runs.config(**SETTINGS, **MESHES[mesh], save_every=SAVED), folder)
        return folder

    return workdir


@pytest.fixture(scope="module")
def expected(runs, tmp_path_factory):
    """Losses and metrics of a run on one device."""
    return one_device(runs, tmp_path_factory.mktemp("one"), SETTINGS)


def one_device(runs, folder, settings):
    runs.train(folder, **settings)
    return reported(folder)


def reported(workdir):
    """Losses and metrics by name and step, without values that depend on the clock."""
    return {
        (name, step): value
        for (name, step), value in scalars(workdir).items()
        if name.startswith(("train/", "eval/"))
    }


@pytest.mark.slow
def test_every_task_is_trained_at_every_step(expected):
    for task in ("mlm", "mfm_nce", "fom", "vsm"):
        for step in range(1, STEPS + 1):
            assert expected[f"train/{task}/loss", step] > 0
        assert expected[f"eval/{task}/loss", STEPS] > 0


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_losses_and_metrics_are_those_of_one_device(workdir, expected, mesh):
    assert reported(workdir(mesh)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_losses_and_metrics_of_two_processes_are_those_of_one_device(runs, pool, tmp_path):
    two = pool.submit(two_processes, runs, tmp_path / "two")
    expected = one_device(runs, tmp_path / "one", TWO_PROCESSES)
    two.result()
    assert reported(tmp_path / "two") == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_a_checkpoint_scores_what_it_scored_in_training(runs, workdir, expected):
    """In evaluation mode, on one device, after training on eight."""
    folder = workdir(MIXED)
    runs.run(folder, ["--mode=evaluate"], **SETTINGS)
    scores = json.loads((folder / f"evaluation-validation-{STEPS}.json").read_text())
    trained = {name: expected[f"eval/{name}", STEPS] for name in scores}
    assert scores == pytest.approx(trained, rel=1e-5, abs=1e-6)
    assert {"mlm/loss", "vsm/r@1", "queries/r@1"} <= scores.keys()


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_resumes_on_one(runs, workdir, expected, tmp_path):
    """As if the run on eight devices had stopped after the checkpoint."""
    checkpoint = f"checkpoints/{SAVED}"
    shutil.copytree(workdir(MIXED) / checkpoint, tmp_path / checkpoint)
    runs.train(tmp_path, **SETTINGS)
    after = {key: value for key, value in expected.items() if key[1] > SAVED}
    assert reported(tmp_path) == pytest.approx(after, rel=1e-5, abs=1e-6)
