"""Annotations: every form as its published files have it, with mistakes among the rows."""

import json
import os
from pathlib import Path

import pytest

from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import MISTAKE, read_annotations
from data.sources.annotations.tvqa import NO_TIME
from tests.data.sources.annotations.annotation_samples import (
    DIDEMO,
    MSRVTT_SENTENCE,
    MSRVTT_VIDEO,
    TVC,
    TVQA,
    TVQA_PLUS,
    TVR,
    VIOLIN,
    File,
)

SHARED = os.environ.get("HERO_SHARED")


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


def test_tvr(file):
    file.lines(TVR, "", TVR | {"desc_id": 90201, "ts": [3, 1]}, {"desc": "Yes.", "desc_id": 1})
    first = RawQuery(
        query_id="90200",
        clip_id="friends_s01e03_seg02_clip_19",
        text="Phoebe puts a ponytail in her mouth. ",
        moments=((16.48, 33.87),),
        kind="v",
    )
    expected = [
        Annotation(first, file.at("line 1"), duration=61.46),
        Annotation(RawQuery("1", "", "Yes."), file.at("line 4")),
    ]
    file.check("tvr", expected, ["line 3: ts goes from 3.0 to 1.0"])


def test_didemo_as_lines_of_tvr(file):
    row = {"vid_name": "a.mov", "ts": [[0, 5], [5, 25.5]], "desc": "a dog", "desc_id": "10"}
    file.lines(row, row | {"desc_id": 11, "ts": [[0, 5], 5]})
    expected = [
        Annotation(RawQuery("10", "a.mov", "a dog", ((0, 5), (5, 25.5))), file.at("line 1"))
    ]
    file.check("tvr", expected, ["line 2: ts has to be [start, end], not 5"])


def test_tvc(file):
    kept_back = {name: TVC[name] for name in TVC if name != "descs"} | {"clip_id": 102866}
    spoilt = TVC["descs"][0] | {"desc": None, "desc_id": 5}
    good = TVC["descs"][1] | {"desc_id": 6}
    file.lines(TVC, kept_back, TVC | {"descs": [spoilt, "They talk.", good]}, TVC | {"descs": []})
    clip, moments = "friends_s01e03_seg02_clip_19", ((16.48, 33.87),)
    rows = [
        ("90200", "Phoebe bites her hair.", "v", "86603", "line 1, descs 0"),
        ("90201", "They talk.", "vt", "86603", "line 1, descs 1"),
        ("clip-102866", "", "", "102866", "line 2"),
        ("6", "They talk.", "vt", "86603", "line 3, descs 2"),
    ]
    expected = [
        Annotation(
            RawQuery(query_id, clip, text, moments, kind, group=group),
            file.at(place),
            duration=61.46,
        )
        for query_id, text, kind, group, place in rows
    ]
    mistakes = [
        "line 3, descs 0: desc is missing",
        "line 3, descs 1: descs has to hold objects in braces",
        "line 4: descs has to be a list of captions, or left out",
    ]
    file.check("tvc", expected, mistakes)


def test_tvqa(file):
    unlabelled = {name: TVQA[name] for name in TVQA if name not in ("answer_idx", "ts")}
    file.lines(
        TVQA,
        unlabelled | {"qid": 8},
        TVQA | {"qid": 9, "ts": "nan-nan"},
        TVQA | {"qid": 10, "ts": float("nan")},
        TVQA | {"qid": 11, "ts": "NaN-8"},
        TVQA | {"qid": 12, "answer_idx": 5},
    )
    clip, text = "met_s06e22_seg01_clip_02", "What is Robin holding?"
    answers = ("A martini glass", "Nachos", "Her purse", "", "A beer bottle")
    rows = [("7", ((1.21, 8),), 4), ("8", (), -1), ("9", (), 4), ("10", (), 4), ("11", (), 4)]
    expected = [
        Annotation(
            RawQuery(query_id, clip, text, moments, answers=answers, label=label),
            file.at(f"line {line}"),
        )
        for line, (query_id, moments, label) in enumerate(rows, 1)
    ]
    what = "line 6: answer_idx has to be a whole number from 0 to 4, not 5"
    file.check("tvqa", expected, [what])
    report = Report()
    file.read("tvqa", report)
    assert report.counts[NO_TIME] == 4
    assert [e.split(":")[0] for e in report.examples[NO_TIME]] == [
        file.at(f"line {line}") for line in (2, 3, 4)
    ]


