"""Subtitles in files of every kind, and the messages about all that can be wrong in one."""

import json
import re

import pytest

from data.report import Report
from data.sources.subtitles import open_subtitles
from tests.data.sources.subtitle_samples import (
    LINE,
    MISTAKE,
    NO_TEXT,
    STRAY,
    UNREADABLE,
    check_example,
    read_cues,
    read_file,
)

VTT = """WEBVTT - a title
Kind: captions
Language: en

STYLE
::cue { color: red }

REGION
id:below width:40%

NOTE A comment of one line

intro
00:01.500 --> 00:02.000 line:80% align:start
Hello
there

NOTE
A comment of
several lines

00:00:03.000 --> 100:00:04.250
Bye
"""
SRT = """1
00:00:01,500 --> 00:00:02,000
Hello
there

2
100:00:03,000 --> 100:00:04,250  X1:40 X2:600 Y1:20 Y2:50
1984
"""
TAGS = """1
00:00:01,000 --> 00:00:02,000
{\\an8}<i>I</i> <b>al</b>ways <font color="#ff0000">loved</font> you <3 &amp; me

2
00:00:02,000 --> 00:00:03,000
<v.loud Mary Jane>Hi</v> 5 < 6
"""
CUES = [(1.5, 2.0, "Hello there"), (360003.0, 360004.25, "1984")]
FILES = {
    "WebVTT": ("a.vtt", VTT, [(1.5, 2.0, "Hello there"), (3.0, 360004.25, "Bye")]),
    "SubRip": ("a.srt", SRT, CUES),
    "upper case name": ("a.SRT", SRT, CUES),
    "CRLF": ("a.srt", SRT.replace("\n", "\r\n"), CUES),
    "CRCRLF": ("a.srt", SRT.replace("\n", "\r\r\n"), CUES),
    "CR": ("a.srt", SRT.replace("\n", "\r"), CUES),
    "byte order mark": ("a.srt", "\ufeff" + SRT, CUES),
    "byte order mark of WebVTT": (
        "a.vtt",
        "\ufeffWEBVTT\r\n\r\n00:01.000 --> 00:02.000\r\nHi",
        [(1.0, 2.0, "Hi")],
    ),
    "empty lines first": ("a.srt", "\n \n" + SRT, CUES),
    "no numbers": ("a.srt", SRT.replace("1\n", "", 1).replace("\n2\n", "\n"), CUES),
    "no empty line between": ("a.srt", SRT.replace("\n\n", "\n"), CUES),
    "empty line within": ("a.srt", SRT.replace("Hello\n", "Hello\n\n"), CUES),
    "WebVTT's point": ("a.srt", SRT.replace(",", "."), CUES),
    "SubRip's comma": (
        "a.vtt",
        "WEBVTT\n\n00:00:01,500 --> 00:00:02,000 line:5%,end\nHi",
        [(1.5, 2.0, "Hi")],
    ),
    "SubRip called .vtt": ("a.vtt", SRT, CUES),
    "WebVTT called .srt": ("a.srt", VTT, [(1.5, 2.0, "Hello there"), (3.0, 360004.25, "Bye")]),
    "tags": (
        "a.srt",
        TAGS,
        [(1.0, 2.0, "I always loved you <3 &amp; me"), (2.0, 3.0, "Hi 5 < 6")],
    ),
    "another order": (
        "a.vtt",
        "WEBVTT\n\n00:05.000 --> 00:09.000\nlater\n\n00:01.000 --> 00:06.000\nsooner\n",
        [(5.0, 9.0, "later"), (1.0, 6.0, "sooner")],
    ),
    "CSV": (
        "a.csv",
        ',start,end,text\n0,1.5,2,Hello there\n1,3,4.25,"one, two\n""three"""\n',
        [(1.5, 2.0, "Hello there"), (3.0, 4.25, 'one, two\n"three"')],
    ),
    "CSV of another order": ("a.csv", "text,end,start\r\nHi,2,1\r\n", [(1.0, 2.0, "Hi")]),
    "time before 0": ("a.csv", "start,end,text\n-0.5,1,Hi\n", [(-0.5, 1.0, "Hi")]),
    "no SubRip": ("a.srt", " \r\n", []),
    "no WebVTT": ("a.vtt", "WEBVTT\n\nNOTE nobody speaks\n", []),
    "no CSV": ("a.csv", "", []),
    "no rows of CSV": ("a.csv", "start,end,text\n", []),
}


