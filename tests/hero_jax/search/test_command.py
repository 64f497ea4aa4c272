"""The command: what it prints, and what it refuses."""

import subprocess
import sys

import pytest

from hero_jax.search import __main__ as command
from hero_jax.search import output
from tests.paths import ROOT


def test_importing_the_command_prints_nothing_and_needs_no_training_requirements():
    code = """
import sys, hero_jax.search.__main__
training = {"tensorflow", "tensorflow_datasets", "orbax", "ml_collections", "hero_jax.export"}
assert not training & sys.modules.keys()
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_a_run_that_cannot_be_read_ends_with_one_line(tmp_path):
    """TensorFlow and Orbax, which it imports, print nothing."""
    (tmp_path / "checkpoints").mkdir()
    arguments = ["query", "a red circle", f"--model={tmp_path}", "--index=none"]
    process = subprocess.run(
        [sys.executable, "-m", "hero_jax.search", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout) == (1, "")
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'config.json'} cannot be read")


def test_a_page_without_a_folder_is_refused_before_searching(tmp_path):
    arguments = ["--model=none", "--index=none", f"--page={tmp_path / 'none' / 'found.html'}"]
    with pytest.raises(SystemExit) as caught:
        command.main(["query", "a red circle jumps", *arguments])
    assert f"there is no folder {tmp_path / 'none'}" in str(caught.value)


def test_a_long_sentence_is_cut_in_the_table():
    table = output.table("red " * 10_000, [])
    assert "…" in table
    assert len(table) < 300