def test_tvqa_plus(file):
    """A list, with answers as text and moments as lists."""
    rows = [
        TVQA_PLUS,
        TVQA_PLUS | {"qid": 2, "ts": [float("nan"), 3]},
        {name: TVQA_PLUS[name] for name in TVQA_PLUS if name != "answer_idx"} | {"qid": 3},
        TVQA_PLUS | {"qid": 4, "answer_idx": "5"},
    ]
    answers = tuple(TVQA_PLUS[f"a{number}"] for number in range(5))

    def expected(query_id, where, moments=((5.99, 11.98),), label=1):
        clip, text = TVQA_PLUS["vid_name"], TVQA_PLUS["q"]
        query = RawQuery(query_id, clip, text, moments, answers=answers, label=label)
        return Annotation(query, file.at(where))

    mistake = "answer_idx has to be a whole number from 0 to 4, not 5"
    for content, places in (
        (json.dumps(rows), [f"entry {n} ({row['qid']})" for n, row in enumerate(rows)]),
        ("\n".join(map(json.dumps, rows)), [f"line {n}" for n in range(1, 5)]),
    ):
        first, second, third, fourth = places
        found = [
            expected("134094", first),
            expected("2", second, moments=()),
            expected("3", third, label=-1),
        ]
        file.text(content).check("tvqa", found, [f"{fourth}: {mistake}"])


def test_violin_as_lines(file):
    false = VIOLIN | {"desc_id": "dh_s08e07_clip_1374_1411-2-0", "label": 0}
    unlabelled = {name: VIOLIN[name] for name in VIOLIN if name != "label"} | {"desc_id": "x-1"}
    file.lines(VIOLIN, false, unlabelled, VIOLIN | {"desc_id": "dh_s08e07_clip_1374_1411-2"})
    clip = "dh_s08e07_clip_1374_1411"
    rows = [(f"{clip}-2-1", 1, f"{clip}-2"), (f"{clip}-2-0", 0, f"{clip}-2"), ("x-1", -1, "x")]
    expected = [
        Annotation(
            RawQuery(query_id, clip, "The woman is glad.", label=label, group=group),
            file.at(f"line {line}"),
        )
        for line, (query_id, label, group) in enumerate(rows, 1)
    ]
    what = f"desc_id has to end in -0 or -1, which '{clip}-2' does not"
    file.check("violin", expected, [f"line 4: {what}"])


def test_violin_as_lines_may_be_one_line(file):
    file.text(json.dumps(VIOLIN))
    assert [a.query.query_id for a in file.read("violin")[1]] == ["dh_s08e07_clip_1374_1411-2-1"]


@pytest.mark.parametrize("indent", [None, 2])
def test_violin_as_published(file, indent):
    def clip(clip_id, split, statements):
        return {"file": clip_id, "split": split, "statement": statements, "source": "friends"}

    content = {
        "a": clip("a", "train", [["He is.", "He is not."], ["Alone."], ["She is.", "No."]]),
        "b": clip("b", "validate", [["They are.", "They are not."]]),
        "c": clip("c", "dev set", [["It is.", "It is not."]]),
    }
    file.text(json.dumps(content, indent=indent))
    rows = [
        ("a_0", 1, "He is.", "train", "entry 0 ('a'), statement 0"),
        ("a_0", 0, "He is not.", "train", "entry 0 ('a'), statement 0"),
        ("a_2", 1, "She is.", "train", "entry 0 ('a'), statement 2"),
        ("a_2", 0, "No.", "train", "entry 0 ('a'), statement 2"),
        ("b_0", 1, "They are.", "validation", "entry 1 ('b'), statement 0"),
        ("b_0", 0, "They are not.", "validation", "entry 1 ('b'), statement 0"),
    ]
    expected = [
        Annotation(
            RawQuery(f"{group}-{label}", group[0], text, label=label, group=group),
            file.at(place),
            split=split,
        )
        for group, label, text, split, place in rows
    ]
    report = Report()
    assert file.read("violin", report) == ("statement", expected)
    assert report.counts == {MISTAKE: 3}  # The lone statement, and both of c.
    alone, *unknown = report.examples[MISTAKE]
    assert alone.startswith(file.at("entry 0 ('a'), statement 1: statement has to be a pair"))
    assert all("entry 2 ('c'), statement 0: split has to be one of" in e for e in unknown)


def test_how2r(tmp_path):
    file = File(tmp_path, "how2R_val_release.csv").text(
        "z0r8QCIuHaM,[180:240],[184.01:241.7],The woman sews\r\n"
        'zw9Af2IOI8U,[0:60],[17.1:38.11],"In the garage, a ""woodworker""\r\n'
        'discusses."\r\n'
        "\r\n"
        "z0r8QCIuHaM,[0:60],[3.1;4],The woman sews\r\n"
        "z0r8QCIuHaM,[60:120],[121.56:121.56],The woman sews\r\n"
        "z0r8QCIuHaM,[60:120],The woman sews\r\n"
    )
    rows = [
        (1, "z0r8QCIuHaM", "The woman sews", (184.01, 241.7), (180, 240)),
        (3, "zw9Af2IOI8U", 'In the garage, a "woodworker"\r\ndiscusses.', (17.1, 38.11), (0, 60)),
        (6, "z0r8QCIuHaM", "The woman sews", (121.56, 121.56), (60, 120)),
    ]
    expected = [
        Annotation(
            RawQuery(f"how2R_val_release-{line}", video, text, (moment,)),
            file.at(f"line {line}"),
            in_video=True,
            window=window,
        )
        for line, video, text, moment, window in rows
    ]
    mistakes = [
        "line 5: moment has to be [start:end] in seconds, not '[3.1;4]'",
        "line 7: it has 3 columns instead of 4",
    ]
    file.check("how2r", expected, mistakes)


