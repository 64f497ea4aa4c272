"""Messages about every mistake in a row of annotations, and about unusable files."""

import json

import pytest

from data.errors import InputError
from data.report import Report
from data.sources.annotations.registry import FORMS, MISTAKE
from tests.data.sources.annotations.annotation_samples import (
    CHARADES,
    DIDEMO,
    MSRVTT_SENTENCE,
    MSRVTT_VIDEO,
    PLAIN,
    QVHIGHLIGHTS,
    TVC,
    TVQA,
    TVQA_PLUS,
    TVR,
    VIOLIN,
    File,
)


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


def without(row, name):
    return {other: value for other, value in row.items() if other != name}


# With one caption, so that a mistake in the moment is one mistake.
MOMENT = TVC | {"descs": TVC["descs"][:1]}

# A form, a row in it with a mistake, and what is said of it.
MISTAKES = [
    ("tvr", "{", "it is not JSON (Expecting property name"),
    ("tvr", "[" * 100_000, "it is not JSON that can be read"),
    ("tvr", "1" * 5000, "it is not JSON that can be read"),
    ("tvr", "[1]", "it has to be an object in braces, not [1]"),
    ("tvr", without(TVR, "desc"), "desc is missing"),
    ("tvr", TVR | {"desc": 3}, "desc has to be a string, not 3"),
    ("tvr", TVR | {"desc": " \n"}, "desc is empty"),
    ("tvr", TVR | {"desc": "\ud83d"}, "desc has half of a surrogate pair"),
    ("tvr", without(TVR, "desc_id"), "desc_id is missing"),
    ("tvr", TVR | {"desc_id": True}, "desc_id has to be a whole number or a string, not True"),
    ("tvr", TVR | {"desc_id": 1.5}, "desc_id has to be a whole number or a string, not 1.5"),
    ("tvr", TVR | {"desc_id": ""}, "desc_id is empty"),
    ("tvr", without(TVR, "vid_name"), "vid_name is missing where ts is not"),
    ("tvr", TVR | {"vid_name": ["a"]}, "vid_name has to be a string, not ['a']"),
    ("tvr", TVR | {"type": 1}, "type has to be a string, not 1"),
    ("tvr", TVR | {"ts": []}, "ts has to be [start, end], not []"),
    ("tvr", TVR | {"ts": [3]}, "ts has to be [start, end], not [3]"),
    ("tvr", TVR | {"ts": "3-4"}, "ts has to be [start, end], not '3-4'"),
    ("tvr", TVR | {"ts": [3, "4"]}, "ts has to be a number, not '4'"),
    ("tvr", TVR | {"ts": [False, 4]}, "ts has to be a number, not False"),
    ("tvr", TVR | {"ts": [3, float("nan")]}, "ts is not finite"),
    ("tvr", TVR | {"ts": [3, float("inf")]}, "ts is not finite"),
    ("tvr", TVR | {"ts": [3, 10**400]}, "ts is not finite"),
    ("tvr", TVR | {"ts": [[1, 2], [4, 3]]}, "ts goes from 4.0 to 3.0"),
    ("tvr", TVR | {"duration": 0}, "duration is 0.0"),
    ("tvr", TVR | {"duration": "61"}, "duration has to be a number, not '61'"),
    ("tvc", without(MOMENT, "ts"), "ts is missing"),
    ("tvc", without(MOMENT, "clip_id"), "clip_id is missing"),
    ("tvc", without(MOMENT, "vid_name"), "vid_name is missing"),
    ("tvc", MOMENT | {"descs": "a dog"}, "descs has to be a list of captions, or left out"),
    ("tvc", MOMENT | {"descs": [None]}, "descs has to hold objects in braces"),
    ("tvc", "{}", "clip_id is missing"),
    ("tvqa", without(TVQA, "q"), "q is missing"),
    ("tvqa", without(TVQA, "a2"), "a2 is missing"),
    ("tvqa", without(TVQA, "vid_name"), "vid_name is missing"),
    ("tvqa", TVQA | {"a4": "\udc00"}, "a4 has half of a surrogate pair"),
    ("tvqa", TVQA | {"answer_idx": -1}, "answer_idx has to be a whole number from 0 to 4, not -1"),
    (
        "tvqa",
        TVQA | {"answer_idx": "5"},
        "answer_idx has to be a whole number from 0 to 4, not 5",
    ),
    (
        "tvqa",
        TVQA | {"answer_idx": "a4"},
        "answer_idx has to be a whole number from 0 to 4, not 'a4'",
    ),
    (
        "tvqa",
        TVQA | {"answer_idx": True},
        "answer_idx has to be a whole number from 0 to 4, not Tr",
    ),
    ("tvqa", TVQA | {"ts": [1, 2, 3]}, "ts has to be [start, end], not [1, 2, 3]"),
    ("tvqa", TVQA | {"ts": [2, 1]}, "ts goes from 2.0 to 1.0"),
    ("tvqa", TVQA | {"ts": 3}, "ts has to be a string, not 3"),
    ("tvqa", TVQA | {"ts": "1.2"}, "ts has to be start-end in seconds, not '1.2'"),
    ("tvqa", TVQA | {"ts": "1-2-3"}, "ts has to be start-end in seconds, not '1-2-3'"),
    ("tvqa", TVQA | {"ts": "9-8"}, "ts goes from 9.0 to 8.0"),
    ("violin", without(VIOLIN, "vid_name"), "vid_name is missing"),
    ("violin", VIOLIN | {"label": 2}, "label has to be true or false, not 2"),
    ("violin", VIOLIN | {"label": 1.0}, "label has to be true or false, not 1.0"),
    ("violin", VIOLIN | {"desc_id": "-1"}, "desc_id has to end in -0 or -1, which '-1' does not"),
    ("plain", PLAIN | {"star": 1}, "'star' is no field (did you mean 'start'?)"),
    ("plain", without(PLAIN, "end"), "end is missing"),
    ("plain", without(PLAIN, "start"), "start is missing"),
    ("plain", without(PLAIN, "video"), "video is missing where start and end are not"),
    ("plain", without(PLAIN, "text"), "text is missing"),
    ("plain", PLAIN | {"end": 1}, "start to end goes from 3.2 to 1.0"),
    ("plain", PLAIN | {"start": "0:03"}, "start has to be a number, not '0:03'"),
    ("plain", PLAIN | {"answer": 0}, "answer is no field of a query"),
    ("plain", PLAIN | {"group": "g"}, "group is no field of a query"),
    ("plain", PLAIN | {"true": True, "answer": 0}, "answer is no field of a statement"),
    ("plain", PLAIN | {"answers": "dog"}, "answers has to be a list, not 'dog'"),
    ("plain", PLAIN | {"answers": ["dog", 1]}, "answers has to be a string, not 1"),
    (
        "plain",
        PLAIN | {"answers": ["dog", "cat"], "answer": 2},
        "answer has to be a whole number from 0 to 1, not 2",
    ),
]
GOOD = {"tvr": TVR, "tvc": TVC, "tvqa": TVQA, "violin": VIOLIN, "plain": PLAIN}


