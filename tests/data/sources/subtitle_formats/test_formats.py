"""Subtitles in every other format, the times of their words, and what can be wrong in them."""

import json
import re

import pytest

from data.errors import InputError
from data.report import Report
from data.sources.subtitles import open_subtitles
from tests.data.sources.subtitle_samples import (
    MISTAKE,
    NO_TEXT,
    STRAY,
    UNREADABLE,
    check_example,
    read_cues,
    read_file,
)

ASS = r"""[Script Info]
Title: a
[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\i1}Hello{\i0}, well\Nthere\hnow
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,Bye{\p1}m 0 0 l 9 9{\p0}
"""
HELLO = [(1.0, 2.5, "Hello, well there now"), (3.0, 4.0, "Bye")]
SSA = (
    "[Events]\nFormat: Marked, Start, End, Text\n"
    "Dialogue: Marked=0,0:00:01.00,0:00:02.50,Hello, you\n"
)
SRV3 = """<?xml version="1.0" encoding="utf-8" ?><timedtext format="3">
<head><ws id="0"/></head><body><w t="0" id="1" wp="1" ws="1"/>
<p t="160" d="5589" w="1"><s ac="0">so</s><s t="800"> do</s><s t="1360"> your</s></p>
<p t="3429" d="2320" w="1" a="1">
</p>
<p t="3439" d="4661" w="1"><s>sleep</s><s t="321"> or</s></p></body></timedtext>"""
JSON3 = {
    "events": [
        {"tStartMs": 0, "dDurationMs": 9000, "id": 1, "wpWinPosId": 1},
        {
            "tStartMs": 160,
            "dDurationMs": 5589,
            "wWinId": 1,
            "segs": [{"utf8": "so"}, {"utf8": " do", "tOffsetMs": 800}, {"utf8": " your"}],
        },
        {
            "tStartMs": 3429,
            "dDurationMs": 2320,
            "wWinId": 1,
            "aAppend": 1,
            "segs": [{"utf8": "\n"}],
        },
        {"tStartMs": 3439, "dDurationMs": 4661, "wWinId": 1, "segs": [{"utf8": "sleep or"}]},
    ]
}
SPEECH = [(0.16, 3.429, "so do your"), (3.439, 8.1, "sleep or")]
TTML = """<?xml version="1.0" encoding="UTF-16"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter"
    xmlns:m="http://www.w3.org/ns/ttml#metadata"
    ttp:frameRate="24" ttp:frameRateMultiplier="1000 1001" ttp:tickRate="10000000">
  <head><metadata>nothing that is said</metadata></head>
  <body><div begin="10s">
    <p begin="00:00:01.500" end="00:00:02.000">Hello<br/>
       <span>there</span> &amp; here<metadata>a note</metadata></p>
    <p begin="3.25s" dur="500ms">Hi</p>
    <p begin="00:00:04:12" end="0.002h">frames</p>
    <p begin="50000000t" end="1m">ticks</p>
    <p begin="70s" end="80s">
      <span begin="1s" end="2s">one</span> <span begin="2s" end="3s">two</span></p>
    <p begin="90s" end="91s"/>
  </div></body></tt>"""
