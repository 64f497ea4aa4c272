"""Changes of an index that are killed or fail at any moment: no clip is lost, no file is left.

A process that forks must not have JAX's threads, so the checks run in a separate program: this
file, which imports NumPy, pytest and the index only.
"""

import errno
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.index import STORES, Index, Writer, open_index, open_writer
from tests.hero_jax.index.index_samples import content, entry, make, needs, value
from tests.paths import ROOT

MEMORY = "/dev/shm"
# A child lives until it may have made so many changes, and then for up to so many seconds.
CHANGES_AWAITED = 1
LIFE = 0.03
# Files of a segment.
KINDS = "frames", "norms", "clips", "words"
# Functions that ask the system for something; before each of them a change may end.
CALLS = {"open", "write", "seek", "truncate", "flush", "fsync", "replace", "unlink"}


def run(name, *arguments):
    command = [sys.executable, "-m", "tests.hero_jax.index.test_crash", name, *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)


@pytest.fixture
def folder(tmp_path):
    """A folder in memory, if there can be one: what a killed process has written there stays too.

    A disk would make each of the thousands of flushes wait.
    """
    parent = MEMORY if os.access(MEMORY, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield name


@pytest.mark.parametrize(
    ("store", "kills"),
    [
        ("files", 40),
        ("lance", 5),
        *(pytest.param(store, 200, marks=pytest.mark.slow) for store in STORES),
    ],
)
def test_killed_at_random_times(folder, store, kills):
    needs(store)
    run("kill_at_random_times", folder, kills, store)


def test_killed_at_each_call(folder):
    run("kill_at_each_call", folder)


def test_an_error_of_each_call(folder):
    run("fail_at_each_call", folder)


@pytest.mark.parametrize("store", STORES)
def test_no_room_for_larger_files(folder, store):
    needs(store)
    run("limit_files", folder, store)


# Changes without end, killed now and then


def plan(step: int, state: dict) -> tuple[str, tuple, dict]:
    """A change: the writer's method, its arguments, and what is there after it."""
    rng = np.random.default_rng(step)
    kind, there = rng.random(), sorted(state)
    if kind < 0.05:
        return "compact", (), state
    if kind < 0.25 and there:
        gone = rng.choice(there, min(len(there), 3), replace=False).tolist()
        return "delete", (gone,), {one: state[one] for one in there if one not in gone}
    names = rng.choice(40, rng.integers(1, 5), replace=False).tolist()
    entries = [entry(str(name), (step, name)) for name in names]
    return "add", (entries,), state | {one.clip_id: value(one) for one in entries}


class Course:
    """Returns the contents after each change from one on."""

    def __init__(self, step, state):
        self.first, self.states = step, [state]

    def after(self, count):
        while len(self.states) <= count:
            self.states.append(plan(self.first + len(self.states) - 1, self.states[-1])[2])
        return self.states[count]


def change_until_killed(path, step, state, pipe):
    """In a child: makes changes, and writes a byte for each that is complete."""
    try:
        with open_writer(path) as writer:
            for number in itertools.count(step):
                method, arguments, state = plan(number, state)
                getattr(writer, method)(*arguments)
                os.write(pipe, b".")
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def read_for(seconds, path, course):
    """Opens the index again and again: it holds what is there after one change or a later one."""
    count, first, end = 0, None, time.monotonic() + seconds
    while time.monotonic() < end:
        index = open_index(path)
        found = content(index)
        later = range(count, count + 200)
        count = next(number for number in later if course.after(number) == found)
        first = first or (index, found)
        assert content(first[0]) == first[1]
    return count


def elsewhere(function, *arguments):
    """Returns what a call returns in a fork: a process with threads of Lance must not fork."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, arguments)


def here(function, *arguments):
    return function(*arguments)


def stored(path):
    return content(open_index(path))


def kill_at_random_times(folder, kills, store):
    path, step, state, rng = folder / "index", 0, {}, random.Random(0)
    call = here
    if store == "lance":
        # Children have it then; importing it starts no threads.
        importlib.import_module("hero_jax.index.lance_store")
        call = elsewhere
    call(functools.partial(make, path, store=store))
    for _ in range(int(kills)):
        course = Course(step, state)
        pipe, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            change_until_killed(path, step, state, theirs)
        os.close(theirs)
        try:
            complete = sum(len(os.read(pipe, 1)) for _ in range(rng.randint(0, CHANGES_AWAITED)))
            seen = call(read_for, rng.random() * LIFE, path, course)
        finally:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child failed"
        complete += len(os.read(pipe, 1 << 16))
        os.close(pipe)
        state = call(stored, path)
        assert state in (course.after(complete), course.after(complete + 1))
        assert seen <= complete + 1
        step += complete + (state != course.after(complete))
    if store == "files":
        with Writer(path):
            check_files(path)
    print(f"{kills} kills, {step} changes, {len(state)} clips")


# Each change, ended before each call


def small(path, store="files"):
    """10 clips that came in 3 changes, one of them deleted."""
    make(path, store=store)
    with open_writer(path) as writer:
        for names in ("0123", "4", "56789"):
            writer.add([entry(name, int(name)) for name in names])
        writer.delete(["2"])
    return path


def full(path):
    """As many segments as there may be."""
    make(path)
    with Writer(path) as writer:
        for number in range(64):
            writer.add([entry(str(number), number)])
    return path


# An index, a change of it, and the tested calls: a merge makes many alike, to open the segments, to
# write their clips and to remove their files.
CHANGES = {
    "add": (small, lambda writer: writer.add([entry("a", 11), entry("b", 12)]), (0, 1)),
    "replace": (small, lambda writer: writer.add([entry(one, 13) for one in "a047"]), (0, 1)),
    "delete": (small, lambda writer: writer.delete(["1", "4"]), (0, 1)),
    "compact": (small, lambda writer: writer.compact(), (0, 1)),
    "merge": (full, lambda writer: writer.add([entry("64", 14)]), (190, 11)),
}


def check_files(path):
    """There are the files that the manifest names, and no others."""
    segments = json.loads((path / "index.json").read_text())["index"]["segments"]
    named = {f"{one['name']}.{kind}" for one in segments for kind in KINDS}
    named |= {f"{one['deleted']}.deleted" for one in segments if one["deleted"]}
    assert {file.name for file in path.iterdir()} == named | {"index.json", "lock"}


def at_call(number, act):
    """Does `act` before a call of the system, the first being number 0."""
    left = itertools.count(number, -1)

    def hook(frame, event, function):
        if event == "c_call" and function.__name__ in CALLS and next(left) == 0:
            act()

    sys.setprofile(hook)


def _linked(source, target):
    target.mkdir()
    for file in source.iterdir():
        os.link(file, target / file.name)
    return target


def copies(folder):
    """For each change: it, what is there before and after it, and fresh copies of the index.

    The copies share their files, of which a writer changes none: it makes others instead.
    """
    for name, (prepare, change, (first, stride)) in CHANGES.items():
        source = prepare(folder / name)
        whole = _linked(source, folder / f"{name} whole")
        with Writer(whole) as writer:
            change(writer)
        after = content(Index(whole))

        fresh = (
            (number, _linked(source, folder / f"{name} {number}"))
            for number in itertools.count(first, stride)
        )
        yield change, content(Index(source)), after, fresh


def kill_at_each_call(folder):
    for change, before, after, fresh in copies(folder):
        outcomes = []
        for number, path in fresh:
            child = os.fork()
            if child == 0:
                at_call(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
                with Writer(path) as writer:
                    change(writer)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            found = content(Index(path))
            outcomes.append(found == after)
            assert found in (before, after)
            with Writer(path):
                check_files(path)
            assert content(Index(path)) == found
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
        print(f"killed at {len(outcomes) - 1} calls, {sum(outcomes)} after the change")
        # Up to one call nothing is changed, and from then on all is.
        assert before == after or (outcomes == sorted(outcomes) and not outcomes[0])
        assert outcomes[-1]


def fail():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_at_each_call(folder):
    for change, before, after, fresh in copies(folder):
        for number, path in fresh:
            with Writer(path) as writer:
                at_call(number, fail)
                try:
                    change(writer)
                    error = ""
                except InputError as caught:
                    error = str(caught)
                is_over = sys.getprofile() is not None  # It is unset when it raises.
                sys.setprofile(None)
                found = content(Index(path))
                if error and "the change is made" not in error:
                    assert found == before
                    assert str(path) in error
                    assert "(No space left on device)" in error
                else:
                    assert found == after
                if found == before:
                    change(writer)
                    assert content(Index(path)) == after
            with Writer(path):
                check_files(path)
            if is_over:
                break
        print(f"failed at {number} calls")
        assert number > 10


def limit_files(folder, store):
    """The system itself refuses to write, in the middle of what it was asked to write."""
    source, outcomes = small(folder / "index", store), []
    before = stored(source)
    entries = [entry(str(number), number) for number in range(400)]
    after = {one.clip_id: value(one) for one in entries}
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, 100, 600, 5_000, 9_000, 15_000, 50_000, 500_000):
        path, error = shutil.copytree(source, folder / str(limit)), ""
        with open_writer(path) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
            try:
                writer.add(entries)
            except InputError as caught:
                error = str(caught)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            is_made = not error or ": the change is made" in error
            if error:
                assert f"{path} could not be written to (File too large): the " in error
                assert is_made or ": the index is as it was" in error
            assert stored(path) == (after if is_made else before)
            if store == "files":
                check_files(path)
        outcomes.append(is_made)
    assert outcomes == sorted(outcomes)
    assert not outcomes[0]
    assert outcomes[-1]


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
