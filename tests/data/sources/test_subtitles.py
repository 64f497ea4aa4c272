"""Folders and files of subtitles of many videos, and round trips of generated subtitles."""

import csv
import json
import os
import pickle
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.subtitles import open_subtitles
from tests.data.sources.subtitle_samples import LINE, MISTAKE, NO_TEXT, UNREADABLE, read_file

SHARED = os.environ.get("HERO_SHARED")
GOOD = json.dumps(LINE)
CAPTIONS = {"a": {"start": [0], "end": [1], "text": ["first"]}}
WRONG_SOURCES = {
    "no file": ("a.jsonl", None, r"a\.jsonl cannot be read"),
    "JSON": ("a.jsonl", f"\n{GOOD}\n{{", r"a\.jsonl line 3: it is not JSON"),
    "list": ("a.jsonl", "[]", "line 1: it has to be an object"),
    "no id": ("a.jsonl", '{"sub": []}', "line 1: vid_name is missing"),
    "blank id": ("a.jsonl", '{"vid_name": "", "sub": []}', "line 1: vid_name is empty"),
    "no subtitles": ("a.jsonl", '{"vid_name": "a"}', "line 1: sub is missing"),
    "subtitles": ("a.jsonl", '{"vid_name": "a", "sub": {}}', "line 1: sub has to be a list"),
    "twice": ("a.jsonl", f"{GOOD}\n\n{GOOD}", "line 3: a has line 1 already"),
    "Latin-1": ("a.jsonl", b'{"vid_name": "\xe9"}', r"a\.jsonl is not UTF-8"),
    "JSON lines": ("a.json", f"{GOOD}\n{GOOD}", r"a\.json cannot be used.* call it \.jsonl"),
    "one JSON line": ("a.json", GOOD, r"a\.json video vid_name: it has to be an object"),
    "list of captions": ("a.json", "[]", r"a\.json cannot be used, it has to be an object"),
    "no end": ("a.json", '{"a": {"start": []}}', r"a\.json video a: end is missing"),
    "lengths": (
        "a.json",
        json.dumps({"a": CAPTIONS["a"] | {"end": []}}),
        r"a\.json video a: start, end and text have \[1, 0, 1\] entries",
    ),
}