@pytest.mark.parametrize(("form", "row", "said"), MISTAKES)
def test_a_row_with_a_mistake_is_left_out_and_counted(file, form, row, said):
    alone = file.lines("", GOOD[form]).read(form)
    report = Report()
    assert file.lines(row, GOOD[form]).read(form, report) == alone
    assert report.counts[MISTAKE] == 1
    example = report.examples[MISTAKE][0]
    assert example.startswith(file.at("line 1"))
    assert example.partition(": ")[2].startswith(said)
    assert example.isprintable()


CSV_MISTAKES = [
    ("a,[0:60],[1:2],", "query is empty"),
    (",[0:60],[1:2],sews", "video is empty"),
    ("a,0:60,[1:2],sews", "clip has to be [start:end] in seconds, not '0:60'"),
    ("a,[60:0],[1:2],sews", "clip goes from 60.0 to 0.0"),
    ("a,[-60:0],[1:2],sews", "clip goes from -60.0 to 0.0"),
    ("a,[0:60],[nan:2],sews", "moment has to be [start:end] in seconds, not '[nan:2]'"),
    ("a,[0:60],[1:" + "9" * 400 + "],sews", "moment goes from 1.0 to inf"),
    ('a,[0:60],[1:2],"sews" slowly', "it is not CSV"),
]


@pytest.mark.parametrize(("row", "said"), CSV_MISTAKES)
def test_a_csv_row_with_a_mistake_is_left_out_and_counted(file, row, said):
    file.text(f"{row}\nb,[0:60],[1:2],sews\n")
    report = Report()
    _, found = file.read("how2r", report)
    assert [annotation.query.query_id for annotation in found] == ["rows-2"]
    assert report.counts == {MISTAKE: 1}
    assert report.examples[MISTAKE][0].startswith(file.at(f"line 1: {said}"))


ENTRY_MISTAKES = [
    (without(DIDEMO, "times"), "times is missing"),
    (DIDEMO | {"times": []}, "times is empty"),
    (DIDEMO | {"times": [[0]]}, "times has to be [start, end], not [0]"),
    (DIDEMO | {"times": [[2, 1]]}, "times goes from 2.0 to 1.0"),
    (DIDEMO | {"times": [[0, 10**308]]}, "times goes from 0.0 to inf"),
    (without(DIDEMO, "video"), "video is missing"),
    (DIDEMO | {"description": ["a"]}, "description has to be a string, not ['a']"),
]


