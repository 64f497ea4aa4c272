"""Annotations in the plain form, and round trips of generated rows in several forms."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import MISTAKE
from tests.data.sources.annotations.annotation_samples import PLAIN, File


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


def test_plain_queries(tmp_path):
    file = File(tmp_path, "mine.jsonl").lines(
        PLAIN | {"kind": "vt"}, {"text": "a cat"}, PLAIN | {"id": None}, {"txt": "a cow"}
    )
    moments = ((3.2, 7.5),)
    queries = [
        RawQuery("q1", "film", "a dog jumps", moments, "vt"),
        RawQuery("mine-2", "", "a cat"),
        RawQuery("mine-3", "film", "a dog jumps", moments),
    ]
    expected = [
        Annotation(query, file.at(f"line {line}"), in_video=True)
        for line, query in enumerate(queries, 1)
    ]
    file.check("plain", expected, ["line 4: 'txt' is no field (did you mean 'text'?)"])
    assert file.read("plain")[0] == "query"


def test_plain_questions(file):
    question = PLAIN | {"answers": ["dog", "", "cow"], "answer": 2}
    unlabelled = {"text": "what?", "answers": ["dog", "cat"]}
    file.lines(question, unlabelled, PLAIN | {"id": "q3"}, {"text": "what?", "answers": ["dog"]})
    first = RawQuery(
        "q1", "film", "a dog jumps", ((3.2, 7.5),), answers=("dog", "", "cow"), label=2
    )
    expected = [
        Annotation(first, file.at("line 1"), in_video=True),
        Annotation(
            RawQuery("rows-2", "", "what?", answers=("dog", "cat")),
            file.at("line 2"),
            in_video=True,
        ),
    ]
    mistakes = [
        "line 3: it is a query in a file that began with a question",
        "line 4: answers has to hold two or more",
    ]
    file.check("plain", expected, mistakes)
    assert file.read("plain")[0] == "question"


def test_plain_statements(file):
    rows = [
        {"id": 1, "text": "yes", "true": True, "group": 7},
        {"id": 2, "text": "no", "true": False, "group": "7"},
        {"id": 3, "text": "maybe", "true": None},
        {"id": 4, "text": "what?", "true": "true"},
    ]
    file.lines(*rows)
    expected = [
        Annotation(
            RawQuery(i, "", text, label=label, group=group), file.at(f"line {i}"), in_video=True
        )
        for i, text, label, group in [
            ("1", "yes", 1, "7"),
            ("2", "no", 0, "7"),
            ("3", "maybe", -1, ""),
        ]
    ]
    file.check("plain", expected, ["line 4: true has to be true or false, not 'true'"])
    assert file.read("plain")[0] == "statement"


def test_plain_captions(file):
    moment = {"video": "film", "start": 0, "end": 2}
    rows = [moment | {"caption": "a dog", "group": "m"}, moment | {"caption": None}]
    file.lines(*rows, moment | {"caption": "a dog", "text": "a cat"})
    expected = [
        Annotation(
            RawQuery("rows-1", "film", "a dog", ((0, 2),), group="m"),
            file.at("line 1"),
            in_video=True,
        ),
        Annotation(RawQuery("rows-2", "film", "", ((0, 2),)), file.at("line 2"), in_video=True),
    ]
    file.check("plain", expected, ["line 3: text is no field of a caption"])
    assert file.read("plain")[0] == "caption"


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
IDS = st.one_of(st.integers(-(10**20), 10**20), WORDS)
SPANS = st.lists(st.floats(0, 1e6), min_size=2, max_size=2).map(sorted)
# In hundredths, as people write times: a float may be written with an exponent.
WRITTEN_SPANS = st.lists(st.integers(0, 10**6), min_size=2, max_size=2).map(
    lambda span: [number / 100 for number in sorted(span)]
)
DURATIONS = st.none() | st.floats(0, 1e6, exclude_min=True)


def files(row):
    """Rows with different ids, and whether other characters than ASCII are escaped."""
    rows = st.lists(st.tuples(IDS, row), min_size=1, max_size=5, unique_by=lambda r: str(r[0]))
    return st.tuples(rows, st.booleans())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("generated")


def check_generated(folder, form, row_type, rows, expected, ascii_only):
    """Writes rows without their None fields, and reads them back."""
    file = File(folder)
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    file.text("\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in known))
    report = Report()
    assert file.read(form, report) == (
        row_type,
        [
            Annotation(query, file.at(f"line {line}"), **more)
            for line, (query, more) in enumerate(expected, 1)
        ],
    )
    assert not report.counts[MISTAKE]


@settings(deadline=None)
@given(
    files(
        st.tuples(st.none() | WORDS, WORDS, SPANS | st.lists(SPANS), st.none() | WORDS, DURATIONS)
    )
)
def test_reads_back_what_was_written_as_tvr(folder, generated):
    rows, expected = [], []
    for query_id, (video, text, span, kind, duration) in generated[0]:
        span = span if video and span else None
        row = {"desc_id": query_id, "vid_name": video, "desc": text, "ts": span, "type": kind}
        rows.append(row | {"duration": duration})
        spans = span if span is None or isinstance(span[0], list) else [span]
        moments = tuple(map(tuple, spans or ()))
        query = RawQuery(str(query_id), video or "", text, moments, kind or "")
        expected.append((query, {"duration": duration}))
    check_generated(folder, "tvr", "query", rows, expected, generated[1])


@settings(deadline=None)
@given(
    files(
        st.tuples(
            WORDS,
            WORDS,
            st.none() | WRITTEN_SPANS,
            st.lists(WORDS | st.just(""), min_size=5, max_size=5),
            st.none() | st.integers(0, 4),
        )
    )
)
def test_reads_back_what_was_written_as_tvqa(folder, generated):
    rows, expected = [], []
    for query_id, (video, text, span, answers, label) in generated[0]:
        row = {"qid": query_id, "vid_name": video, "q": text, "answer_idx": label}
        row |= {f"a{index}": answer for index, answer in enumerate(answers)}
        rows.append(row | {"ts": span and f"{span[0]}-{span[1]}"})
        query = RawQuery(
            query_id=str(query_id),
            clip_id=video,
            text=text,
            moments=(tuple(span),) if span else (),
            answers=tuple(answers),
            label=-1 if label is None else label,
        )
        expected.append((query, {}))
    check_generated(folder, "tvqa", "question", rows, expected, generated[1])


PLAIN_FIELDS = st.one_of(
    st.fixed_dictionaries({"text": WORDS}),
    st.fixed_dictionaries(
        {"text": WORDS, "answers": st.lists(WORDS, min_size=2, max_size=4)},
        optional={"answer": st.integers(0, 1)},
    ),
    st.fixed_dictionaries({"text": WORDS, "true": st.booleans()}, optional={"group": WORDS}),
    st.fixed_dictionaries({"caption": WORDS}, optional={"group": WORDS}),
)


@settings(deadline=None)
@given(files(st.tuples(PLAIN_FIELDS, st.none() | WORDS, st.none() | SPANS, st.none() | WORDS)))
def test_reads_back_what_was_written_as_plain(folder, generated):
    written = generated[0]
    first = {*written[0][1][0]} - {"answer", "group"}
    row_type = {
        frozenset({"text"}): "query",
        frozenset({"text", "answers"}): "question",
        frozenset({"text", "true"}): "statement",
        frozenset({"caption"}): "caption",
    }[frozenset(first)]
    rows, expected = [], []
    for query_id, (fields, video, span, kind) in written:
        if {*fields} - {"answer", "group"} != first:
            continue
        span = span if video else None
        start, end = span or (None, None)
        rows.append(
            fields | {"id": query_id, "video": video, "start": start, "end": end, "kind": kind}
        )
        query = RawQuery(
            query_id=str(query_id),
            clip_id=video or "",
            text=fields.get("text") or fields["caption"],
            moments=(tuple(span),) if span else (),
            kind=kind or "",
            answers=tuple(fields.get("answers", ())),
            label=fields.get("answer", int(fields.get("true", -1))),
            group=fields.get("group", ""),
        )
        expected.append((query, {"in_video": True}))
    check_generated(folder, "plain", row_type, rows, expected, generated[1])