@pytest.mark.parametrize(("name", "content", "expected"), FILES.values(), ids=FILES)
def test_reads_a_file(tmp_path, name, content, expected):
    assert read_cues(tmp_path, name, content) == expected


def cue(times: str, text: str = "Hi") -> str:
    return f"WEBVTT\n\n00:00.000 --> 00:01.000\nfirst\n\n{times}\n{text}\n"


def line(**changes) -> str:
    """JSON lines: the third has a second subtitle that is changed; None takes a field away."""
    changed = {"text": "Hi", "start": 1.0, "end": 2.0} | changes
    changed = {name: value for name, value in changed.items() if value is not None}
    return f"\n\n{json.dumps(LINE | {'sub': [*LINE['sub'], changed]})}\n"


def row(content: str) -> str:
    return f"start,end,text\n0,1,first\n{content}\n"


LEFT_OUT = {
    "ends first": (
        "a.vtt",
        cue("00:05.000 --> 00:04.000"),
        MISTAKE,
        r"a\.vtt line 6: .* 5.0 and 4",
    ),
    "60 seconds": ("a.vtt", cue("00:01.000 --> 00:60.000"), MISTAKE, r"line 6: .* '00:01.*60.000'"),
    "no end": ("a.vtt", cue("00:01.000 -->"), MISTAKE, "line 6: its times are '00:01.000 -->'"),
    "no text": ("a.vtt", cue("00:01.000 --> 00:02.000", "\n"), NO_TEXT, r"a\.vtt line 6$"),
    "tags only": ("a.vtt", cue("00:01.000 --> 00:02.000", "<i> </i>"), NO_TEXT, r"a\.vtt line 6$"),
    "paragraph": ("a.vtt", cue("1\n2"), STRAY, r"a\.vtt line 6$"),
    "SubRip's paragraph": (
        "a.srt",
        "\nsubtitles by me\n\n1\n00:00:00,000 --> 00:00:01,000\nfirst\n",
        STRAY,
        r"a\.srt line 2$",
    ),
    "SubRip's times": (
        "a.srt",
        "1\n00:00:00,000 --> 00:00:01,000\nfirst\n\n2\n00:00:01,000 --> 2 s\nHi\n",
        MISTAKE,
        r"a\.srt line 6: its times are '00:00:01,000 --> 2 s'",
    ),
    "SubRip without text": (
        "a.srt",
        "1\n00:00:00,000 --> 00:00:01,000\n\n2\n00:00:00,000 --> 00:00:01,000\nfirst\n",
        NO_TEXT,
        r"a\.srt line 2$",
    ),
    "CSV time": ("a.csv", row("1:00,2:00,Hi"), MISTAKE, r"a\.csv line 3: start has .* '1:00'"),
    "CSV without end": ("a.csv", row("1,,Hi"), MISTAKE, r"a\.csv line 3: end has to be a number"),
    "short row": ("a.csv", row("1,2"), MISTAKE, r"a\.csv line 3: text is missing"),
    "long row": ("a.csv", row("1,2,Hi, you"), MISTAKE, r"a\.csv line 3: it has more fields"),
    "CSV NaN": ("a.csv", row("1,nan,Hi"), MISTAKE, r"a\.csv line 3: end is not finite"),
    "CSV without text": ("a.csv", row("1,2, "), NO_TEXT, r"a\.csv line 3$"),
    "text missing": ("jsonl", line(text=None), MISTAKE, "line 3, subtitle 1: text is missing"),
    "text a number": ("jsonl", line(text=3), MISTAKE, "line 3, subtitle 1: text has to be a str"),
    "half a pair": ("jsonl", line(text="\ud83d"), MISTAKE, "line 3, subtitle 1: text has half of"),
    "blank": ("jsonl", line(text=" "), NO_TEXT, "line 3, subtitle 1$"),
    "start missing": ("jsonl", line(start=None), MISTAKE, "line 3, subtitle 1: start is missing"),
    "start a string": (
        "jsonl",
        line(start="1"),
        MISTAKE,
        "line 3, subtitle 1: start has to be a n",
    ),
    "backwards": ("jsonl", line(start=3), MISTAKE, "line 3, subtitle 1: .* 3.0 and 2.0 seconds"),
    "NaN": ("jsonl", line(end=float("nan")), MISTAKE, "line 3, subtitle 1: end is not finite"),
    "no time at all": (
        "jsonl",
        line(end=1e300),
        MISTAKE,
        r"line 3, subtitle 1: .* 1\.0 and 1e\+300",
    ),
    "no object": (
        "jsonl",
        json.dumps(LINE | {"sub": ["Hi", *LINE["sub"]]}),
        MISTAKE,
        "line 1, subtitle 0: it has to be an object",
    ),
    "entry": (
        "json",
        json.dumps({"a": {"start": [0, 2], "end": [1, 1], "text": ["first", "Hi"]}}),
        MISTAKE,
        r"a\.json video a, subtitle 1: start and end are 2.0 and 1.0",
    ),
}