@pytest.mark.parametrize(("entry", "said"), ENTRY_MISTAKES)
def test_an_entry_with_a_mistake_is_left_out_and_counted(file, entry, said):
    file.text(json.dumps([entry, DIDEMO]))
    report = Report()
    _, found = file.read("didemo", report)
    assert [annotation.where for annotation in found] == [file.at("entry 1 (10)")]
    assert report.counts == {MISTAKE: 1}
    assert report.examples[MISTAKE] == [file.at(f"entry 0 (10): {said}")]


VIDEO_MISTAKES = [
    ([MSRVTT_VIDEO | {"split": "public"}], "split has to be one of"),
    ([MSRVTT_VIDEO | {"end time": 137.72}], "end time - start time is 0.0"),
    ([MSRVTT_VIDEO | {"start time": "0"}], "start time to end time has to be a number, not '0'"),
    ([MSRVTT_VIDEO, MSRVTT_VIDEO], "video_id 'video0' is 2 times among the videos, not once"),
    ([], "video_id 'video0' is 0 times among the videos, not once"),
]


@pytest.mark.parametrize(("videos", "said"), VIDEO_MISTAKES)
def test_sentences_of_a_video_with_a_mistake_are_left_out_and_counted(file, videos, said):
    good = MSRVTT_VIDEO | {"video_id": "video9"}
    sentences = [
        MSRVTT_SENTENCE,
        MSRVTT_SENTENCE | {"sen_id": 1},
        MSRVTT_SENTENCE | {"sen_id": 2, "video_id": "video9"},
    ]
    file.text(json.dumps({"videos": [*videos, good], "sentences": sentences}))
    report = Report()
    _, found = file.read("msrvtt", report)
    assert [annotation.query.query_id for annotation in found] == ["2"]
    assert report.counts == {MISTAKE: 2}
    assert report.examples[MISTAKE][1].startswith(file.at(f"entry 1 (1): {said}"))


CLIP_MISTAKES = [
    ([], "it has to be an object in braces, not []"),
    ({"file": "a", "split": "train"}, "statement is missing"),
    ({"statement": {}}, "statement has to be a list, not {}"),
]


@pytest.mark.parametrize(("clip", "said"), CLIP_MISTAKES)
def test_a_clip_of_violin_with_a_mistake_is_left_out_and_counted(file, clip, said):
    file.text(json.dumps({"a": clip, "b": {"statement": [["yes", "no"]]}}))
    report = Report()
    _, found = file.read("violin", report)
    assert [annotation.query.query_id for annotation in found] == ["b_0-1", "b_0-0"]
    assert report.examples[MISTAKE] == [file.at(f"entry 0 ('a'): {said}")]


@pytest.mark.parametrize("pair", [["yes"], ["yes", "no", "maybe"], ["yes", None], "yes"])
def test_half_a_pair_of_statements_is_left_out_and_counted(file, pair):
    file.text(json.dumps({"a": {"statement": [pair, ["yes", "no"]]}}))
    report = Report()
    _, found = file.read("violin", report)
    assert [annotation.query.query_id for annotation in found] == ["a_1-1", "a_1-0"]
    assert report.counts == {MISTAKE: 1}


def test_the_first_of_two_rows_with_one_id_is_kept(file):
    file.lines(TVR, TVR | {"desc_id": "90200", "desc": "Another."})
    _, found = file.read("tvr", report := Report())
    assert [annotation.query.text for annotation in found] == [TVR["desc"]]
    said = f"line 2: id '90200' came before, at {file.at('line 1')}"
    assert report.examples[MISTAKE] == [file.at(said)]


def test_a_byte_order_mark_and_windows_lines_do_not_matter(file):
    file.text("\ufeff" + json.dumps(TVR) + "\r\n" + json.dumps(TVR | {"desc_id": 2}) + "\r\n")
    assert len(file.read("tvr")[1]) == 2
    file.text("\ufeffa,[0:60],[1:2],sews\r\n")
    assert file.read("how2r")[1][0].query.clip_id == "a"


