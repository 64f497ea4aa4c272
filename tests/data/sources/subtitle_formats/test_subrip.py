"""Written SubRip: its reader gives the subtitles back."""

import html
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.report import Report
from data.schema import RawSubtitle
from data.sources.subtitle_formats.base import Cue
from data.sources.subtitle_formats.registry import reader_of
from data.sources.subtitle_formats.subrip import to_subrip
from data.text import MARK

PLAIN = st.text(st.sampled_from("aZé 7.,:'!?&;<>/{}\\-–=→()[]#\n\t\r「」"), max_size=20)
ANY = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=MARK), max_size=20)
TIMES = st.integers(0, 4 * 10**8).map(lambda thousandths: thousandths / 1000)
SUBTITLES = st.builds(RawSubtitle, PLAIN | ANY, TIMES, TIMES)


def read(text):
    report = Report()
    file = Path("film.srt")
    read = [cue for _, cue in reader_of(file, text)(file, text, report)] if text else []
    assert not report.counts
    assert all(isinstance(cue, Cue) for cue in read)
    return read


@given(st.lists(SUBTITLES, max_size=5))
@example([RawSubtitle("<i>so</i> {\\an8} <00:01>", 0, 1), RawSubtitle("2", 1, 2)])
@example([RawSubtitle("00:01:00,000 --> 00:02:00,000", 0, 1), RawSubtitle("1 – &gt; 2", 1, 2)])
@example([RawSubtitle("1\n\n2\n00:00:01,000 → 00:00:02,000", 0.0005, 3600.5)])
def test_the_reader_gives_back_what_was_written(subtitles):
    cues = read(to_subrip(subtitles))
    kept = [subtitle for subtitle in subtitles if subtitle.text.split()]
    assert [html.unescape(cue.text) for cue in cues] == [
        html.unescape(" ".join(subtitle.text.split())) for subtitle in kept
    ]
    assert [(cue.start, cue.end) for cue in cues] == [
        (pytest.approx(subtitle.start, abs=0.00051), pytest.approx(subtitle.end, abs=0.00051))
        for subtitle in kept
    ]


def test_ordinary_text_is_written_as_it_is():
    said = 'Salt & pepper, <3, "a > b"... 5 - 3 = 2!'
    text = to_subrip([RawSubtitle(said, 3661.25, 3662.0), RawSubtitle("Yes.", -0.5, 1.9996)])
    assert text == (
        f"1\n01:01:01,250 --> 01:01:02,000\n{said}\n\n2\n00:00:00,000 --> 00:00:02,000\nYes.\n"
    )


def test_no_subtitles_are_an_empty_file():
    assert to_subrip([]) == to_subrip([RawSubtitle(" \n", 0, 1)]) == ""
