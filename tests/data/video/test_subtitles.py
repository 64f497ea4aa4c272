"""Subtitles in films: the same as those of files, and the track that is chosen."""

import pytest

from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.subtitles import read_subtitle_file
from data.video.films import find_films, subtitle_file
from data.video.languages import same_language
from data.video.subtitles import Track, choose_track, read_subtitles
from tests.data.video.film_samples import Words, grey_frames, write_film

CUES = ((0.5, 1.25, "Hello there."), (2.0, 3.5, "two\nlines"), (4.0, 4.5, "and & again"))
H264 = {"codec": "libx264", "pixels": "yuv420p"}
VP8 = {"codec": "libvpx", "pixels": "yuv420p"}


def texts(subtitles):
    return [subtitle.text for subtitle in subtitles]


@pytest.mark.parametrize(
    ("name", "codec", "film"),
    [
        ("a.mkv", "srt", {}),
        ("a.mkv", "ass", {}),
        ("a.webm", "webvtt", VP8),
        ("a.mp4", "mov_text", H264),
    ],
)
def test_all_kinds_of_text_are_read(tmp_path, name, codec, film):
    cues = [(s, e, t.replace("\n", "\\N") if codec == "ass" else t) for s, e, t in CUES]
    path = write_film(tmp_path / name, grey_frames(125), words=[Words(codec, cues, "ger")], **film)
    report = Report()
    assert read_subtitles(path, "de", report) == [
        RawSubtitle("Hello there.", 0.5, 1.25),
        RawSubtitle("two lines", 2.0, 3.5),
        RawSubtitle("and & again", 4.0, 4.5),
    ]
    assert not report.counts


def test_tags_and_overrides_are_left_out(tmp_path):
    words = [
        Words("srt", [(0, 1, "<i>Hi</i> {there}")], "eng"),
        Words("ass", [(0, 1, r"{\i1}Hi{\i0}\N{\p1}m 0 0 l 1 1{\p0}there")], "fre"),
    ]
    path = write_film(tmp_path / "a.mkv", grey_frames(50), words=words)
    assert texts(read_subtitles(path, "en")) == ["Hi {there}"]
    assert texts(read_subtitles(path, "fr")) == ["Hi there"]


def test_rolling_captions_are_read_once_as_from_files(tmp_path):
    """Both ways give the same sentences with the same times and counts."""
    cues = [(0, 2, "one two"), (2, 4, "one two\nthree four"), (4, 6, "three four\nfive six")]
    cues += [(6, 7, "five six\nseven"), (7, 8, " ")]
    blocks = [
        f"{n}\n00:00:{s:02},000 --> 00:00:{e:02},000\n{text}\n\n"
        for n, (s, e, text) in enumerate(cues, 1)
    ]
    film = write_film(tmp_path / "a.mkv", grey_frames(200), words=[Words("srt", cues)])
    (tmp_path / "b.srt").write_text("".join(blocks))
    inside, beside = Report(), Report()
    ours = read_subtitles(film, report=inside)
    theirs = read_subtitle_file(tmp_path / "b.srt", beside)
    assert ours == list(theirs)
    assert texts(ours) == ["one two", "three four", "five six", "seven"]
    assert inside.counts == beside.counts
    assert inside.counts


def test_layers_that_are_shown_at_a_time_are_kept_once(tmp_path):
    words = [Words("ass", [(0, 1, r"{\blur1}Hi"), (0, 1, "Hi"), (2, 3, "Hi")])]
    path = write_film(tmp_path / "a.mkv", grey_frames(50), words=words)
    report = Report()
    assert texts(read_subtitles(path, report=report)) == ["Hi", "Hi"]
    assert report.counts == {"subtitles that are shown in several layers: kept once": 1}


def test_times_are_those_of_a_film_that_starts_late(tmp_path):
    film = {"options": {"output_ts_offset": "7.03"}, "words": [Words("srt", CUES)]}
    path = write_film(tmp_path / "a.mkv", grey_frames(125), **film)
    assert [s.start for s in read_subtitles(path)] == [0.5, 2.0, 4.0]


def test_the_language_and_then_the_default_track_is_chosen(tmp_path):
    words = [
        Words("srt", [(0, 1, "forced")], "eng", is_default=True, is_forced=True),
        Words("srt", [(0, 1, "english")], "eng"),
        Words("srt", [(0, 1, "german")], "deu", is_default=True),
        Words("srt", [(0, 1, "german too")], "ger"),
    ]
    path = write_film(tmp_path / "a.mkv", grey_frames(50), words=words)
    assert texts(read_subtitles(path)) == ["german"]
    for language, expected in (("en", "english"), ("eng", "english"), ("de-DE", "german")):
        assert texts(read_subtitles(path, language)) == [expected]
    with pytest.raises(InputError, match=r"a\.mkv: there are no subtitles in 'fr': choose among"):
        read_subtitles(path, "fr")
    silent = write_film(tmp_path / "b.mkv", grey_frames(50))
    assert read_subtitles(silent, "fr") == []


def test_pictures_are_no_text():
    pictures = Track(2, "eng", "", "hdmv_pgs_subtitle", False, True, False)
    text = Track(3, "fre", "", "srt", True, False, True)
    assert choose_track([pictures, text]) == text
    assert choose_track([pictures]) is None
    with pytest.raises(InputError, match=r"choose among eng \(not readable\), fre"):
        choose_track([pictures, text], "en")


def test_tracks_of_pictures_are_named(tmp_path):
    path = write_film(tmp_path / "a.mkv", grey_frames(50), words=[Words("srt", CUES, "eng")])
    # Matroska names the kind of each track, here as long as that of DVD's.
    content = path.read_bytes()
    assert content.count(b"S_TEXT/UTF8") == 1
    path.write_bytes(content.replace(b"S_TEXT/UTF8", b"S_VOBSUB\0\0\0"))
    report = Report()
    assert read_subtitles(path, report=report) == []
    (reason,) = report.counts
    assert reason.startswith("tracks of subtitles that are pictures")
    assert report.examples[reason] == [f"{path} track 1 (eng, dvdsub)"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("en", "eng", True),
        ("en-US", "ENG", True),
        ("fre", "fra", True),
        ("zh", "chi", True),
        ("zh_Hans", "zho", True),
        ("de", "dan", False),
        ("haw", "haw", True),
        ("haw", "ha", False),
        ("", "en", False),
    ],
)
def test_languages_have_several_codes(one, other, same):
    assert same_language(one, other) == same_language(other, one) == same


def test_a_file_beside_a_film_is_taken_in_its_own_language_only(tmp_path):
    (tmp_path / "a.mkv").touch()
    (tmp_path / "a.de.vtt").touch()
    (film,) = find_films([tmp_path / "a.mkv"], Report())
    for language, file in {"": "a.de.vtt", "ger": "a.de.vtt", "en": None}.items():
        expected = file and tmp_path / file
        assert subtitle_file(film, language, Report()) == expected
