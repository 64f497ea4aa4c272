"""The golden report passes on the stored vectors and fails on wrong ones."""

import json
import os
import pathlib
import runpy
import shutil
import sys

import numpy as np
import pytest

from tests.golden import report
from tests.paths import GOLDEN, ROOT

SHARED = os.environ.get("HERO_SHARED")


@pytest.fixture
def run(capsys):
    """Runs the report; returns True if all of it passes, and the lines it prints."""

    def run(*arguments):
        capsys.readouterr()
        passed = report.main([*map(str, arguments)])
        return passed, capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("directory", ["equal", "ragged"])
def test_everything_agrees_with_the_original(run, directory):
    passed, lines = run(GOLDEN / directory)
    assert passed, "\n".join(line for line in lines if not line.startswith("ok"))
    assert all(line.startswith("ok") for line in lines)
    for name in ("encode", "mlm", "mfm", "fom", "vsm", "video_qa", "violin", "captioning", "grad/"):
        assert any(name in line for line in lines)
    assert any("training final/" in line for line in lines) == (directory == "equal")


@pytest.mark.parametrize("variant", ["add", "concat", "sequence", "sub_only", "video_only"])
def test_variants_agree_with_value(run, variant):
    """Its small vectors: encoded clips, and logits of statements."""
    (directory,) = (path.parent for path in (GOLDEN / "value" / variant).glob("*/meta.json"))
    files = sorted(path.stem for path in directory.glob("*.npz") if path.stem != "clips")
    passed, lines = run(directory, f"--files={','.join(files)}")
    assert passed, "\n".join(line for line in lines if not line.startswith("ok"))
    for name in ("clip3/fused", "clip3/temporal"):
        assert any(name in line for line in lines)
    assert any("violin logits" in line for line in lines) == ("violin" in files)


@pytest.mark.slow
@pytest.mark.skipif(SHARED is None, reason="HERO_SHARED is not set")
def test_all_vectors_of_value_agree(run):
    passed, lines = run(pathlib.Path(SHARED) / "value" / "golden")
    assert passed, "\n".join(line for line in lines if line.startswith("FAIL"))
    for name in ("qa_probabilities", "vr_scores", "vlep logits", "video_captioning greedy_tokens"):
        assert any(name in line for line in lines)


def test_alignment_and_ranking_agree_with_the_original(run, tmp_path):
    """A prediction at the wrong position fails."""
    passed, lines = run("--host", GOLDEN / "host")
    assert passed, "\n".join(line for line in lines if not line.startswith("ok"))
    for name in ("subtitle_alignment[0]", "VCMR order", "nms SVMR scores", "VR_by_type t-r100"):
        assert any(name in line for line in lines)
    copy = shutil.copytree(GOLDEN / "host", tmp_path / "host")
    content = json.loads((copy / "moment_ranking.json").read_text())
    rows = content["predictions_nms"]["VCMR"][3]["predictions"]
    rows[7][:3], rows[8][:3] = rows[8][:3], rows[7][:3]
    (copy / "moment_ranking.json").write_text(json.dumps(content))
    passed, lines = run("--host", copy)
    failed = [line for line in lines if not line.startswith("ok")]
    assert not passed
    assert len(failed) == 1
    assert "moment_ranking_nms VCMR order" in failed[0]


def test_a_wrong_value_and_a_missing_file_fail(tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(GOLDEN / "ragged", tmp_path / "ragged")
    (copy / "fom.npz").unlink()
    encode = dict(np.load(copy / "encode.npz"))
    encode["clip1/temporal"] = encode["clip1/temporal"] + 1e-2
    np.savez(copy / "encode.npz", **encode)
    # Running the file, not `main`, shows the exit status that a user sees.
    command = ["tests/golden/report.py", str(copy), "--files=encode,fom"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exit_of_command:
        runpy.run_path(str(ROOT / command[0]), run_name="__main__")
    assert exit_of_command.value.code == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert any("clip1/temporal" in line for line in failed)
    assert any("fom.npz" in line for line in failed)
