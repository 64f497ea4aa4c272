"""The original's databases of queries: those its scripts wrote, and small ones."""

import json
import math

import pytest

from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources.original.queries import StoredQuery, read_queries
from data.tokenizer import Tokenizer, lower_shouting
from tests.data.sources.original.original_samples import (
    LAYOUT,
    META,
    SHARED,
    clips_of,
    needs_shared,
    write_texts,
)


@needs_shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_queries_are_those_that_the_original_prepared(split):
    report = Report()
    query_type, found = read_queries(LAYOUT / "txt_db" / f"tvr_{split}.db", report)
    rows = clips_of(LAYOUT / "ann" / f"queries_{split}.jsonl")
    tokenizer = Tokenizer.load(SHARED / "roberta_bpe")
    ids = [tokenizer.encode(lower_shouting(row["desc"])) for row in rows]
    expected = [
        StoredQuery(
            RawQuery(
                query_id=str(row["desc_id"]),
                clip_id=row["vid_name"],
                text=row["desc"],
                moments=((row["ts"][0], row["ts"][1]),),
                kind=row["type"],
                token_ids=tuple(tokens),
            ),
            row["duration"],
        )
        for row, tokens in zip(rows, ids, strict=True)
    ]
    assert query_type == "query"
    assert found == sorted(expected, key=lambda stored: stored.query.query_id)
    assert not report.counts


def stored(query_id, clip_id, text, tokens, duration=None, **fields) -> StoredQuery:
    return StoredQuery(
        RawQuery(query_id, clip_id, text, token_ids=tuple(tokens), **fields), duration
    )


def with_task(task):
    return META | {"task": task} if task else {key: META[key] for key in META.keys() - {"task"}}


@pytest.mark.parametrize("task", ["tvr", "how2r", "didemo", None])
def test_reads_queries(tmp_path, task):
    query = {"desc": "a dog", "input_ids": [7, 8], "type": "v", "duration": 60.5}
    values = {
        "2": query | {"vid": "x", "vid_name": "x", "ts": [1, 2.5], "target": [1, 2.5]},
        "10": query | {"vid": "x", "ts": [[0, 5], [5, 10], [0, 5], [0, 10]], "target": [0, 5]},
        "3": query | {"target": [4, 6], "vid_name": "y"},
        "4": {"desc": "", "input_ids": [], "target": None, "duration": -1},
    }
    report = Report()
    folder = write_texts(tmp_path / "tvr_train.db", values, with_task(task))
    assert read_queries(folder, report) == (
        "query",
        [
            stored(
                *("10", "x", "a dog", [7, 8], 60.5),
                moments=((0.0, 5.0), (5.0, 10.0), (0.0, 5.0), (0.0, 10.0)),
                kind="v",
            ),
            stored("2", "x", "a dog", [7, 8], 60.5, moments=((1.0, 2.5),), kind="v"),
            stored("3", "y", "a dog", [7, 8], 60.5, moments=((4.0, 6.0),), kind="v"),
            stored("4", "", "", []),
        ],
    )
    assert report.counts == {"impossible durations: not used": 1}
    assert report.examples["impossible durations: not used"] == [
        f"{folder}, query 4: duration is -1.0"
    ]