# A form, what a file holds that cannot be used in it, and what is said.
UNUSABLE = {
    "empty": ("tvr", b"\n", r"has nothing that can be used as tvr \(it has no rows\): correct"),
    "a list": ("tvr", b'[{"desc_id": 1}]', r"as tvr \(.* line 1: it has to be an object"),
    "all bad": ("tvqa", b"{}\n{", r"as tvqa \(.* line 1: a0 is missing;"),
    "Latin-1": ("tvr", b'{"desc": "\xe9"}', "is not UTF-8"),
    "Latin-1 CSV": ("how2r", b"\xe9", "is not UTF-8"),
    "Latin-1 object": ("violin", b'{"a": "\xe9"}', "is not UTF-8"),
    "broken list": ("didemo", b"[{]", r"cannot be used, it is not JSON \(.*\): correct it"),
    "object": ("didemo", b"{}", "is no list, which is how DiDeMo is published"),
    "no entries": ("didemo", b"[]", "it has no rows"),
    "no object": ("msrvtt", b"[]", "is not as MSR-VTT is published, it has to be an object"),
    "no videos": ("msrvtt", b'{"sentences": []}', "published, videos is missing: correct it"),
    "no sentences": ("msrvtt", b'{"videos": []}', "published, sentences is missing"),
    "broken object": ("violin", b'{"a": {"statement": [', "line 1: it is not JSON"),
    "other columns": ("how2qa", b"a,[0:60],[1:2],sews", "it has 4 columns instead of 7"),
    "open quote": (
        "how2r",
        b'a,[0:60],[1:2],sews\nb,[0:60],[1:2],"cuts\nc,[0:60],[1:2],"cooks"\n',
        "line 2 has a quote that is not closed where it should be",
    ),
    "open quote at the end": (
        "how2r",
        b'a,[0:60],[1:2],sews\nb,[0:60],[1:2],"cuts\nc,[0:60],[1:2],cooks\n',
        "line 2 has a quote that is not closed where it should be",
    ),
}


@pytest.mark.parametrize(("form", "content", "said"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_says_in_a_sentence_why_a_file_cannot_be_used(file, form, content, said):
    file.path.write_bytes(content)
    earlier = Report({MISTAKE: 1})  # Of another file.
    with pytest.raises(InputError, match=said) as caught:
        file.read(form, earlier)
    assert str(caught.value).startswith(str(file.path))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("form", FORMS)
def test_says_that_there_is_no_file(file, form):
    with pytest.raises(InputError, match=r"rows\.json cannot be read \(No such file"):
        file.read(form)


# A form, rows in another, what is said of their fields, and the form that they are in.
OTHER_FORMS = [
    (
        "tvr",
        QVHIGHLIGHTS,
        "desc_id is missing; tvr needs desc_id, desc, and it has qid, query, duration, vid, "
        "relevant_windows, relevant_clip_ids, saliency_scores",
        "qvhighlights",
    ),
    ("qvhighlights", TVR, "qid is missing; qvhighlights needs qid, query, vid, and it", "tvr"),
    ("tvqa", TVR, "a0 is missing; tvqa needs qid, q, a0, a1, a2, a3, a4, vid_name, and it", "tvr"),
    ("plain", TVQA_PLUS, "'answer_idx' is no field (did you mean 'answer'?); plain", "tvqa"),
    ("violin", TVC, "desc_id is missing; violin needs desc_id, desc, vid_name, and it", "tvc"),
    ("tvc", PLAIN, "clip_id is missing; tvc needs clip_id, vid_name, ts, and it has id,", "plain"),
    ("tvr", CHARADES, "it is not JSON", "charades"),
    ("charades", QVHIGHLIGHTS, "it has to be VIDEO start end##sentence", "qvhighlights"),
    ("how2r", CHARADES, "it has 1 columns instead of 4", "charades"),
    ("didemo", TVR, "it is not JSON (Extra data", "tvr"),
    ("msrvtt", VIOLIN, "it is not JSON (Extra data", "violin"),
]


@pytest.mark.parametrize(("form", "row", "said", "other"), OTHER_FORMS)
def test_names_the_fields_and_the_form_that_a_file_is_in(file, form, row, said, other):
    with pytest.raises(InputError) as caught:
        file.lines(row, row).read(form)
    assert said in str(caught.value)
    assert str(caught.value).endswith(f"it is of the form {other}, name that one")


def test_names_no_form_that_does_not_fit(file):
    with pytest.raises(InputError, match=r"and it has star, fish\): correct it or name another"):
        file.lines({"star": 1, "fish": 2}).read("tvr")
    with pytest.raises(InputError, match=r"and it has f0, .*, f14, \.\.\.\): correct it"):
        file.lines({f"f{number}": 1 for number in range(20)}).read("tvr")


def test_says_which_forms_there_are(file):
    with pytest.raises(InputError, match=r"no form 'tvqas' \(did you mean tvqa\?\)"):
        file.lines(TVR).read("tvqas")
    with pytest.raises(InputError, match=r"no form 'didem' .*: it can be plain, tvr, tvc"):
        file.lines(TVR).read("didem")