@pytest.mark.parametrize(("name", "content", "said"), WRONG_SOURCES.values(), ids=WRONG_SOURCES)
def test_says_that_a_source_cannot_be_used(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=said) as caught:
        open_subtitles(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_there_are_no_subtitles_without_a_path():
    subtitles = open_subtitles(None)
    assert subtitles.ids() == set()
    assert subtitles.narrowed(["a"]).read("a", Report()) == ()


def test_says_that_json_lines_were_changed(tmp_path):
    path = tmp_path / "a.jsonl"
    others = json.dumps(LINE | {"vid_name": "b"})
    path.write_text(f"{GOOD}\n{others}\n")
    subtitles = open_subtitles(path)
    path.write_text(f"{others}\n{GOOD}\n")
    with pytest.raises(InputError, match=r"a\.jsonl was changed"):
        subtitles.read("a", Report())


# Whatever is seen, and two line separators that end no line in any of these files.
SEEN = st.characters(
    categories=["L", "M", "N", "P", "S", "Zs", "Zl", "Zp"], exclude_characters="<>{}→"
)
SPOKEN_LINE = st.text(SEEN, min_size=1, max_size=12).map(str.strip).filter(bool)
MILLISECONDS = st.one_of(st.integers(0, 100_000), st.integers(0, 120 * 3_600_000))
CUE = st.tuples(MILLISECONDS, MILLISECONDS, st.lists(SPOKEN_LINE, min_size=1, max_size=3))
# Captions with the same beginnings may roll.
CUES = st.lists(CUE, max_size=6, unique_by=lambda cue: cue[2][0].split()[0])


def clock(milliseconds: int, point: str, leave_out_hours: bool) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    hours = "" if leave_out_hours and not hours else f"{hours:02}:"
    return f"{hours}{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def write_cues(cues, is_webvtt: bool, line_break: str, numbered: bool) -> str:
    point = "." if is_webvtt else ","
    lines = ["WEBVTT", ""] if is_webvtt else []
    for number, (start, end, text) in enumerate(cues, 1):
        if numbered or not is_webvtt:
            lines.append(str(number))
        times = [clock(time, point, leave_out_hours=is_webvtt) for time in (start, end)]
        lines += [" --> ".join(times), *text, ""]
    return line_break.join(lines)


@settings(max_examples=100, deadline=None)
@given(
    cues=CUES,
    is_webvtt=st.booleans(),
    numbered=st.booleans(),
    line_break=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_cues_are_read_as_they_were_written(cues, is_webvtt, numbered, line_break, mark):
    content = mark + write_cues(cues, is_webvtt, line_break, numbered)
    with tempfile.TemporaryDirectory() as folder:
        found, report = read_file(Path(folder), "a.vtt" if is_webvtt else "a.srt", content)
    sound = [(start, end, text) for start, end, text in cues if start <= end]
    assert [(round(1000 * start), round(1000 * end)) for start, end, _ in found] == [
        (start, end) for start, end, _ in sound
    ]
    assert [text for _, _, text in found] == [" ".join(text) for _, _, text in sound]
    backwards = len(cues) - len(sound)
    assert report.counts == ({MISTAKE: backwards} if backwards else {})


PIECES = """
7
Hi
NOTE
NOTE of
STYLE
REGION
id:a
WEBVTT
WEBVTT -->
<i>
{\\an8}
00:01.000 --> 00:02.000
00:00:01,000 --> 00:00:02,000 X1:4
2:00.000 --> 00:01.000
00:61.000 --> 00:02.000
00:01.000 --> 00:02.0001
-->
a --> b
"""


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(st.sampled_from([" ", *PIECES.split("\n")]), max_size=12),
    is_webvtt=st.booleans(),
)
def test_every_pair_of_times_is_a_subtitle_or_counted(lines, is_webvtt):
    content = "\n".join(["WEBVTT"] * is_webvtt + lines)
    with tempfile.TemporaryDirectory() as folder:
        found, report = read_file(Path(folder), "a.vtt", content)
    if report.counts[UNREADABLE]:
        assert not any(re.match("(?!.*61)[0-9:.,]+ --> ", line) for line in lines)
        return
    times = [line for line in content.split("\n") if re.match("[0-9:.,]+ --> ", line)]
    left_out = report.counts[MISTAKE] + report.counts[NO_TEXT]
    bare = sum(example.endswith("'-->'") for example in report.examples[MISTAKE])
    whole = [line.strip() for line in lines].count("-->")
    assert len(times) <= len(found) + left_out <= len(times) + whole
    assert bare <= whole


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=20
).filter(str.strip)
SUBTITLE = st.tuples(TEXT, st.lists(st.floats(-10, 1e6), min_size=2, max_size=2).map(sorted)).map(
    lambda drawn: RawSubtitle(drawn[0], *drawn[1])
)
SUBTITLES = st.lists(SUBTITLE, max_size=5, unique_by=lambda subtitle: subtitle.text.split()[0])
VIDEOS = st.dictionaries(TEXT, SUBTITLES.map(tuple), max_size=5)


def as_lines(videos, draw) -> str:
    lines = []
    for video_id, subtitles in videos.items():
        sub = [{"text": s.text, "start": s.start, "end": s.end} for s in subtitles]
        record = {"vid_name": video_id, "sub": sub}
        lines.append(json.dumps(record, ensure_ascii=draw(st.booleans())))
        lines += [""] * draw(st.integers(0, 1))
    return draw(st.sampled_from(["", "\ufeff"])) + "\n".join(lines)


def as_captions(videos, draw) -> str:
    captions = {
        video_id: {name: [getattr(s, name) for s in subs] for name in ("start", "end", "text")}
        for video_id, subs in videos.items()
    }
    return json.dumps(captions, indent=draw(st.sampled_from([None, 2])))


