"""The golden report passes on the vectors we have, and notices what is wrong."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "testdata" / "golden"


def report(*arguments):
    return subprocess.run(
        [sys.executable, "tests/golden/report.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("directory", ["equal", "ragged"])
def test_everything_agrees_with_the_original(directory):
    result = report(GOLDEN / directory)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok") for line in lines)
    for name in ("encode", "mlm", "mfm", "fom", "vsm", "grad/"):
        assert any(name in line for line in lines)
    assert any("training final/" in line for line in lines) == (directory == "equal")


def test_alignment_agrees_with_the_original():
    assert report("--host", GOLDEN / "host").returncode == 0


def test_a_wrong_value_and_a_missing_file_fail(tmp_path):
    copy = shutil.copytree(GOLDEN / "ragged", tmp_path / "ragged")
    (copy / "fom.npz").unlink()
    encode = dict(np.load(copy / "encode.npz"))
    encode["clip1/temporal"] = encode["clip1/temporal"] + 1e-2
    np.savez(copy / "encode.npz", **encode)
    result = report(copy)
    assert result.returncode == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert any("clip1/temporal" in line for line in failed)
    assert any("fom.npz" in line for line in failed)
