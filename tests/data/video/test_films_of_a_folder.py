"""Films of one folder: their ids are paths, and no two are alike."""

import os
import unicodedata
from pathlib import Path

import pytest

from data.errors import InputError
from data.report import Report
from data.video.films import NO_NAME, films_in


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")


def ids(folder, report=None):
    return {one.video_id: one.path.name for one in films_in(folder, report or Report())}


def test_ids_are_paths(tmp_path):
    make(tmp_path, "01.mp4", "b/01.mp4", "a/01.mp4", "a/c/02.MKV", "a/.hidden.mp4")
    assert [*ids(tmp_path)] == ["01", "a/01", "a/c/02", "b/01"]


def test_an_extension_tells_films_apart(tmp_path):
    make(tmp_path, "x.mp4", "x.mkv", "x.mp4.webm", "y.mp4")
    assert ids(tmp_path) == {
        "x.mkv": "x.mkv",
        "x.mp4": "x.mp4",
        "x.mp4.webm": "x.mp4.webm",
        "y": "y.mp4",
    }


def test_names_of_equal_letters_stay_apart(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    make(tmp_path, f"{decomposed}.mp4")
    assert [*ids(tmp_path)] == [composed]
    make(tmp_path, f"{composed}.mp4")
    assert len(ids(tmp_path)) == len([*tmp_path.iterdir()])


def test_subtitles_are_found_in_the_same_folder(tmp_path):
    make(tmp_path, "01.mp4", "01.srt", "b/01.mp4", "b/01.en.srt", "b/01.de.vtt", "c/01.mp4")
    found = {one.video_id: [p.name for p in one.subtitles] for one in films_in(tmp_path, Report())}
    assert found == {"01": ["01.srt"], "b/01": ["01.de.vtt", "01.en.srt"], "c/01": []}


def test_a_name_that_is_no_text_leaves_its_film_out(tmp_path):
    make(tmp_path, "a.mp4", Path(os.fsdecode(b"caf\xe9.mp4")))
    report = Report()
    assert [*ids(tmp_path, report)] == ["a"]
    assert report.counts == {NO_NAME: 1}


def test_a_folder_without_films_is_refused(tmp_path):
    make(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="holds no films"):
        films_in(tmp_path, Report())
