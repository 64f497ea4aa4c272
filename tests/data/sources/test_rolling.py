"""Rolling captions give each phrase once; people who repeat themselves keep their words."""

import json

import pytest

from data.report import Report
from data.sources.subtitles import open_subtitles
from tests.data.sources.subtitle_samples import REPEATS, read_cues, read_file

# As YouTube publishes recognised speech: a line of one space, and the time of every word.
YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:03.429 align:start position:0%
\x20
so<00:00:00.960><c> do</c><00:00:01.520><c> your</c><00:00:02.159><c.colorE5E5E5> cats</c>

00:00:03.429 --> 00:00:03.439 align:start position:0%
so do your cats
\x20

00:00:03.439 --> 00:00:05.749 align:start position:0%
so do your cats
sleep<00:00:03.760><c> or</c><00:00:04.000><c> play</c>

00:00:05.749 --> 00:00:05.759 align:start position:0%
sleep or play
\x20

00:00:05.759 --> 00:00:08.100 align:start position:0%
sleep or play
all<00:00:06.000><c> night</c>
"""
PHRASES = [
    (0.16, 3.429, "so do your cats"),
    (3.439, 5.749, "sleep or play"),
    (5.759, 8.1, "all night"),
]


def srt(*cues: tuple[float, float, str]) -> str:
    lines = []
    for number, (start, end, text) in enumerate(cues, 1):
        times = [f"00:00:{time:06.3f}".replace(".", ",") for time in (start, end)]
        lines += [str(number), " --> ".join(times), text, ""]
    return "\n".join(lines)


def test_youtubes_captions_give_each_phrase_once(tmp_path):
    subtitles, report = read_file(tmp_path, "a.en.vtt", YOUTUBE)
    assert subtitles == PHRASES
    assert report.counts == {REPEATS: 4}
    assert report.examples[REPEATS][0] == f"{tmp_path / 'a.en.vtt'} line 9"


def test_captions_of_one_phrase_give_it_once(tmp_path):
    content = YOUTUBE[: YOUTUBE.index("00:00:03.439 -->")]
    subtitles, report = read_file(tmp_path, "a.vtt", content)
    assert subtitles == PHRASES[:1]
    assert report.counts == {REPEATS: 1}


ROLLING = {
    "YouTube's without times of words": srt(
        (0.16, 3.429, "so do your cats"),
        (3.429, 3.439, "so do your cats\n "),
        (3.439, 5.749, "so do your cats\nsleep or play"),
        (5.749, 5.759, "sleep or play"),
        (5.759, 8.1, "sleep or play\nall night"),
    ),
    "two lines that roll": srt(
        (0.16, 3.429, "so do your cats"),
        (3.439, 5.749, "so do your cats\nsleep or play"),
        (5.759, 8.1, "sleep or play\nall night"),
    ),
    "three lines that roll": srt(
        (0.16, 3.429, "so do your cats"),
        (3.439, 5.749, "so do your cats\nsleep or play"),
        (5.759, 8.1, "so do your cats\nsleep or play\nall night"),
    ),
    "lines that grow": srt(
        (0.16, 1.0, "so"),
        (1.0, 2.0, "so do"),
        (2.0, 3.429, "so do your cats"),
        (3.439, 4.0, "so do your cats\nsleep"),
        (4.0, 5.749, "so do your cats\nsleep or play"),
        (5.759, 8.1, "sleep or play\nall night"),
    ),
}


@pytest.mark.parametrize("content", ROLLING.values(), ids=ROLLING)
def test_rolling_captions_give_each_phrase_once(tmp_path, content):
    subtitles, report = read_file(tmp_path, "a.srt", content)
    assert subtitles == PHRASES
    assert report.counts == {REPEATS: content.count("-->") - 1}


def test_a_line_that_grows_with_the_times_of_its_words_is_one_phrase(tmp_path):
    content = """WEBVTT

00:00.160 --> 00:01.000
so<00:00.500><c> do</c>

00:01.000 --> 00:02.000
so do<00:01.200><c> your</c>

00:02.000 --> 00:03.429
so do your<00:02.200><c> cats</c>

00:03.439 --> 00:05.749
so do your cats
sleep<00:03.760><c> or</c><00:04.000><c> play</c>
"""
    subtitles, report = read_file(tmp_path, "a.vtt", content)
    assert subtitles == PHRASES[:2]
    assert report.counts == {REPEATS: 3}


def test_joined_lines_roll_too(tmp_path):
    rows = [
        (0.16, 3.429, "so do your cats"),
        (3.429, 3.439, "so do your cats"),
        (3.439, 5.749, "so do your cats sleep or play"),
        (5.749, 5.759, "sleep or play"),
        (5.759, 8.1, "sleep or play all night"),
    ]
    sub = [{"start": start, "end": end, "text": text} for start, end, text in rows]
    (tmp_path / "a.jsonl").write_text(json.dumps({"vid_name": "a", "sub": sub}))
    report = Report()
    subtitles = open_subtitles(tmp_path / "a.jsonl").read("a", report)
    words = " ".join(subtitle.text for subtitle in subtitles).split()
    assert words == ["so", "do", "your", "cats", "sleep", "or", "play", "all", "night"]
    assert report.counts == {REPEATS: 4}


def test_a_speaker_who_repeats_a_phrase_in_rolling_captions_is_kept(tmp_path):
    more = """
00:00:08.100 --> 00:00:08.110 align:start position:0%
all night
\x20

00:00:08.110 --> 00:00:09.000 align:start position:0%
all night
all<00:00:08.500><c> night</c>

00:00:20.000 --> 00:00:21.000 align:start position:0%
\x20
all<00:00:20.500><c> night</c>
"""
    subtitles, _ = read_file(tmp_path, "a.vtt", YOUTUBE + more)
    assert subtitles == [*PHRASES, (8.11, 9.0, "all night"), (20.0, 21.0, "all night")]


ORDINARY = {
    "one word": [(0, 1, "No."), (1, 2, "No."), (2, 3, "No."), (3, 4, "Yes.")],
    "a refrain": [(0, 2, "La la\nla la"), (2, 4, "La la\nla la"), (4, 6, "Hey\nla la")],
    "a chant": [(0, 1, "Go"), (1, 2, "Go go"), (2, 3, "Go go go")],
    "an echo": [(0, 1, "Stop!"), (1, 2, "Stop!\nI said stop!"), (3, 4, "Why?"), (4, 5, "Because.")],
    "long pauses": [(0, 1, "a"), (5, 6, "a\nb"), (10, 11, "b\nc"), (15, 16, "c\nd")],
    "the end of a line": [(0, 1, "I see you"), (1, 2, "you see me"), (2, 3, "me and you")],
    "two that roll among many": [
        *((0, 1, "a"), (1, 2, "a\nb"), (2, 3, "b\nc")),
        *((n, n + 1, f"line {n}") for n in range(3, 9)),
    ],
}


@pytest.mark.parametrize("cues", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_repetitions_stay(tmp_path, cues):
    expected = [(start, end, text.replace("\n", " ")) for start, end, text in cues]
    assert read_cues(tmp_path, "a.srt", srt(*cues)) == expected
