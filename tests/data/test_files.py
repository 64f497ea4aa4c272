"""Files and folders that several programs want."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from data.errors import InputError
from data.files import locked, new_folder, passed_over, replacing
from tests.paths import ROOT

HOLDER = """
import sys
from pathlib import Path
from data.files import locked
with locked(Path(sys.argv[1]), "", ""):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another program that holds `tmp_path/lock` until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def take(path):
    with locked(path, "the folder is in use", "wait"):
        return path.read_text()


def test_the_refusal_says_who_holds_the_lock(tmp_path, holder):
    sentence = (
        rf"^the folder is in use by process {holder.pid} on {socket.gethostname()} since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d: wait$"
    )
    with pytest.raises(InputError, match=sentence):
        take(tmp_path / "lock")
    holder.stdin.close()
    assert holder.wait(60) == 0
    assert not (tmp_path / "lock").read_text()


def test_the_lock_of_a_killed_program_is_free(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(60)
    assert f"process {holder.pid} on" in (tmp_path / "lock").read_text()
    assert take(tmp_path / "lock").startswith(f"process {os.getpid()} on")


def test_a_program_holds_a_lock_once(tmp_path):
    with locked(tmp_path / "lock", "", ""), pytest.raises(InputError, match=f"{os.getpid()}"):
        take(tmp_path / "lock")
    take(tmp_path / "lock")


def test_an_error_frees_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", "", ""):
        raise ZeroDivisionError
    assert not (tmp_path / "lock").read_text()
    take(tmp_path / "lock")


def test_of_two_programs_that_make_a_folder_one_does(tmp_path):
    path = tmp_path / "exports" / "mine"
    with contextlib.ExitStack() as late:
        (late.enter_context(new_folder(path)) / "late").write_text("")
        with new_folder(path) as early:
            (early / "early").write_text("")
        with pytest.raises(InputError, match="mine exists already: choose another"):
            late.close()
    assert [file.name for file in path.iterdir()] == ["early"]
    assert [folder.name for folder in path.parent.iterdir()] == ["mine"]


def test_no_folder_is_left_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "mine"):
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["._a.npy", ".DS_Store", ".hidden.srt", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r"],
)
def test_passes_over_leftovers(name):
    assert passed_over(name)


@pytest.mark.parametrize("name", ["a.npy", "a..srt", "thumbs.srt", "icon", "_a.npy", "-a.npy"])
def test_does_not_pass_over_names_of_videos(name):
    assert not passed_over(name)


def test_what_a_killed_program_left_is_overwritten(tmp_path):
    for _ in range(2):
        with (
            contextlib.suppress(ZeroDivisionError),
            replacing(tmp_path / "a.npz", alone=True) as path,
        ):
            assert path == tmp_path / ".a.new.npz"
            path.write_text("half")
            path.rename(tmp_path / "left")  # A killed program cannot remove it.
            raise ZeroDivisionError
        (tmp_path / "left").rename(path)
    with replacing(tmp_path / "a.npz", alone=True) as path:
        path.write_text("whole")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.npz": "whole"}
