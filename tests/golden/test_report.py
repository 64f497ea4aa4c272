"""The golden report passes on the stored vectors and fails on wrong ones."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.paths import GOLDEN, ROOT

# Compiling takes longer than running.
QUICK = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
}


def report(*arguments):
    return subprocess.run(
        [sys.executable, "tests/golden/report.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **QUICK},
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
    for name in ("encode", "mlm", "mfm", "fom", "vsm", "video_qa", "violin", "captioning", "grad/"):
        assert any(name in line for line in lines)
    assert any("training final/" in line for line in lines) == (directory == "equal")


def test_alignment_and_ranking_agree_with_the_original(tmp_path):
    """A prediction at the wrong position fails."""
    result = report("--host", GOLDEN / "host")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    for name in ("subtitle_alignment[0]", "VCMR order", "nms SVMR scores", "VR_by_type t-r100"):
        assert name in result.stdout
    copy = shutil.copytree(GOLDEN / "host", tmp_path / "host")
    content = json.loads((copy / "moment_ranking.json").read_text())
    rows = content["predictions_nms"]["VCMR"][3]["predictions"]
    rows[7][:3], rows[8][:3] = rows[8][:3], rows[7][:3]
    (copy / "moment_ranking.json").write_text(json.dumps(content))
    result = report("--host", copy)
    failed = [line for line in result.stdout.splitlines() if not line.startswith("ok")]
    assert result.returncode == 1
    assert len(failed) == 1
    assert "moment_ranking_nms VCMR order" in failed[0]


def test_a_wrong_value_and_a_missing_file_fail(tmp_path):
    copy = shutil.copytree(GOLDEN / "ragged", tmp_path / "ragged")
    (copy / "fom.npz").unlink()
    encode = dict(np.load(copy / "encode.npz"))
    encode["clip1/temporal"] = encode["clip1/temporal"] + 1e-2
    np.savez(copy / "encode.npz", **encode)
    result = report(copy, "--files=encode,fom")
    assert result.returncode == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert any("clip1/temporal" in line for line in failed)
    assert any("fom.npz" in line for line in failed)
