"""Subtitles in any format and encoding read back as they were written."""

import codecs
import json
import re
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import build
from data.errors import InputError
from data.report import Report
from data.sources.subtitles import open_subtitles
from tests.data.sources.subtitle_samples import DETECTED, UNREADABLE, read_cues, read_file

MARKS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}
WORDS = {
    "cp1252": "Où étais-tu hier soir ? J'étais à la maison, très fatigué. Ça alors !",
    "cp1251": "Где ты был вчера вечером? Я был дома, очень устал. Хорошо, пойдём.",
    "koi8_r": "Где ты был вчера вечером? Я был дома, очень устал. Хорошо, пойдём.",
    "gb18030": "你昨天晚上在哪里？我在家，非常累。",
    "big5": "你昨天晚上在哪裡？我在家，非常累。",
    "cp932": "昨日の夜はどこにいましたか。家にいました。",
    "iso2022_jp": "昨日の夜はどこにいましたか。家にいました。",
    "utf-16-le": "Hello there",
}


def srt(text: str) -> str:
    return f"1\n00:00:01,000 --> 00:00:02,500\n{text}\n"


def clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{milliseconds:03}"


def subrip(cues) -> str:
    return "\n".join(
        f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    )


def webvtt(cues) -> str:
    rows = (f"{clock(start, '.')} --> {clock(end, '.')}\n{text}\n" for start, end, text in cues)
    return "\n".join(["WEBVTT\n", *rows])


def sbv(cues) -> str:
    return "\n".join(f"{clock(s, '.')},{clock(e, '.')}\n{text}\n" for s, e, text in cues)


def ass(cues) -> str:
    rows = (f"Dialogue: 0,{clock(s, '.')},{clock(e, '.')},Default,,0,0,0,,{t}" for s, e, t in cues)
    return "\n".join(["[Script Info]", "[Events]", *rows])


def microdvd(cues) -> str:
    return "\n".join(["{1}{1}1000", *(f"{{{s}}}{{{e}}}{text}" for s, e, text in cues)])


def ttml(cues) -> str:
    rows = (f'<p begin="{s}ms" end="{e}ms">{escape(text)}</p>' for s, e, text in cues)
    return f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{"".join(rows)}</div></body></tt>'


def srv3(cues) -> str:
    rows = (f'<p t="{s}" d="{e - s}">{escape(text)}</p>' for s, e, text in cues)
    return f'<timedtext format="3"><body>{"".join(rows)}</body></timedtext>'


def json3(cues) -> str:
    events = [{"tStartMs": s, "dDurationMs": e - s, "segs": [{"utf8": t}]} for s, e, t in cues]
    return json.dumps({"events": events}, ensure_ascii=False)


def whisper(cues) -> str:
    segments = [{"start": s / 1000, "end": e / 1000, "text": f" {t}"} for s, e, t in cues]
    return json.dumps({"segments": segments}, ensure_ascii=False)


def tsv(cues) -> str:
    return "\n".join(["start\tend\ttext", *(f"{s}\t{e}\t{text}" for s, e, text in cues)])


def csv(cues) -> str:
    rows = (f'{s / 1000},{e / 1000},"{text}"' for s, e, text in cues)
    return "\n".join(["start,end,text", *rows])


FORMATS = {
    ".srt": subrip,
    ".vtt": webvtt,
    ".sbv": sbv,
    ".ass": ass,
    ".sub": microdvd,
    ".ttml": ttml,
    ".srv3": srv3,
    ".json3": json3,
    ".json": whisper,
    ".tsv": tsv,
    ".csv": csv,
}
# Letters, so that no text looks like the marks of a format, and no subtitle like the one before.
LETTERS = st.text(st.characters(categories=["L"]), min_size=1, max_size=8)
TIMES = st.lists(st.integers(0, 36_000_000), min_size=2, max_size=2).map(sorted)


@settings(max_examples=100, deadline=None)
@given(
    drawn=st.lists(st.tuples(TIMES, LETTERS, LETTERS), max_size=5, unique_by=lambda cue: cue[1]),
    extension=st.sampled_from([*FORMATS]),
    encoding=st.sampled_from([*MARKS]),
    line_break=st.sampled_from(["\n", "\r\n", "\r"]),
    nuls=st.integers(0, 2),
)
def test_every_format_and_encoding_gives_the_same(drawn, extension, encoding, line_break, nuls):
    cues = [(*times, f"{one} {two}") for times, one, two in drawn]
    content = FORMATS[extension](cues).replace("\n", line_break)
    content += "\0" * nuls * bool(content)  # A file of NULs alone is damaged.
    with tempfile.TemporaryDirectory() as folder:
        found = read_cues(Path(folder), f"a{extension}", MARKS[encoding] + content.encode(encoding))
    assert [text for *_, text in found] == [text for *_, text in cues]
    assert [(round(1000 * start), round(1000 * end)) for start, end, _ in found] == [
        (start, end) for start, end, _ in cues
    ]


