"""Annotations of QVHighlights, with several windows a query."""

import json

import numpy as np
import pytest

from data import build
from data.records.reader import QuerySplit
from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.base import Annotation
from data.sources.annotations.qvhighlights import NO_WINDOWS
from data.sources.annotations.registry import MISTAKE
from data.validate import validate
from tests.data.clip_samples import TOKENIZER
from tests.data.sources.annotations.annotation_samples import QVHIGHLIGHTS, File

TEXT, VIDEO = "People play ball.", "bP5_660.0_810.0"
TEST = {name: QVHIGHLIGHTS[name] for name in ("qid", "query", "duration", "vid")}


@pytest.fixture
def file(tmp_path):
    return File(tmp_path, "rows.jsonl")


def expected(query_id, moments, where, duration=150.0):
    return Annotation(RawQuery(query_id, VIDEO, TEXT, moments), where, duration=duration)


def test_reads_several_windows(file):
    no_duration = {name: TEST[name] for name in TEST if name != "duration"} | {"qid": "b"}
    file.lines(QVHIGHLIGHTS, TEST | {"qid": 2, "relevant_windows": []}, no_duration, TEST)
    windows = ((0.0, 16.0), (20.0, 30.5))
    rows = [
        expected("8737", windows, file.at("line 1")),
        expected("2", (), file.at("line 2")),
        expected("b", (), file.at("line 3"), None),
    ]
    file.check("qvhighlights", rows, [f"line 4: id '8737' came before, at {file.at('line 1')}"])
    file.read("qvhighlights", report := Report())
    assert report.counts[NO_WINDOWS] == 2


def test_reads_a_list_of_them(file):
    file.text(json.dumps([QVHIGHLIGHTS, 3, TEST | {"qid": 2}], indent=1))
    rows = [
        expected("8737", ((0.0, 16.0), (20.0, 30.5)), file.at("entry 0 (8737)")),
        expected("2", (), file.at("entry 2 (2)")),
    ]
    file.check("qvhighlights", rows, ["entry 1: it has to be an object in braces, not 3"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"qid": None}, "qid is missing"),
        ({"query": " "}, "query is empty"),
        ({"vid": 3}, "vid has to be a string, not 3"),
        ({"relevant_windows": [0, 16]}, "relevant_windows has to be [start, end], not 0"),
        ({"relevant_windows": [[0, 2], [9, 8]]}, "relevant_windows goes from 9.0 to 8.0"),
        ({"relevant_windows": "0-16"}, "relevant_windows has to be a list, not '0-16'"),
        ({"duration": 0}, "duration is 0.0"),
    ],
)
def test_a_row_with_a_mistake_is_left_out_and_counted(file, changes, said):
    file.lines(QVHIGHLIGHTS | changes, TEST | {"qid": 2})
    _, found = file.read("qvhighlights", report := Report())
    assert [annotation.query.query_id for annotation in found] == ["2"]
    assert report.counts[MISTAKE] == 1
    assert report.examples[MISTAKE] == [file.at(f"line 1: {said}")]


def test_becomes_a_valid_dataset_without_subtitles(file, tmp_path):
    """Names of videos have dots; windows beyond the video are cut, or lose their time."""
    file.lines(
        QVHIGHLIGHTS | {"relevant_windows": [[140, 150], [148, 160], [170, 180], [0, 16]]},
        QVHIGHLIGHTS | {"qid": 2, "relevant_windows": [[152, 160]]},
    )
    (tmp_path / "net").mkdir()
    frames = np.random.default_rng(0).normal(size=(75, 4)).astype(np.float16)
    np.save(tmp_path / "net" / f"{VIDEO}.npy", frames)
    TOKENIZER.save(tmp_path / "tokenizer.json")
    build.main(
        [
            *("raw", "--form=qvhighlights", f"--features={tmp_path / 'net'}", "--workers=1"),
            *(f"--queries=train={file.path}", "--seconds_per_feature=2"),
            *(f"--tokenizer={tmp_path}", f"--out={tmp_path / 'qv'}"),
        ]
    )
    records = QuerySplit(tmp_path / "qv", "train")
    found = {query.query_id: query for query in map(records.read, range(len(records)))}
    assert found["8737"].clip_id == VIDEO
    assert found["8737"].moments.tolist() == [[140, 150], [148, 150], [0, 16]]
    assert found["2"].moments.tolist() == []
    validation = validate(tmp_path / "qv")
    assert not validation.errors.counts
    assert validation.metadata.left_out == {
        "moments that go on after the video: cut at its end": 1,
        "moments outside their clip or video: not used": 2,
    }
