"""Processes that share a list of films, that end in the middle, and a cluster."""

import contextlib
import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data.files import locked
from data.report import Report
from hero_jax.extract import work
from hero_jax.extract.__main__ import STOPPED
from hero_jax.extract.films import FoundFilm, find
from hero_jax.extract.output import FeatureFile
from hero_jax.extract.run import extract_all
from hero_jax.extract.subtitles import SubtitleChoice
from hero_jax.extract.work import FAILED, KEPT, MADE, Setup, prepare
from tests.hero_jax.extract.samples import files, stamps, write_film
from tests.paths import ROOT

SCRIPT = """
import sys
from tests.hero_jax.extract.samples import register
register()
from hero_jax.extract.__main__ import main
main(sys.argv[1:])
"""
FILMS = 6
NETWORKS = ("colours", "centre")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of films, only for reading."""
    folder = tmp_path_factory.mktemp("films")
    for seed in range(FILMS):
        write_film(folder / f"film{seed}.mp4", 20, seed=seed)
    return folder


@pytest.fixture
def setup(written, tmp_path):
    networks = tuple((name, written / "weights.pt") for name in NETWORKS)
    setup = Setup(
        tmp_path / "out", networks, Fraction(3, 2), False, "float32", 1_000_000, SubtitleChoice()
    )
    prepare(setup)
    return setup


@pytest.fixture
def start(folder, setup):
    """Starts a process that extracts from the films."""
    processes = []

    def start():
        weights = [f"--weights={name}={path}" for name, path in setup.networks]
        command = [sys.executable, "-c", SCRIPT, folder, f"--networks={','.join(NETWORKS)}"]
        process = subprocess.Popen(
            [*command, *weights, f"--out={setup.out}"],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def extract(setup, folder, beam=()):
    """Returns the names of films that were done, and of those that were finished before."""
    outcomes = extract_all(setup, find([folder], "", Report()), beam)
    states = {outcome.film.video_id: outcome.state for outcome in outcomes}
    assert set(states.values()) <= {MADE, KEPT}
    return tuple({name for name in states if states[name] == state} for state in (MADE, KEPT))


def finished(out: Path) -> set[str]:
    """Returns the networks and films whose files are complete; all others are whole or absent."""
    found = set()
    for path in (path for name in NETWORKS for path in (out / name).glob("[!.]*")):
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                assert arrays["features"].shape == (13, 3)
        else:
            assert FeatureFile.load(path)
            found.add(f"{path.parent.name}/{path.stem}")
    return found


def test_a_film_that_changes_while_it_is_read_is_not_finished(setup, tmp_path):
    path = write_film(tmp_path / "a.mp4", 4)
    film = FoundFilm("a", path)
    content = path.read_bytes()

    def download(done, length):
        path.write_bytes(content + b"more")

    outcome = work.extract(setup, film, download)
    assert (outcome.state, len(finished(setup.out))) == (FAILED, 0)
    assert outcome.reason == (
        f"{path} was changed while it was read: run the command again when it is complete"
    )
    assert work.extract(setup, film).state == MADE


def test_a_name_that_is_too_long_for_files(setup, tmp_path):
    path = write_film(tmp_path / f"{'ä' * 125}.mp4", 4)
    outcome = work.extract(setup, FoundFilm(path.stem, path))
    assert (outcome.state, outcome.reason) == (FAILED, f"{path} has too long a name: rename it")


def test_a_file_system_without_locks_is_said(setup, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    assert not prepare(setup)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert "is on a file system without locks: make sure" in prepare(setup)
    assert not [*(setup.out / ".locks").iterdir()]


def test_of_two_at_once_each_does_some_films(setup, folder):
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(extract, setup, folder) for _ in range(2)]
        (first, kept), (second, kept_too) = (run.result() for run in runs)
    assert not first & second
    assert len(first | second) == len(first | kept) == len(second | kept_too) == FILMS
    assert first
    assert second
    assert len(finished(setup.out)) == 2 * FILMS


def test_a_film_that_another_process_is_at_work_on_is_waited_for(setup, folder, capfd):
    with ThreadPoolExecutor(1) as pool:
        with locked(setup.out / ".locks" / "film2", "", ""):
            run = pool.submit(extract, setup, folder)
            printed = ""
            while "film2.mp4 is being read" not in printed:
                time.sleep(0.05)
                printed += capfd.readouterr().err
            assert f"is being read by process {os.getpid()} on " in printed
            assert len(finished(setup.out)) == 2 * (FILMS - 1)
            assert not run.done()
        done, _ = run.result(60)
    assert len(done) == FILMS


def check_the_rest_is_done(setup, folder):
    before, done = stamps(setup.out), finished(setup.out)
    whole = {name for name in (f"film{n}" for n in range(FILMS)) if f"centre/{name}" in done}
    made, kept = extract(setup, folder)
    assert kept == whole
    assert len(made) == FILMS - len(whole)
    files_kept = {f"{pair}{end}" for pair in done for end in (".npz", ".json")}
    assert {name: before[name] for name in files_kept}.items() <= stamps(setup.out).items()
    assert len(finished(setup.out)) == 2 * FILMS


HOW = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]


@pytest.mark.parametrize("how", HOW)
def test_an_interrupted_run_ends_in_order_and_the_next_goes_on(start, setup, folder, how):
    process = start()
    while process.poll() is None and not finished(setup.out):
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == f"error: {STOPPED}"
    assert "Traceback" not in errors
    check_the_rest_is_done(setup, folder)


def at_work(process, out):
    """Returns whether a process has begun with a film."""
    for path in (out / ".locks").iterdir():
        # Locks are removed when their films are done.
        with contextlib.suppress(FileNotFoundError):
            if f"process {process.pid} on" in path.read_text():
                return True
    return False


def kill_at_random(start, setup, folder, times):
    """Kills runs at random times after they have begun; what they do is undone now and then."""
    rng = random.Random(times)
    for _ in range(times):
        process = start()
        before = finished(setup.out)
        while process.poll() is None and not at_work(process, setup.out):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process.communicate()
        assert before <= finished(setup.out)
        if len(finished(setup.out)) > FILMS:
            for path in setup.out.rglob("film[!5]*.*"):
                path.unlink()
    check_the_rest_is_done(setup, folder)
    assert not [*setup.out.rglob(".*.new.*")]


@pytest.mark.slow
def test_killed_runs_leave_whole_files_and_the_next_does_the_rest(start, setup, folder):
    kill_at_random(start, setup, folder, 20)


def test_beam_does_the_same(setup, folder):
    extract(setup, folder)
    here = files(setup.out)
    setup.out.rename(setup.out.with_name("here"))
    prepare(setup)
    options = ("--runner=DirectRunner", "--direct_num_workers=2")
    options += ("--direct_running_mode=multi_threading",)
    assert len(extract(setup, folder, options)[0]) == FILMS
    assert files(setup.out) == here
    assert not [*setup.out.glob(".beam*")]