FILES = {
    "ASS": ("a.ass", ASS, HELLO),
    "ASS of no fields": (
        "a.ass",
        re.sub(r"Format: L.*\n", "", ASS),
        HELLO,
    ),
    "SSA": ("a.ssa", SSA, [(1.0, 2.5, "Hello, you")]),
    "ASS called .srt": ("a.srt", ASS, HELLO),
    "karaoke": (
        "a.ass",
        ASS[: ASS.index("Comment")]
        + r"Dialogue: 0,0:00:01.00,0:00:09.00,Default,,0,0,0,,{\k50}{\k30}so {\kf20}do{\K40} your"
        "\n",
        [(1.5, 2.4, "so do your")],
    ),
    "SBV": (
        "a.sbv",
        "0:00:01.000,0:00:02.500\nHello\nthere\n\n0:00:03.000,0:00:04.000\nBye\n",
        [(1.0, 2.5, "Hello there"), (3.0, 4.0, "Bye")],
    ),
    "SubViewer": (
        "a.sub",
        "[INFORMATION]\n[TITLE]x\n[END INFORMATION]\n00:00:01.00,00:00:02.50\nHello[br]there\n",
        [(1.0, 2.5, "Hello there")],
    ),
    "MicroDVD": (
        "a.sub",
        "{1}{1}25.000\n{DEFAULT}{}{C:$0000ff}\n{25}{50}Hello|/there\n{75}{100}{y:i}Bye\n",
        [(1.0, 2.0, "Hello there"), (3.0, 4.0, "Bye")],
    ),
    "MicroDVD of films": (
        "a.sub",
        "{1}{1}23,976\n{24}{48}Hi\n",
        [(24 / 23.976, 48 / 23.976, "Hi")],
    ),
    "TTML": (
        "a.ttml",
        TTML,
        [
            (11.5, 12.0, "Hello there & here"),
            (13.25, 13.75, "Hi"),
            (14 + 12 * 1.001 / 24, 17.2, "frames"),
            (15.0, 70.0, "ticks"),
            (81.0, 83.0, "one two"),
        ],
    ),
    "DFXP": (
        "a.dfxp",
        '<tt:tt xmlns:tt="x"><tt:body><tt:p begin="1s" end="2s">Hi</tt:p></tt:body></tt:tt>',
        [(1.0, 2.0, "Hi")],
    ),
    "srv3": ("a.en.srv3", SRV3, SPEECH),
    "srv2": (
        "a.srv2",
        '<timedtext><text t="1000" d="1500">Hi &amp;#39;you</text></timedtext>',
        [(1.0, 2.5, "Hi &#39;you")],
    ),
    "srv1": (
        "a.xml",
        '<?xml version="1.0"?><transcript><text start="1" dur="1.5">Hi</text></transcript>',
        [(1.0, 2.5, "Hi")],
    ),
    "json3": ("a.en.json3", json.dumps(JSON3), SPEECH),
    "Whisper": (
        "a.json",
        json.dumps(
            {
                "text": " Hi you",
                "segments": [{"id": 0, "start": 1.0, "end": 2.5, "text": " Hi you"}],
                "language": "en",
            }
        ),
        [(1.0, 2.5, "Hi you")],
    ),
    "Whisper's words": (
        "a.json",
        json.dumps(
            {
                "segments": [
                    {
                        "start": 1.0,
                        "end": 9.0,
                        "text": " Hi you 2",
                        "words": [
                            {"word": " Hi", "start": 1.5, "end": 1.75},
                            {"word": " you", "start": 2.0, "end": 2.5},
                            {"word": " 2"},
                        ],
                    },
                    {
                        "start": 9.0,
                        "end": 20.0,
                        "text": "Bye",
                        "words": [{"word": "Bye", "start": 10.0, "end": 10.5}],
                    },
                ]
            }
        ),
        [(1.5, 9.0, "Hi you 2"), (10.0, 10.5, "Bye")],
    ),
    "whisper.cpp": (
        "a.json",
        json.dumps({"transcription": [{"offsets": {"from": 1000, "to": 2500}, "text": " Hi"}]}),
        [(1.0, 2.5, "Hi")],
    ),
    "Transformers": (
        "a.json",
        json.dumps({"text": " Hi", "chunks": [{"timestamp": [1.0, 2.5], "text": " Hi"}]}),
        [(1.0, 2.5, "Hi")],
    ),
    "list": ("a.json", '[{"text": "Hi", "start": 1, "duration": 1.5}]', [(1.0, 2.5, "Hi")]),
    "Whisper's table": (
        "a.tsv",
        'start\tend\ttext\n1000\t2500\tHi "you\n3000\t4000\tBye\n',
        [(1.0, 2.5, 'Hi "you'), (3.0, 4.0, "Bye")],
    ),
}


@pytest.mark.parametrize(("name", "content", "expected"), FILES.values(), ids=FILES)
def test_reads_a_file(tmp_path, name, content, expected):
    kinds = {NO_TEXT: 1} if name == "a.ttml" else {}
    subtitles, report = read_file(tmp_path, name, content)
    assert [text for *_, text in subtitles] == [text for *_, text in expected]
    times = [time for start, end, _ in expected for time in (start, end)]
    assert [time for start, end, _ in subtitles for time in (start, end)] == pytest.approx(times)
    assert report.counts == kinds


def event(times: str) -> str:
    return f"{ASS}Dialogue: 0,{times},Default,,0,0,0,,Hi\n"