def test_looks_up_what_is_not_in_the_values(tmp_path):
    """MSR-VTT: texts and videos have other names, and their own ids for training and test."""
    ids = {"input_ids": [7], "target": None}
    folder = write_texts(
        tmp_path / "msrvtt.db", {"5": ids, "ret6": ids, "7": ids}, with_task("msrvtt")
    )
    (folder / "query2video.json").write_text(json.dumps({"7": "video7"}))
    lines = [
        {"sen_id": 5, "clip_name": "video5", "caption": "a cat"},
        "broken",
        {"retrieval_key": "ret6", "clip_name": "video6", "caption": "a cow"},
        {"desc_id": 7, "desc": "a pig"},
        {"desc": "nobody's"},
    ]
    (folder / "query_data.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    report = Report()
    assert read_queries(folder, report) == (
        "query",
        [
            stored("5", "video5", "a cat", [7]),
            stored("7", "video7", "a pig", [7]),
            stored("ret6", "video6", "a cow", [7]),
        ],
    )
    assert report.counts == {"annotations with a mistake: not used": 2}
    first, second = report.examples["annotations with a mistake: not used"]
    assert first.startswith(f"{folder}/query_data.jsonl line 2: ")
    assert second.startswith(f"{folder}/query_data.jsonl line 5: ")


QUESTION = {"q": "Who?", "vid_name": "x", "vid": "x", "input_ids": [[9], [1], [], [2, 3]]}


QUESTION |= {"a0": "I", "a1": "", "a2": "you two"}


@pytest.mark.parametrize("task", ["tvqa", "how2qa", None])
def test_reads_questions(tmp_path, task):
    values = {
        "1": QUESTION | {"ts": "3.5-20", "answer_idx": 2, "target": 2, "qid": "1"},
        "2": QUESTION | {"ts": "NaN-NaN", "target": 0},
        "3": QUESTION | {"ts": None, "target": 1},
        "4": QUESTION | {"ts": math.nan, "target": None},
        "5": QUESTION | {"ts": "8.5"},
        "6": QUESTION | {"ts": [2, 1]},
    }
    report = Report()
    folder = write_texts(tmp_path / "tvqa_val.db", values, with_task(task))
    query_type, found = read_queries(folder, report)
    assert query_type == "question"
    answers = {"answers": ("I", "", "you two"), "answer_token_ids": ((1,), (), (2, 3))}
    assert found[0] == stored("1", "x", "Who?", [9], moments=((3.5, 20.0),), label=2, **answers)
    assert found[1] == stored("2", "x", "Who?", [9], label=0, **answers)
    assert found[2] == stored("3", "x", "Who?", [9], label=1, **answers)
    assert found[3:] == [stored(str(i), "x", "Who?", [9], **answers) for i in (4, 5, 6)]
    reason = "moments with impossible times: not used"
    assert report.counts == {reason: 4}
    assert report.examples[reason][0] == f"{folder}, query 2: ts is 'NaN-NaN'"


@pytest.mark.parametrize("task", ["violin", None])
@pytest.mark.parametrize("labels", [{"target": True}, {"label": 1}])
def test_reads_statements(tmp_path, task, labels):
    (field, true) = next(iter(labels.items()))
    statement = {"desc": "it rains", "input_ids": [7], "vid": "x", "ts": [0, 2]}
    values = {
        "a film": statement | {field: true},
        "film-1-0": statement | {field: type(true)(0)},
        "film-1-1": statement | {field: None},
    }
    folder = write_texts(tmp_path / "violin.db", values, with_task(task))
    report = Report()
    moments = {"moments": ((0.0, 2.0),)}
    assert read_queries(folder, report) == (
        "statement",
        [
            stored("a film", "x", "it rains", [7], label=1, **moments),
            stored("film-1-0", "x", "it rains", [7], label=0, group="film-1", **moments),
            stored("film-1-1", "x", "it rains", [7], group="film-1", **moments),
        ],
    )
    assert not report.counts


def test_queries_with_ids_in_pairs_are_statements(tmp_path):
    values = {"x-1": {"desc": "it rains", "input_ids": [7]}}
    assert read_queries(write_texts(tmp_path, values), Report()) == (
        "statement",
        [stored("x-1", "", "it rains", [7], group="x")],
    )


def test_reads_captions(tmp_path):
    caption = {"vid_name": "x", "ts": [0, 4.5], "sub_indices": [0], "duration": 60.0}
    texts = {"11": "A BAND", "12": "a crowd", "9": "Ann sings"}
    captions = {
        key: caption
        | {"desc_id": int(key), "desc": desc, "input_ids": [int(key)], "type": "vt"}
        | {"clip_id": "40" if key == "9" else "30"}
        for key, desc in texts.items()
    }
    clips = {
        clip_id: caption
        | {
            "captions": [
                {"id": value["desc_id"], "input_ids": value["input_ids"], "text": value["desc"]}
                for value in captions.values()
                if value["clip_id"] == clip_id
            ]
        }
        for clip_id in ("30", "40")
    }
    folder = tmp_path / "tvc_val.db"
    write_texts(folder / "cap.db", captions, meta=None)
    write_texts(folder / "clip.db", clips, meta=None)
    (folder / "meta.json").write_text(json.dumps(with_task(None)))
    report = Report()
    known = {"moments": ((0.0, 4.5),), "kind": "vt"}
    assert read_queries(folder, report) == (
        "caption",
        [
            stored("11", "x", "A BAND", [11], 60.0, group="30", **known),
            stored("12", "x", "a crowd", [12], 60.0, group="30", **known),
            stored("9", "x", "Ann sings", [9], 60.0, group="40", **known),
        ],
    )
    assert not report.counts


QUERY = {"desc": "a dog", "input_ids": [7], "vid": "x"}


QUERY_MISTAKES = {
    "no text": ("tvr", {"input_ids": [7]}, "desc is missing"),
    "text": ("tvr", QUERY | {"desc": 7}, "desc has to be a string"),
    "no ids": ("tvr", {"desc": "a dog"}, "input_ids is missing"),
    "ids": ("tvr", QUERY | {"input_ids": [[7]]}, "input_ids has to hold token ids"),
    "large ids": ("tvr", QUERY | {"input_ids": [2**31]}, "input_ids has to hold token ids"),
    "clip": ("tvr", QUERY | {"vid": 3}, "vid has to be a string"),
    "kind": ("tvr", QUERY | {"type": 3}, "type has to be a string"),
    "no question": ("tvqa", QUESTION | {"q": None}, "q is missing"),
    "no answer": ("tvqa", QUESTION | {"a2": None}, "a2 is missing"),
    "flat ids": ("tvqa", QUESTION | {"input_ids": [7, 8]}, "input_ids has to be a list"),
    "no ids of a question": ("tvqa", QUESTION | {"input_ids": []}, "input_ids is empty"),
    "answer": ("tvqa", QUESTION | {"target": 3}, "answer_idx has to be a whole number from 0 to 2"),
    "truth": ("violin", QUERY | {"target": "yes"}, "target has to be true or false"),
    "no moment's id": ("tvc", QUERY, "clip_id has to be|clip_id is missing"),
    "no fields": ("tvr", [1], "it has to be an object"),
}


@pytest.mark.parametrize(("task", "value", "said"), QUERY_MISTAKES.values(), ids=QUERY_MISTAKES)
def test_says_which_query_cannot_be_used(tmp_path, task, value, said):
    folder = write_texts(tmp_path / "tv.db", {"1": value}, with_task(task))
    with pytest.raises(InputError, match=f"^{folder}, query 1: ({said})") as caught:
        read_queries(folder, Report())
    assert len(str(caught.value).splitlines()) == 1


def test_says_what_else_is_wrong_with_a_database_of_queries(tmp_path):
    folder = write_texts(tmp_path / "tv.db", {})
    with pytest.raises(InputError, match=r"tv\.db holds no queries"):
        read_queries(folder, Report())
    (folder / "query2video.json").write_text("[")
    with pytest.raises(InputError, match=r"query2video\.json .*it is not JSON"):
        read_queries(folder, Report())
    (folder / "meta.json").unlink()
    with pytest.raises(InputError, match=r"tv\.db/meta\.json is missing: copy"):
        read_queries(folder, Report())


def test_reads_events_as_answers_without_their_time(tmp_path):
    """VLEP: the stored time is that of the premise."""
    value = {"events": ["He sits.", "He goes."], "input_ids": [[1], [2, 3]], "vid": "x_ep"}
    value |= {"ts": [38.81, 40.37], "target": 1, "example_id": 5}
    folder = write_texts(tmp_path / "vlep_dev.db", {"5": value, "6": value | {"target": None}})
    known = {"answers": ("He sits.", "He goes."), "answer_token_ids": ((1,), (2, 3))}
    first = stored("5", "x_ep", "", [], label=1, **known)
    expected = ("question", [first, stored("6", "x_ep", "", [], **known)])
    assert read_queries(folder, Report()) == expected
    write_texts(folder, {"7": value | {"events": ["He sits."]}})
    with pytest.raises(InputError, match="events has 1 entries, input_ids 2"):
        read_queries(folder, Report())


def test_reads_statements_of_value(tmp_path):
    value = {"statement": "it rains", "input_ids": [7], "vid": "x", "target": 0}
    values = {"8": value | {"paired_id": "x-0-0"}, "9": value}
    folder = write_texts(tmp_path / "violin_test.db", values, with_task("violin"))
    expected = [
        stored("8", "x", "it rains", [7], label=0, group="x-0"),
        stored("9", "x", "it rains", [7], label=0),
    ]
    assert read_queries(folder, Report()) == ("statement", expected)


def test_reads_queries_as_captions_of_their_clips(tmp_path):
    """YC2C and VATEX-EN-C, whose baseline trains on databases of retrieval."""
    value = {"desc": "stir", "input_ids": [7], "vid_name": "x_0", "duration": 10}
    folder = write_texts(tmp_path / "yc2r_train.db", {"1": value}, with_task("yc2r"))
    caption = stored("1", "x_0", "stir", [7], 10, group="x_0")
    assert read_queries(folder, Report(), as_captions=True) == ("caption", [caption])
    assert read_queries(folder, Report()) == ("query", [stored("1", "x_0", "stir", [7], 10)])
