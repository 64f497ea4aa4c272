"""The folder of a run, which one run at a time writes to."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from data.errors import InputError
from data.files import NO_LOCKS, NO_WRITING, locked, writing_to

# Bytes of the longest text that processes tell each other.
_LONGEST = 4096


@contextlib.contextmanager
def held(workdir: str | os.PathLike) -> Iterator[None]:
    """Makes a workdir, and holds it for this run alone.

    Process 0 holds it for all processes of the run. Reading it needs no lock.

    Raises:
      InputError: another run holds it, or it cannot be written to.
    """
    refusal = ""
    with contextlib.ExitStack() as lock:
        if jax.process_index() == 0:
            try:
                _lock(Path(workdir), lock)
            except InputError as error:
                refusal = str(error)
        refusal = from_process_0(refusal)
        if refusal:
            raise InputError(refusal)
        yield


def _lock(workdir: Path, lock: contextlib.ExitStack) -> None:
    busy, advice = (
        f"{workdir} is in use",
        "wait until that run has ended, or choose another workdir",
    )
    failures = (*NO_WRITING, errno.EEXIST)
    with writing_to(workdir, "fix that or choose another workdir", failures):
        workdir.mkdir(parents=True, exist_ok=True)
        try:
            lock.enter_context(locked(workdir / "lock", busy, advice))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(
                f"warning: {workdir} is on a file system without locks: see to it that no other "
                "run uses it",
                file=sys.stderr,
                flush=True,
            )


def from_process_0(text: str) -> str:
    """Returns the text that process 0 has, in all processes."""
    if jax.process_count() == 1:
        return text
    buffer = np.zeros(_LONGEST, np.uint8)
    encoded = np.frombuffer(text.encode()[:_LONGEST], np.uint8)
    buffer[: len(encoded)] = encoded
    shared = np.asarray(multihost_utils.broadcast_one_to_all(buffer))
    return shared.tobytes().rstrip(b"\0").decode(errors="ignore")