@pytest.mark.parametrize(("name", "content", "reason", "where"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_leaves_out_wrong_subtitles_and_names_their_place(tmp_path, name, content, reason, where):
    if name in ("json", "jsonl"):
        path = tmp_path / f"a.{name}"
        path.write_text(content)
        report = Report()
        subtitles = [(s.start, s.end, s.text) for s in open_subtitles(path).read("a", report)]
    else:
        subtitles, report = read_file(tmp_path, name, content)
    assert subtitles == [(0.0, 1.0, "first")]
    assert report.counts == {reason: 1}
    check_example(report, reason, tmp_path, where)


WRONG_FILES = {
    "text": ("a.srt", "Hello there\nand goodbye\n", r"a\.srt has text but no subtitles"),
    "text called WebVTT": ("a.vtt", "Hello there", r"a\.vtt has text but no subtitles"),
    "no times that can be read": (
        "a.vtt",
        "WEBVTT\n\n1 --> 2\nHi\n\n2 --> 3\nyou",
        r"none of the 2 subtitles of .*a\.vtt can be read; of the first, in line 3, its times are "
        "'1 --> 2': write times as",
    ),
    "SubRip's times in frames": (
        "a.srt",
        "1\n00:00:01:12 --> 00:00:02:05\nHi\n",
        r"none of the 1 subtitles of .*a\.srt .* in line 2, its times are '00:00:01:12 --> 00:",
    ),
    "columns": (
        "a.csv",
        "begin,end,text\n1,2,Hi\n",
        r"a\.csv line 1 does not name the columns start",
    ),
    "open quotes": ("a.csv", row('1,2,"Hi\n2,3,you'), r"a\.csv line \d: unexpected end of data"),
    "NULs": ("a.srt", b"\0" * 100, r"a\.srt holds nothing but NULs"),
}


@pytest.mark.parametrize(("name", "content", "said"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_cannot_be_used_is_counted_and_named(tmp_path, name, content, said):
    subtitles, report = read_file(tmp_path, name, content)
    assert subtitles == []
    assert report.counts == {UNREADABLE: 1}
    (example,) = report.examples[UNREADABLE]
    assert re.search(said, example)
    assert len(example.splitlines()) == 1


@pytest.mark.parametrize(
    "times",
    [
        "00:00:20 --> 00:00:24",
        "0:20 --> 0:24",
        "00:00:20,000 -> 00:00:24,000",
        "00:00:20,000 – > 00:00:24,000",
        "00:00:20,000 --&gt; 00:00:24,000",
        "00:00:20,000→00:00:24,000",
        "00:00:20:000 --> 00:00:24:000",
        "00.00.20.000 --> 00.00.24.000",
        "00: 00: 20, 000 --> 00: 00: 24, 000",
        "00:00:20 ,000 --> 00:00:24 ,000",
        "00:00:20 000 --> 00:00:24 000",
        "00:00:20.000000 --> 00:00:24.000000",
        "  00:00:20,000-->00:00:24,000  X1:40 X2:600",
    ],
)
@pytest.mark.parametrize("number", ["7", "7.", "#7", "[7]", "(7)", " 7 ", "7)"])
def test_reads_what_means_one_thing(tmp_path, times, number):
    content = f"1\n00:00:01,000 --> 00:00:02,000\nfirst\n\n{number}\n{times}\nHi --> you\n"
    assert read_cues(tmp_path, "a.srt", content) == [
        (1.0, 2.0, "first"),
        (20.0, 24.0, "Hi --> you"),
    ]


@pytest.mark.parametrize(
    "times",
    [
        "00:00:20:12 --> 00:00:24:00",
        "00:00:20;12 --> 00:00:24;00",
        "20.5 --> 24.5",
        "00.00.20 --> 00.00.24",
        "00:00:20,000 --> ",
        "OO:00:20,000 --> 00:00:24,000",
        "00:75:20,000 --> 00:76:24,000",
    ],
)
def test_leaves_out_what_may_mean_several_things(tmp_path, times):
    content = f"1\n00:00:01,000 --> 00:00:02,000\nfirst\n\n2\n{times}\nHi\n"
    subtitles, report = read_file(tmp_path, "a.srt", content)
    assert subtitles == [(1.0, 2.0, "first")]
    assert report.counts == {MISTAKE: 1}
    assert repr(times.strip()) in report.examples[MISTAKE][0]


@pytest.mark.parametrize(
    "said",
    [
        "we go --> there",
        "--> there",
        "1 --> 2",
        "open 10:30 --> 11:00 daily",
        "9:30 -> 10:00 today",
    ],
)
def test_an_arrow_in_a_sentence_is_text(tmp_path, said):
    content = (
        f"1\n00:00:01,000 --> 00:00:02,000\nwell\n{said}\n\n2\n00:00:03,000 --> 00:00:04,000\nHi"
    )
    assert read_cues(tmp_path, "a.srt", content) == [
        (1.0, 2.0, f"well {said}"),
        (3.0, 4.0, "Hi"),
    ]


def test_numbers_are_told_from_text_where_every_line_is_followed_by_an_empty_one(tmp_path):
    content = SRT.replace("Hello\n", "Hello\n7\n").replace("\n", "\n\n")
    assert read_cues(tmp_path, "a.srt", content) == [
        (1.5, 2.0, "Hello 7 there"),
        (360003.0, 360004.25, "1984"),
    ]


@pytest.mark.parametrize("end", ["\n", ""])
def test_joined_files_have_no_marks_in_their_text(tmp_path, end):
    other = "1\n00:00:05,000 --> 00:00:06,000\nlast"
    content = f"\ufeff{SRT.rstrip()}{end}\ufeff{other}\0\0\0"
    assert read_cues(tmp_path, "a.srt", content) == [*CUES, (5.0, 6.0, "last")]


def test_joined_webvtt_has_one_beginning(tmp_path):
    first, second = "00:01.000 --> 00:02.000\nHi", "00:03.000 --> 00:04.000\nyou"
    content = f"\ufeffWEBVTT\n\n{first}\n\n\ufeffWEBVTT\n\n{second}\n"
    assert read_cues(tmp_path, "a.vtt", content) == [(1.0, 2.0, "Hi"), (3.0, 4.0, "you")]


def test_times_of_words_give_the_start_and_the_end(tmp_path):
    content = (
        "WEBVTT\n\n00:01.000 --> 00:05.000\n<00:01.500>Hello<00:02.000> there<00:02.500>\n\n"
        "00:05.000 --> 00:09.000\n<00:01.500>out<00:06.000> of<12:00:00.000>\n"
    )
    assert read_cues(tmp_path, "a.vtt", content) == [
        (1.5, 2.5, "Hello there"),
        (5.0, 9.0, "out of"),
    ]
