"""Files of a folder of subtitles: which is read, and that all others are counted and named."""

import pytest

from data.errors import InputError
from data.report import Report
from data.sources.subtitles import open_subtitles

BESIDE = "files of subtitles of a video that has another one: not read"
OTHERS = "files and folders beside the subtitles, of other kinds: not read"


def test_a_folder_may_name_languages_and_hold_other_files(tmp_path):
    for name in (
        *("a.en.vtt", "b.pt-BR.srt", "c.zh_Hans.csv", "d.1.srt", "e.en", "g.ENG.srt", "h.eng.srt"),
        *("f.mp4", "i.en-orig.json3", "j.ass", "k.info.json", "l.JSON", "a.txt", "b.txt", "README"),
        *("._a.srt", ".DS_Store", "Thumbs.db", ".hidden.vtt"),
    ):
        (tmp_path / name).write_text("")
    (tmp_path / "old.srt").mkdir()
    report = Report()
    subtitles = open_subtitles(tmp_path, report=report)
    assert subtitles.ids() == {"a", "b", "c", "d.1", "g.ENG", "h", "i", "j", "l"}
    assert report.counts == {OTHERS: 7}
    assert report.examples[OTHERS] == [
        f"{tmp_path / 'README'}",
        f"{tmp_path / 'e.en'}",
        f"{tmp_path / 'k.info.json'}",
        f"{tmp_path / 'f.mp4'}",
        f"{tmp_path / 'a.txt'} and 1 more .txt",
        f"{tmp_path / 'old.srt'}",
    ]


def test_a_file_that_was_read_before_the_other_formats_is_read_still(tmp_path):
    for name in ("a.srt", "a.ass", "a.en.json3", "a.tsv"):
        (tmp_path / name).write_text("1\n00:00:01,000 --> 00:00:02,000\nHi\n")
    report = Report()
    subtitles = open_subtitles(tmp_path, report=report)
    assert [s.text for s in subtitles.read("a", Report())] == ["Hi"]
    assert subtitles.files("a") == [tmp_path / "a.srt"]
    assert report.counts == {BESIDE: 3}
    assert report.examples[BESIDE] == [
        str(tmp_path / name) for name in ("a.ass", "a.en.json3", "a.tsv")
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("a.srt", "a.vtt"),
        ("a.en.vtt", "a.vtt"),
        ("a.en.vtt", "a.de.vtt"),
        ("a.ass", "a.sbv"),
        ("a.srt", "a.csv", "a.ass"),
    ],
)
def test_a_video_has_one_file_in_a_folder(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="which are subtitles of a: leave one") as caught:
        open_subtitles(tmp_path)
    assert all(name in str(caught.value) for name in names[:2])


@pytest.mark.parametrize("names", [(), (".a.srt", "Thumbs.db"), ("a.txt",)])
def test_a_folder_without_subtitles_is_the_wrong_one(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"holds no subtitles.*: it needs files ID\.srt"):
        open_subtitles(tmp_path)