LEFT_OUT = {
    "ASS time": ("a.ass", event("0:00:05.00,late"), MISTAKE, r"a\.ass line 11: 'late' is no time"),
    "ASS fields": (
        "a.ass",
        f"{ASS}Dialogue: 0,Hi\n",
        MISTAKE,
        "line 11: it has 2 fields instead of",
    ),
    "ASS layers": (
        "a.ass",
        f"{ASS}{ASS.splitlines()[-1]}\n",
        "subtitles that are shown in several layers: kept once",
        r"a\.ass line 11$",
    ),
    "MicroDVD end": ("a.sub", "{1}{1}25\n{25}{}Hi\n", MISTAKE, "line 2: it has no last frame"),
    "MicroDVD text": ("a.sub", "{1}{1}25\nHi\n", STRAY, "line 2$"),
    "SBV time": (
        "a.sbv",
        "0:00:01.000,0:00:75.000\nHi\n",
        MISTAKE,
        r"a\.sbv line 1: '0:00:75\.000' has more than 59 seconds",
    ),
    "SBV text": ("a.sbv", "0:00:01.000,0:00:02.000\n\n\nby me\n", STRAY, "line 4$"),
    "TTML time": (
        "a.ttml",
        '<tt><body><p begin="1s" end="soon">Hi</p></body></tt>',
        MISTAKE,
        r"a\.ttml paragraph 1: its time is 'soon'",
    ),
    "TTML without end": (
        "a.ttml",
        '<tt><body><p begin="1s">Hi</p></body></tt>',
        MISTAKE,
        "paragraph 1: it has no end",
    ),
    "srv3 without time": (
        "a.srv3",
        "<timedtext><body><p>Hi</p></body></timedtext>",
        MISTAKE,
        "entry 1: it lacks its time t or its duration d",
    ),
    "json3 without time": (
        "a.json3",
        '{"events": [{"segs": [{"utf8": "Hi"}]}]}',
        MISTAKE,
        "event 0: tStartMs is missing",
    ),
    "Whisper's half a pair": (
        "a.json",
        '{"segments": [{"start": 0, "end": 1, "text": "\\ud83d"}]}',
        MISTAKE,
        "entry 0: text has half of",
    ),
    "TSV time": (
        "a.tsv",
        "start\tend\ttext\n1.5\t2.5\tHi\n",
        MISTAKE,
        r"a\.tsv line 2: its times '1\.5' and '2\.5' are no milliseconds",
    ),
}


@pytest.mark.parametrize(("name", "content", "reason", "where"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_leaves_out_wrong_subtitles_and_names_their_place(tmp_path, name, content, reason, where):
    _, report = read_file(tmp_path, name, content)
    assert report.counts[reason] == 1
    check_example(report, reason, tmp_path, where)


WRONG_FILES = {
    "no events": ("a.ass", "Hi there\n", r"a\.ass has no section \[Events\]"),
    "no rate": ("a.sub", "{25}{50}Hi\n", r"a\.sub line 1 does not say how many frames a second"),
    "SubRip's text": ("a.sbv", "Hi\n", r"a\.sbv has text but no subtitles"),
    "no XML": ("a.ttml", "<tt><body>", r"a\.ttml is not XML \(no element found"),
    "another document": ("a.xml", "<html></html>", r"a\.xml is XML, but no subtitles: .* 'html'"),
    "frame rate": ("a.ttml", '<tt p:frameRate="x" xmlns:p="p"/>', r"a\.ttml: the rate of frames"),
    "no JSON": ("a.json3", "{", r"a\.json3 cannot be used, it is not JSON"),
    "other JSON": (
        "a.json",
        '{"title": "a"}',
        r"a\.json is JSON, but no subtitles: it has none of",
    ),
    "no list": ("a.json", '{"segments": 3}', r"a\.json cannot be used, segments has to be a list"),
    "columns": ("a.tsv", "a\tb\tc\n", r"a\.tsv line 1 does not name the columns"),
}


@pytest.mark.parametrize(("name", "content", "said"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_cannot_be_used_is_counted_and_named(tmp_path, name, content, said):
    subtitles, report = read_file(tmp_path, name, content)
    assert subtitles == []
    assert report.counts == {UNREADABLE: 1}
    assert re.search(said, report.examples[UNREADABLE][0])


@pytest.mark.parametrize("name", [name for name, *_ in FILES.values()])
def test_an_empty_file_has_no_subtitles(tmp_path, name):
    video_id = "a"
    assert read_cues(tmp_path, name, " \n", video_id=video_id) == []


def test_all_files_that_cannot_be_read_are_named_and_the_others_kept(tmp_path):
    for number in range(5):
        (tmp_path / f"bad{number}.srt").write_text("Hi\n")
    (tmp_path / "good.sbv").write_text("0:00:01.000,0:00:02.000\nHi\n")
    reader, reports = open_subtitles(tmp_path), [Report(), Report()]
    for number in range(5):
        assert reader.read(f"bad{number}", reports[number % 2]) == ()
    assert [s.text for s in reader.read("good", Report())] == ["Hi"]
    whole = Report()
    whole.merge(Report(**report.to_json()) for report in reports)
    assert whole.counts == {UNREADABLE: 5}
    assert len(whole.examples[UNREADABLE]) == 5


def test_a_deep_document_is_no_trouble(tmp_path):
    content = "<tt>" + "<div>" * 5000 + '<p begin="1s" end="2s">Hi</p>' + "</div>" * 5000 + "</tt>"
    assert read_cues(tmp_path, "a.ttml", content) == [(1.0, 2.0, "Hi")]


def test_a_folder_is_no_file_of_subtitles(tmp_path):
    with pytest.raises(InputError, match=r"ID\.srt, ID\.vtt or ID\.csv, or with \.ass, \.ssa"):
        open_subtitles(tmp_path)
