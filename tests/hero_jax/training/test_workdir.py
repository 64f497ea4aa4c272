"""One run at a time writes to a workdir."""

import errno
import fcntl
import os
import re

import pytest

from data.errors import InputError
from hero_jax.training.workdir import held


def test_a_second_run_is_refused_and_reads_as_it_likes(tmp_path):
    workdir = tmp_path / "runs" / "mine"
    sentence = (
        rf"^{re.escape(str(workdir))} is in use by process {os.getpid()} on .* since .*: wait "
        "until that run has ended, or choose another workdir$"
    )
    with held(workdir):
        with pytest.raises(InputError, match=sentence), held(workdir):
            pass
        with held(tmp_path / "runs" / "another"):
            pass
    with held(workdir):
        pass


def test_a_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file could not be written to"), held(tmp_path / "file"):
        pass


def test_without_locks_a_run_goes_on_with_a_warning(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path):
        pass
    warning = f"warning: {tmp_path} is on a file system without locks: see to it that no other run"
    assert capsys.readouterr().err.startswith(warning)
