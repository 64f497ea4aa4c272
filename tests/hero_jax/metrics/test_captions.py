"""Tokens of captions, their metrics with and without Java, and the results of the task."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from data.schema import Query
from data.tokenizer import Tokenizer
from hero_jax.metrics.captions import score, tokenize
from hero_jax.tasks.registry import make_task
from tests.hero_jax.tiny import TOKENS

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
SENTENCES = {
    "House doesn't like Wilson's idea.": "house does n't like wilson 's idea",
    "Rachel can't, won't and cannot go; she's gonna eat!": (
        "rachel ca n't wo n't and can not go she 's gon na eat"
    ),
    "They're here, we've seen; I'm what he'd say she'll do": (
        "they 're here we 've seen i 'm what he 'd say she 'll do"
    ),
    'He says: "What\'s up?" to (his) friend -- loudly...': (
        "he says what 's up to -lrb- his -rrb- friend loudly"
    ),
    "It's 3:30 p.m. and Dr. House wears a well-known t-shirt": (
        "it 's 3:30 p.m. and dr. house wears a well-known t-shirt"
    ),
    "Mr. O'Brien pays $3.50 for 1,000 things & 50% off and/or #1": (
        "mr. o'brien pays $ 3.50 for 1,000 things & 50 % off and/or # 1"
    ),
    "the girls' room, word1,word2 `quoted' 'so' what?!": (
        "the girls room word1 word2 quoted so what ?!"
    ),
    "": "",
}


@pytest.mark.parametrize("text", SENTENCES)
def test_texts_are_tokenized(text):
    assert tokenize(text) == SENTENCES[text]


@needs_java
def test_the_treebank_tokens_are_those_of_pycocoevalcap():
    captions = {n: [{"caption": text}] for n, text in enumerate(SENTENCES)}
    expected = [[tokens] for tokens in SENTENCES.values()]
    assert [*PTBTokenizer().tokenize(captions).values()] == expected


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_tokens_are_plain_lower_case_without_punctuation(text):
    tokens = tokenize(text).split(" ")
    assert all(token.isascii() and token == token.lower() for token in tokens)
    assert not set(tokens) & set(".,:;!?\"'`-")
    assert "" not in tokens or tokens == [""]


REFERENCES = {
    "a": ["Ted opens the red door slowly.", "A man opens a door of the red house."],
    7: ["Lily doesn't laugh at the joke he made"],
    "c": ["they eat pizza on the old brown couch"],
}
HYPOTHESES = {
    "a": "ted opens a red door",
    7: "lily does laugh at him",
    "c": "they eat pizza on a couch",
}


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_text_that_is_a_reference_scores_best(no_java):
    best = score(REFERENCES, {m: texts[-1] for m, texts in REFERENCES.items()})
    good = score(REFERENCES, HYPOTHESES)
    bad = score(REFERENCES, dict.fromkeys(REFERENCES, "no such thing"))
    empty = score(REFERENCES, dict.fromkeys(REFERENCES, ""))
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"):
        assert best[name] == pytest.approx(1.0, abs=1e-6)
    for name in best:
        assert best[name] > good[name] > bad[name] >= 0
        assert empty[name] == pytest.approx(0, abs=1e-6)
    # Twice the text of one of two moments: punctuation and capitals make no difference.
    shouted = {moment: text.upper() + "!" for moment, text in HYPOTHESES.items()}
    assert score(REFERENCES, shouted) == good


def test_metrics_by_hand(no_java):
    found = score({1: ["a b c d e f"]}, {1: "a b x d"})
    brevity = np.exp(1 - 6 / 4)
    assert found["bleu_1"] == pytest.approx(brevity * 3 / 4, rel=1e-6)
    assert found["bleu_2"] == pytest.approx(brevity * (3 / 4 * 1 / 3) ** 0.5, rel=1e-6)
    precision, recall = 3 / 4, 3 / 6
    rouge = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert found["rouge_l"] == pytest.approx(rouge, rel=1e-6)


@needs_java
def test_with_java_there_is_meteor_and_nothing_else_changes(monkeypatch, tmp_path, capsys):
    found = score(REFERENCES, HYPOTHESES)
    assert capsys.readouterr().err == ""
    assert 0.1 < found.pop("meteor") < 0.9
    monkeypatch.setenv("PATH", str(tmp_path))
    assert score(REFERENCES, HYPOTHESES) == found


@pytest.mark.parametrize("script", ["", "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no memory\n"])
def test_without_a_java_that_works_meteor_is_left_out(script, no_java, capsys):
    if script:
        (no_java / "java").write_text(script)
        (no_java / "java").chmod(0o755)
    found = score(REFERENCES, HYPOTHESES)
    assert "meteor" not in found
    assert "cider" in found
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "METEOR is left out: it needs Java" in lines[0]


TEXTS = ["a dog runs", "the dog is running", "she opens the door", "he laughs", ""]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXTS * 3, 300)


def query(number, text, group, clip_id="show_s01", moment=(1.5, 4.0)):
    empty = np.zeros(0, np.int32)
    moments = np.array([moment] if moment else []).reshape(-1, 2)
    return Query(
        f"q{number}", clip_id, text, empty, moments, "", (), empty, empty, label=-1, group=group
    )


def predicted(tokenizer, texts, steps=16):
    """Returns predictions of texts by record number, as two groups of two."""
    ids = np.full((2, 2, steps), TOKENS.pad, np.int32)
    mask, numbers = np.zeros((2, 2), bool), np.zeros((2, 2), np.int32)
    for place, (number, text) in enumerate(texts.items()):
        words = [*tokenizer.encode(text), TOKENS.sep]
        g, n = divmod(place, 2)
        ids[g, n, : len(words)], mask[g, n], numbers[g, n] = words, True, number
    return {"tokens": ids, "query_mask": mask, "query_numbers": numbers}


@pytest.fixture
def task():
    return make_task("captioning", {}, TOKENS)


def test_a_moment_is_judged_by_all_its_captions(task, tokenizer, no_java):
    queries = [
        query(0, TEXTS[0], "17"),
        query(1, TEXTS[2], "", clip_id="other"),
        None,
        query(3, TEXTS[1], "17"),
        query(4, "", "hidden"),
    ]
    split = SimpleNamespace(queries=queries, tokenizer=tokenizer)
    predictions = predicted(tokenizer, {3: " A dog runs.", 4: "he laughs", 1: TEXTS[2]})
    found = task.summarize(predictions, split)
    assert found["moments"] == 2
    assert found["bleu_1"] == pytest.approx(1, abs=1e-6)
    worse = task.summarize(predicted(tokenizer, {3: TEXTS[2], 1: TEXTS[2]}), split)
    assert worse["moments"] == 2
    assert worse["bleu_1"] < found["bleu_1"]
    assert task.summarize(predicted(tokenizer, {4: "he laughs"}), split) == {}


def test_a_submission_has_a_line_for_each_moment(task, tokenizer):
    queries = [
        query(0, TEXTS[0], "17"),
        query(1, TEXTS[1], "17"),
        query(2, "", "", clip_id="other", moment=None),
    ]
    split = SimpleNamespace(queries=queries, tokenizer=tokenizer)
    predictions = predicted(tokenizer, {2: "he laughs", 1: "the dog", 0: " she opens"})
    (name, text), *others = task.submission(predictions, split).items()
    assert (name, others) == ("captions.jsonl", [])
    assert [json.loads(line) for line in text.splitlines()] == [
        {
            "vid_name": "show_s01",
            "clip_id": 17,
            "ts": [1.5, 4.0],
            "descs": [{"desc": "she opens"}],
        },
        {"vid_name": "other", "clip_id": "q2", "ts": None, "descs": [{"desc": "he laughs"}]},
    ]
