"""Subtitles in files of every kind, and the messages about all that can be wrong in one."""

import json
import re

import pytest

from data.errors import InputError
from data.report import Report
from data.sources.subtitles import open_subtitles
from tests.data.sources.subtitle_samples import LINE, MISTAKE, NO_TEXT, STRAY, read_cues, read_file

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
# As YouTube writes what it has recognised: a line of one space, and the time of every word.
AUTOMATIC = """WEBVTT
Kind: captions

00:00:00.160 --> 00:00:02.310 align:start position:0%
\x20
hello<00:00:00.480><c> and</c><00:00:00.719><c.colorE5E5E5> welcome</c>

00:00:02.310 --> 00:00:02.320 align:start position:0%
hello and welcome
\x20
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
    "recognised speech": (
        "a.vtt",
        AUTOMATIC,
        [(0.16, 2.31, "hello and welcome"), (2.31, 2.32, "hello and welcome")],
    ),
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
    (example,) = report.examples[reason]
    assert example.startswith(str(tmp_path))
    assert re.search(where, example)


WRONG_FILES = {
    "text": ("a.srt", "Hello there\nand goodbye\n", r"a\.srt has text but no subtitles"),
    "text called WebVTT": ("a.vtt", "Hello there", r"a\.vtt has text but no subtitles"),
    "no times that can be read": ("a.vtt", "WEBVTT\n\n1 --> 2\nHi", r"a\.vtt has text but no subt"),
    "Latin-1": (
        "a.srt",
        SRT.replace("Hello", "H\xe9llo").encode("latin-1"),
        r"a\.srt is not UTF-8",
    ),
    "UTF-16": ("a.vtt", VTT.encode("utf-16"), r"a\.vtt is not UTF-8"),
    "Latin-1 in CSV": ("a.csv", row("1,2,H\xe9").encode("latin-1"), r"a\.csv is not UTF-8"),
    "columns": (
        "a.csv",
        "begin,end,text\n1,2,Hi\n",
        r"a\.csv line 1 does not name the columns start",
    ),
    "open quotes": ("a.csv", row('1,2,"Hi\n2,3,you'), r"a\.csv line \d: unexpected end of data"),
}


@pytest.mark.parametrize(("name", "content", "said"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_says_that_a_file_cannot_be_used(tmp_path, name, content, said):
    with pytest.raises(InputError, match=said) as caught:
        read_file(tmp_path, name, content)
    assert len(str(caught.value).splitlines()) == 1