@settings(max_examples=100, deadline=None)
@given(videos=VIDEOS, data=st.data(), form=st.sampled_from(["json", "jsonl"]))
def test_json_is_read_as_it_was_written(videos, data, form):
    wanted = data.draw(st.sets(st.sampled_from([*videos, "\n no such video"])))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"subtitles.{form}"
        write = {"json": as_captions, "jsonl": as_lines}[form]
        path.write_bytes(write(videos, data.draw).encode())
        subtitles = open_subtitles(path)
        narrowed = pickle.loads(pickle.dumps(subtitles.narrowed(wanted)))
        assert subtitles.ids() == set(videos)
        assert narrowed.ids() == wanted & set(videos)
        for video_id, expected in videos.items():
            assert subtitles.read(video_id, report) == expected
            assert narrowed.read(video_id, report) == (expected if video_id in wanted else ())
    assert report.counts == {}


@settings(max_examples=50, deadline=None)
@given(subtitles=SUBTITLES)
def test_csv_is_read_as_it_was_written(subtitles):
    subtitles = [s for s in subtitles if "\0" not in s.text]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "start", "end", "text"])
            writer.writerows([i, s.start, s.end, s.text] for i, s in enumerate(subtitles))
        report = Report()
        assert open_subtitles(Path(folder)).read("a", report) == tuple(subtitles)
    assert report.counts == {}


@pytest.mark.parametrize("form", ["jsonl", "folder"])
def test_narrowed_readers_hold_their_videos_and_no_texts(tmp_path, form):
    if form == "jsonl":
        path = tmp_path / "subtitles.jsonl"
        path.write_text("".join(f"{json.dumps(LINE | {'vid_name': i})}\n" for i in ("one", "two")))
    else:
        path = tmp_path
        for video_id in ("one", "two"):
            (path / f"{video_id}.csv").write_text("start,end,text\n0,1,first\n")
    sent = pickle.dumps(open_subtitles(path).narrowed(["two"]))
    assert b"one" not in sent
    assert b"first" not in sent
    assert pickle.loads(sent).read("two", Report()) == (RawSubtitle("first", 0.0, 1.0),)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "video_id", "count", "first", "last"),
    [
        (
            "videos",
            "nasa_13013",
            4,
            (0.21, 4.26, "NAR: This is the optical and science segment of the Webb"),
            (12.47, 16.57, "This half of the observatory element successfully"),
        ),
        (
            "videos",
            "ai_explained",
            3,
            (0.0, 3.16, "The is Artificial Intelligence."),
            (
                9.68,
                15.68,
                "This includes, for example, recognizing images, making decisions or engaging in "
                "dialogue.",
            ),
        ),
        (
            "videos",
            "his_girl_friday",
            5,
            (0.0, 0.999, "Hildy!"),
            (4.3, 6.0, "Somebody must've stolen the crown jewels"),
        ),
        (
            "elephants_dream",
            "captions",
            78,
            (15.0, 17.951, "At the left we can see..."),
            (537.0, 539.867, "...it is."),
        ),
        (
            "elephants_dream",
            "descriptions",
            63,
            (0.0, 5.0, "The orange open movie project presents"),
            (
                647.5,
                653.0,
                "Produced By Ton Roosendaal Copyright 2006 Netherlands Media Art Institute / "
                "Montevideo Blender Foundation",
            ),
        ),
    ],
)
def test_reads_real_subtitles(folder, video_id, count, first, last):
    report = Report()
    subtitles = open_subtitles(Path(SHARED) / folder).read(video_id, report)
    assert report.counts == {}
    assert len(subtitles) == count
    assert (subtitles[0].start, subtitles[0].end, subtitles[0].text) == first
    assert (subtitles[-1].start, subtitles[-1].end, subtitles[-1].text) == last


@pytest.mark.shared
def test_reads_real_json_lines():
    path = Path(SHARED) / "tvr_text" / "subtitles.jsonl"
    subtitles, report = open_subtitles(path), Report()
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert subtitles.ids() == {record["vid_name"] for record in records}
    assert len(records) == 1000
    for record in records:
        expected = tuple(RawSubtitle(s["text"], s["start"], s["end"]) for s in record["sub"])
        assert subtitles.read(record["vid_name"], report) == expected
    assert report.counts == {}
