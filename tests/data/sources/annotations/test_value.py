"""Annotations in the forms in which VALUE publishes them; rows are of its own examples."""

import pytest

from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import MISTAKE
from tests.data.sources.annotations.annotation_samples import TVC, TVQA, TVR, File

YC2R = {
    "vid_name": "ljyO7IaGWLY_10",
    "duration": 7,
    "desc": "layer marinara sauce and pierogies",
    "desc_id": 10337,
}
YC2C = {
    "vid_name": "ljyO7IaGWLY_10",
    "clip_id": 13447,
    "duration": 7,
    "descs": [{"desc": "layer marinara sauce and pierogies", "desc_id": 10337}],
}
VATEX = {
    "vid_name": "--07WQ2iBlw_000001_000011",
    "clip_id": 25991,
    "duration": 10,
    "descs": [{"desc": "A man climbs.", "desc_id": 259910}, {"desc": "Up.", "desc_id": 259911}],
}
VLEP = {
    "example_id": 20142,
    "vid_name": "friends_s03e09_seg02_clip_07_ep",
    "ts": [38.81, 40.37],
    "events": ["Ross will stop and point.", "Ross will stop and ask."],
    "answer": 0,
    "split": "dev",
}
VIOLIN = {
    "paired_id": "gt3ntYidpvs_clip_000_040-0-0",
    "vid_name": "gt3ntYidpvs_clip_000_040",
    "statement": "The man is glad.",
    "example_id": 85722,
    "answer": 1,
}
HOW2QA = {
    **{f"a{n}": text for n, text in enumerate(("salt", "oil", "", "flour"))},
    "q": "What is added?",
    "qid": "how2qa_1",
    "ts": "36.58-58.52",
    "vid_name": "10023",
    "answer_idx": 3,
}
# A form, a row in it with a mistake, and what is said of it.
MISTAKES = [
    ("yc2r", YC2R | {"ts": [1, 2]}, "ts is the time of a moment, where whole clips are described"),
    ("yc2c", YC2C | {"ts": [1, 2]}, "ts is the time of a moment, where whole clips are described"),
    ("yc2c", {"vid_name": "a"}, "clip_id is missing"),
    ("yc2c", {"desc_id": 5, "desc": "stir"}, "vid_name is missing"),
    ("vatex_en_c", VATEX | {"descs": []}, "descs has to be a list of captions, or left out"),
    ("vlep", VLEP | {"events": ["He sits."]}, "events has to hold two or more, not 1"),
    ("vlep", VLEP | {"events": ["He sits.", 3]}, "events has to be a string, not 3"),
    ("vlep", VLEP | {"answer": 2}, "answer has to be a whole number from 0 to 1, not 2"),
    ("vlep", VLEP | {"split": "trial"}, "split has to be one of val, dev"),
    ("value_violin", VIOLIN | {"answer": 2}, "answer has to be true or false, not 2"),
    ("value_violin", VIOLIN | {"paired_id": "x"}, "paired_id has to end in a hyphen and a number"),
    ("value_how2qa", HOW2QA | {"a4": "milk"}, "a4 is one answer more than 4"),
    ("value_how2qa", HOW2QA | {"answer_idx": 4}, "answer_idx has to be a whole number from 0 to 3"),
]
GOOD = {
    "yc2r": YC2R,
    "yc2c": YC2C,
    "vatex_en_c": VATEX,
    "vlep": VLEP,
    "value_violin": VIOLIN,
    "value_how2qa": HOW2QA,
}


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


@pytest.mark.parametrize("form", ["yc2r", "vatex_en_r"])
def test_queries_about_whole_clips_may_lack_their_clip(file, form):
    file.lines(YC2R, {"desc": "stir", "desc_id": "13829"})
    found = RawQuery("10337", YC2R["vid_name"], YC2R["desc"])
    hidden = Annotation(RawQuery("13829", "", "stir"), file.at("line 2"))
    file.check(form, [Annotation(found, file.at("line 1"), duration=7), hidden], [])


def test_captions_of_whole_clips_may_be_hidden(file):
    hidden = {"vid_name": "--0_000001_000011", "clip_id": 34991}
    file.lines(VATEX, hidden)
    rows = [
        ("259910", VATEX["vid_name"], "A man climbs.", "25991", "line 1, descs 0", 10),
        ("259911", VATEX["vid_name"], "Up.", "25991", "line 1, descs 1", 10),
        ("clip-34991", hidden["vid_name"], "", "34991", "line 2", None),
    ]
    expected = [
        Annotation(RawQuery(name, clip, text, group=group), file.at(place), duration=seconds)
        for name, clip, text, group, place, seconds in rows
    ]
    file.check("vatex_en_c", expected, [])


def test_queries_are_captions_where_the_baseline_trains_on_them(file):
    """VATEX-EN-C and YC2C: the captions of a clip belong together by its name."""
    query = RawQuery("10337", YC2R["vid_name"], YC2R["desc"], group=YC2R["vid_name"])
    file.lines(YC2R).check("yc2c", [Annotation(query, file.at("line 1"), duration=7)], [])


def test_events_are_the_answers_of_a_question_without_text_and_time(file):
    unlabelled = {name: VLEP[name] for name in VLEP if name not in ("answer", "split")}
    file.lines(VLEP, unlabelled | {"example_id": 1})
    known = {"clip_id": VLEP["vid_name"], "text": "", "answers": tuple(VLEP["events"])}
    expected = [
        Annotation(RawQuery("20142", label=0, **known), file.at("line 1"), split="validation"),
        Annotation(RawQuery("1", **known), file.at("line 2")),
    ]
    file.check("vlep", expected, [])


def test_statements_belong_together_by_their_paired_id(file):
    private = {name: VIOLIN[name] for name in ("vid_name", "statement")} | {"example_id": 7}
    file.lines(VIOLIN, private)
    known = {"clip_id": VIOLIN["vid_name"], "text": "The man is glad."}
    group = "gt3ntYidpvs_clip_000_040-0"
    expected = [
        Annotation(RawQuery("85722", label=1, group=group, **known), file.at("line 1")),
        Annotation(RawQuery("7", **known), file.at("line 2")),
    ]
    file.check("value_violin", expected, [])


def test_how2qa_has_four_answers_and_times_within_clips(file):
    query = RawQuery(
        "how2qa_1",
        "10023",
        "What is added?",
        ((36.58, 58.52),),
        answers=("salt", "oil", "", "flour"),
        label=3,
    )
    file.lines(HOW2QA).check("value_how2qa", [Annotation(query, file.at("line 1"))], [])


@pytest.mark.parametrize(("form", "row", "said"), MISTAKES)
def test_a_row_with_a_mistake_is_left_out_and_counted(file, form, row, said):
    alone = file.lines("", GOOD[form]).read(form)
    report = Report()
    assert file.lines(row, GOOD[form]).read(form, report) == alone
    assert report.counts[MISTAKE] == 1
    assert report.examples[MISTAKE][0].partition(": ")[2].startswith(said)


@pytest.mark.parametrize(
    ("row", "form"), [(TVR, "tvr"), (TVC, "tvc"), (TVQA, "tvqa"), (HOW2QA, "value_how2qa")]
)
def test_the_form_of_moments_is_told_from_that_of_whole_clips(file, row, form):
    with pytest.raises(InputError, match=f"it is of the form {form}, name that one"):
        file.lines(row).read("vlep")
