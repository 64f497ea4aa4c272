"""The command: what it prints, and what it refuses."""

import argparse
import codecs
import io
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import InputError
from hero_jax.index import Line
from hero_jax.search import __main__ as command
from hero_jax.search import output
from hero_jax.search.found import FoundMoment
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


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE], ids=repr)
def test_a_file_of_sentences_may_have_marks_and_nuls(tmp_path, content):
    text = "a red circle\r\n\n  a blue square\n\0\0"
    encoding = "utf-16-le" if content == codecs.BOM_UTF16_LE else "utf-8"
    path = tmp_path / "sentences.txt"
    path.write_bytes(content + text.encode(encoding))
    options = argparse.Namespace(sentences=["first"], file=str(path))
    assert [*command._sentences(options)] == ["first", "a red circle", "a blue square"]


def test_sentences_of_the_standard_input_may_have_a_mark(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffa red circle\n\n"))
    options = argparse.Namespace(sentences=[], file="-")
    assert [*command._sentences(options)] == ["a red circle"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read .No such file.*: correct its name"),
        (b"\xe9\n", "is not UTF-8 .*convert"),
        (b"\n \n", "has no sentences: write one on each line"),
    ],
)
def test_says_that_a_file_of_sentences_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "sentences.txt"
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        next(command._sentences(argparse.Namespace(sentences=[], file=str(path))))


def test_a_long_sentence_is_cut_in_the_table():
    table = output.table("red " * 10_000, [])
    assert "…" in table
    assert len(table) < 300


def test_a_name_with_line_breaks_stays_on_its_line():
    moment = FoundMoment("new\nline", "new\nline", 0.0, 1.5, 1.0, (Line(0.0, 1.0, "a\x1b[2J\nb"),))
    assert output.table("a\nb", [moment]).splitlines() == [
        "a b",
        "   1  new line  0:00–0:01                1",
        "           0:00  a [2J b",
    ]


def test_a_page_that_is_a_folder_is_refused_before_searching(tmp_path):
    with pytest.raises(SystemExit) as caught:
        command.main(["query", "a", "--model=none", "--index=none", f"--page={tmp_path}"])
    assert caught.value.code.endswith("is a folder: name a file in it, as found.html")


def test_a_page_stays_if_there_is_no_room_for_the_next(tmp_path):
    options = argparse.Namespace(index=Path("index"), page=tmp_path / "found.html")
    options.page.write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(InputError, match="could not be written to"):
            command._write_page(options, [], None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["found.html"]
    assert options.page.read_text() == "before"