@pytest.mark.parametrize(("encoding", "text"), WORDS.items(), ids=WORDS)
def test_the_encoding_can_be_said(tmp_path, encoding, text):
    content = srt(text).encode(encoding)
    subtitles, report = read_file(tmp_path, "a.srt", content, encoding=encoding)
    assert subtitles == [(1.0, 2.5, text)]
    assert report.counts == {}


def test_utf8_and_marks_are_stronger_than_what_is_said(tmp_path):
    for content in (srt("né").encode(), codecs.BOM_UTF16_BE + srt("né").encode("utf-16-be")):
        subtitles, _ = read_file(tmp_path, "a.srt", content, encoding="cp1251")
        assert subtitles == [(1.0, 2.5, "né")]


@pytest.mark.parametrize("encoding", ["cp1251", "koi8_r", "gb18030", "big5", "utf-16-le"])
def test_an_encoding_is_detected_and_named(tmp_path, encoding):
    subtitles, report = read_file(tmp_path, "a.srt", srt(WORDS[encoding]).encode(encoding))
    assert subtitles == [(1.0, 2.5, WORDS[encoding])]
    assert report.counts == {DETECTED: 1}
    assert report.examples[DETECTED] == [f"{tmp_path / 'a.srt'}: {encoding}"]


UNCLEAR = {
    "may be several": (srt("Où étais-tu ?").encode("cp1252"), "may be cp125[0-9] or cp125[0-9]"),
    "damaged UTF-8": (srt("Où étais-tu ? Là").encode()[:-2], "is not UTF-8"),
    "no text": (bytes(range(128, 256)) * 20, "not UTF-8"),
}


@pytest.mark.parametrize(("content", "said"), UNCLEAR.values(), ids=UNCLEAR)
def test_an_unclear_encoding_is_not_guessed(tmp_path, content, said):
    subtitles, report = read_file(tmp_path, "a.srt", content)
    assert subtitles == []
    assert report.counts == {UNREADABLE: 1}
    (example,) = report.examples[UNREADABLE]
    assert example.startswith(str(tmp_path / "a.srt"))
    assert re.search(said, example)


@pytest.mark.parametrize("encoding", ["cp99", "rot13", "base64"])
def test_says_that_there_is_no_such_encoding(tmp_path, encoding):
    with pytest.raises(InputError, match=f"'{encoding}' is no encoding of text"):
        open_subtitles(tmp_path, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_files_of_all_videos_may_have_marks(tmp_path, encoding, name):
    sub = [{"text": "né\ufeff", "start": 0.0, "end": 1.0}]
    lines = [{"vid_name": video, "sub": sub} for video in ("one", "two")]
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    if name == "a.json":
        columns = {"start": [0], "end": [1], "text": ["né"]}
        content = json.dumps({"one": columns, "two": columns}, ensure_ascii=False)
    (tmp_path / name).write_bytes(MARKS[encoding] + (content + "\n\0\0").encode(encoding))
    subtitles = open_subtitles(tmp_path / name)
    assert subtitles.ids() == {"one", "two"}
    assert [s.text for s in subtitles.read("two", Report())] == ["né"]


def test_json_lines_are_read_in_the_encoding_that_is_said(tmp_path):
    sub = [{"text": "né", "start": 0.0, "end": 1.0}]
    line = json.dumps({"vid_name": "a", "sub": sub}, ensure_ascii=False)
    (tmp_path / "a.jsonl").write_bytes(line.encode("cp1252"))
    subtitles = open_subtitles(tmp_path / "a.jsonl", encoding="cp1252")
    assert [s.text for s in subtitles.read("a", Report())] == ["né"]
    assert subtitles.settings() == ["cp1252"]


def test_build_has_an_option_for_the_encoding():
    arguments = ["raw", "--features=f", "--tokenizer=t", "--out=o", "--subtitle_encoding=cp1251"]
    assert build._parser().parse_args(arguments).subtitle_encoding == "cp1251"