def test_how2qa(tmp_path):
    file = File(tmp_path, "how2QA.csv").text(
        'Vf9EtYfqhzI,[139.07:147.38],to rest,"for fun, only",,Why does he cut?,To fit it\n'
        "Vf9EtYfqhzI,[139.07:147.38],to rest,for fun,to test,Why does he cut?,\n"
        "Vf9EtYfqhzI,[139.07:147.38],to rest,for fun,to test,Why does he cut?\n"
        "Vf9EtYfqhzI,[147:139],to rest,for fun,to test,Why does he cut?,To fit it\n"
    )
    query = RawQuery(
        query_id="how2QA-1",
        clip_id="Vf9EtYfqhzI",
        text="Why does he cut?",
        moments=((139.07, 147.38),),
        answers=("to rest", "for fun, only", "", "To fit it"),
        label=3,
    )
    mistakes = [
        "line 2: right is empty",
        "line 3: it has 6 columns instead of 7",
        "line 4: moment goes from 147.0 to 139.0",
    ]
    annotation = Annotation(query, file.at("line 1"), in_video=True, window=(120, 180))
    file.check("how2qa", [annotation], mistakes)


def test_didemo(file):
    file.text(json.dumps([DIDEMO, DIDEMO | {"annotation_id": 11, "times": [[0, 1.5]]}, [], DIDEMO]))
    query = RawQuery(
        query_id="10",
        clip_id="12090392@N02_13482799053_87ef417396.mov",
        text="a dog jumps",
        moments=((0, 5), (5, 25), (0, 5), (25, 30)),
    )
    mistakes = [
        "entry 1 (11): times has to hold whole numbers of segments, not [0, 1.5]",
        "entry 2: it has to be an object in braces, not []",
        f"entry 3 (10): id '10' came before, at {file.at('entry 0 (10)')}",
    ]
    file.check("didemo", [Annotation(query, file.at("entry 0 (10)"))], mistakes)


def test_msrvtt(file):
    videos = [
        MSRVTT_VIDEO,
        {"video_id": "video1", "split": "validate"},
        MSRVTT_VIDEO | {"video_id": "video2", "end time": 100},
        {"split": "test"},
    ]
    sentences = [
        MSRVTT_SENTENCE,
        MSRVTT_SENTENCE | {"sen_id": 1, "video_id": "video1"},
        MSRVTT_SENTENCE | {"sen_id": 2, "video_id": "video2"},
        MSRVTT_SENTENCE | {"sen_id": 3, "video_id": "video3"},
        MSRVTT_SENTENCE | {"sen_id": 4, "caption": " "},
        MSRVTT_SENTENCE | {"sen_id": 5},
    ]
    file.text(json.dumps({"info": {}, "videos": videos, "sentences": sentences}))
    report = Report()
    found_type, found = file.read("msrvtt", report)
    assert found_type == "query"
    first, second, third = found
    assert first.duration == pytest.approx(11.72)
    text = "a car is shown"
    for annotation, sen_id, video, split in [
        (first, 0, "video0", "train"),
        (second, 1, "video1", "validation"),
        (third, 5, "video0", "train"),
    ]:
        where = file.at(f"entry {sen_id} ({sen_id})")
        query = RawQuery(str(sen_id), video, text)
        duration = first.duration if video == "video0" else None
        assert annotation == Annotation(query, where, split=split, duration=duration)
    assert report.counts == {MISTAKE: 3}
    assert report.examples[MISTAKE] == [
        file.at("entry 2 (2): start time to end time goes from 137.72 to 100.0"),
        file.at("entry 3 (3): video_id 'video3' is 0 times among the videos, not once"),
        file.at("entry 4 (4): caption is empty"),
    ]


@pytest.mark.shared
def test_reads_real_queries():
    path = Path(SHARED) / "tvr_text" / "queries_train.jsonl"
    report = Report()
    found_type, found = read_annotations(path, "tvr", report)
    assert (found_type, len(found), report.counts) == ("query", 1441, {})
    text = "Joey walks in to an apartment through the front door."
    query = RawQuery("90915", "friends_s03e21_seg02_clip_16", text, ((18.4, 19.49),), "v")
    assert found[0] == Annotation(query, f"{path} line 1", duration=54.13)
