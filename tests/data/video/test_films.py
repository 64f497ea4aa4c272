"""Films in files, folders, patterns and lists, their ids and the subtitles beside them."""

import os
import unicodedata

import pytest

from data.errors import InputError
from data.report import Report
from data.video.films import find_films, subtitle_file

OTHERS = "files beside the films, of other kinds: not read"
MISSING = "films of a list that do not exist: left out"


@pytest.fixture
def folder(tmp_path):
    """Returns a function that makes empty files."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path

    return make


def ids(places, report=None):
    return [film.video_id for film in find_films(places, report or Report())]


def test_all_films_of_a_folder_are_found(folder):
    names = ("b.mp4", "s1/a.MKV", "s1/deep/c.x.webm", "s2/d.avi", "notes.txt", "s1/a.srt", "e.jpg")
    path = folder(*names, "._b.mp4", ".hidden/f.mp4", "__MACOSX/g.mp4", "s1/Thumbs.db")
    report = Report()
    films = find_films([path], report)
    assert [film.video_id for film in films] == ["a", "b", "c.x", "d"]
    assert films[0].path == path / "s1" / "a.MKV"
    assert report.counts == {OTHERS: 2}


def test_links_that_lead_back_are_followed_once(folder):
    path = folder("a/x.mp4")
    (path / "a" / "back").symlink_to(path)
    (path / "y.mp4").symlink_to(path / "a" / "x.mp4")
    assert len(ids([path])) == 1


def test_files_and_patterns_are_found(folder):
    path = folder("a.mp4", "b.mp4", "b.txt.dat", "s/c.webm", "s/d.srt")
    assert ids([path / "a.mp4", path / "b.txt.dat"]) == ["a", "b.txt"]
    report = Report()
    assert ids([path / "*", path / "a.mp4"], report) == ["a", "b"]
    assert report.counts == {OTHERS: 1}
    assert ids([path / "**/*.webm"]) == ["c"]
    (path / "[x].mp4").write_bytes(b"")
    assert ids([path / "[x].mp4"]) == ["[x]"]


def test_lists_name_films_and_folders(folder):
    path = folder("a.mp4", "s/b.webm", "far/c.mkv")
    text = f"# films\n\na.mp4\n  s  \nno.mp4\n{path / 'far' / 'c.mkv'}\n"
    (path / "list.txt").write_text(text)
    report = Report()
    assert ids([path / "list.txt"], report) == ["a", "b", "c"]
    assert report.examples[MISSING] == [f"{path / 'list.txt'} line 5: no.mp4"]


def test_places_without_films_are_refused(folder):
    path = folder("a.srt", "list.txt")
    with pytest.raises(InputError, match="no does not exist: check its name"):
        find_films([path / "no"], Report())
    for place in (path, path / "*.mp4"):
        with pytest.raises(InputError, match="holds no films: give files mp4, mkv"):
            find_films([place], Report())
    for text in ("", "no.mp4\n"):
        (path / "list.txt").write_text(text)
        with pytest.raises(
            InputError, match=r"list\.txt names no film that exists: write the path"
        ):
            find_films([path / "list.txt"], Report())
    with pytest.raises(InputError, match="a list of paths, even of one"):
        find_films(str(path), Report())


def test_two_films_with_one_id_are_refused(folder):
    path = folder("s1/a.mp4", "s2/a.mkv", "b.mp4", "b.webm")
    with pytest.raises(InputError, match=r"s2/a\.mkv would both have the id 'a': .*each folder by"):
        find_films([path / "s1", path / "s2"], Report())
    with pytest.raises(InputError, match=r"b\.webm would both have the id 'b': rename"):
        find_films([path / "b.*"], Report())
    with pytest.raises(InputError, match="the id 'a', and so for 1 more ids: "):
        find_films([path], Report())


def test_ids_are_composed_and_utf8(folder):
    name = unicodedata.normalize("NFD", "é.mp4")
    path = folder(name, unicodedata.normalize("NFD", "é.srt"))
    (film,) = find_films([path], Report())
    assert film.video_id == unicodedata.normalize("NFC", "é")
    assert film.subtitles == (path / unicodedata.normalize("NFD", "é.srt"),)
    os.rename(path / name, os.fsencode(path) + b"/\xff.mp4")
    with pytest.raises(InputError, match="name is not UTF-8"):
        find_films([path], Report())


def test_the_subtitles_of_the_language_are_chosen(folder):
    path = folder("a.mp4", "a.en.srt", "a.pt-BR.srt", "b.mp4", "b.vtt", "b.de.srt", "c.mp4")
    path = folder("c.en.mp4", "c.en.srt", "c.en.de.ass", "._a.srt")
    films = {film.video_id: film for film in find_films([path], Report())}

    def chosen(video_id, language=""):
        file = subtitle_file(films[video_id], language, Report())
        return file and file.name

    assert chosen("a", "eng") == "a.en.srt"
    assert chosen("a", "pt") == "a.pt-BR.srt"
    assert chosen("a", "fr") is None
    with pytest.raises(InputError, match=r"has both a\.en\.srt and a\.pt-BR\.srt"):
        chosen("a")
    assert chosen("b", "de") == "b.de.srt"
    assert chosen("b", "en") == "b.vtt"
    assert chosen("c") is None
    assert chosen("c.en") == "c.en.srt"
    assert chosen("c.en", "de") == "c.en.de.ass"


def test_files_that_are_not_chosen_are_counted(folder):
    (film,) = find_films([folder("a.mp4", "a.srt", "a.ass")], Report())
    report = Report()
    assert subtitle_file(film, "", report).name == "a.srt"
    assert sum(report.counts.values()) == 1
