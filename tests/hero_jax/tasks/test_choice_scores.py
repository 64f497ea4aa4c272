"""Questions and statements of a split: metrics of those with labels, and files of all."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from hero_jax.tasks.registry import make_task
from tests.data.pipeline.packing_samples import make_query
from tests.hero_jax.tiny import TOKENS

QUESTIONS = make_task("question_answering", {"span_weight": 1.0}, TOKENS)
STATEMENTS = make_task("inference", {}, TOKENS)


def question_predictions():
    """Four questions in the order of a batch, with empty places among them."""
    logits = np.full((3, 2, 4), 9.0)
    numbers, mask = np.zeros((3, 2, 4), int), np.zeros((3, 2, 4), bool)
    for place, number, own in (
        ((0, 0), 3, [1.0, 2.0, 4.0, 3.0]),
        ((1, 1), 0, [1.0, 0.0]),
        ((2, 0), 1, [-5.0, -4.0, -3.0, -2.0]),
        ((2, 1), 4, [0.0, 1.0, 0.0, 0.0]),
    ):
        mask[place][: len(own)], numbers[place][: len(own)] = True, number
        # As the head leaves places without an answer.
        logits[place] = -1e4
        logits[place][: len(own)] = own
    return {"logits": logits, "query_numbers": numbers, "choice_mask": mask}


def questions_split(labels):
    """Questions of 2, 4, 4 and 4 answers, and a damaged record."""
    queries = [
        make_query(name, [6], answers=("answer",) * count, label=label, kind=kind)
        for name, count, kind, label in zip(
            "abde", (2, 4, 4, 4), ("where", "who", "", "who"), labels, strict=True
        )
    ]
    return SimpleNamespace(queries=[*queries[:2], None, *queries[2:]])


def test_accuracies_of_questions_are_over_those_with_labels():
    found = QUESTIONS.summarize(question_predictions(), questions_split([0, 3, 1, -1]))
    # Chosen: a 0 (right), b 3 (right), d 2 (wrong), e 1 (nobody knows).
    assert found == {
        "accuracy": pytest.approx(2 / 3),
        "chance_accuracy": pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3),
        "questions": 3,
        "accuracy_where": 1.0,
        "accuracy_who": 1.0,
    }


def test_questions_without_labels_have_answers_but_no_metrics():
    split = questions_split([-1] * 4)
    predictions = question_predictions()
    assert QUESTIONS.summarize(predictions, split) == {}
    files = QUESTIONS.submission(predictions, split)
    assert files.keys() == {"answers.json"}
    assert json.loads(files["answers.json"]) == {"a": 0, "b": 3, "d": 2, "e": 1}


def statement_predictions():
    """a and b of one pair, d and c of another, and an empty place."""
    return {
        "logits": np.array([[[0.0, -2.0]], [[-3.0, 0.5]], [[7.0, 7.0]], [[0.25, 7.0]]]),
        "query_numbers": np.array([[[0, 1]], [[3, 2]], [[0, 0]], [[4, 0]]]),
        "choice_mask": np.array(
            [[[True, True]], [[True, True]], [[False, False]], [[True, False]]]
        ),
    }


def statements_split(labels):
    kinds = ("real", "fake", "real", "real", "")
    return SimpleNamespace(
        queries=[
            make_query(name, [6], label=label, kind=kind)
            for name, label, kind in zip("abcde", labels, kinds, strict=True)
        ]
    )


def test_accuracies_of_statements_are_over_those_with_labels():
    found = STATEMENTS.summarize(statement_predictions(), statements_split([1, 0, 1, -1, 0]))
    # Held true: c and e; a, of logit 0, is not, and of d nobody knows.
    assert found == {
        "accuracy": pytest.approx(2 / 4),
        "statements": 4,
        "accuracy_fake": 1.0,
        "accuracy_real": pytest.approx(1 / 2),
    }


def test_statements_without_labels_are_judged_but_not_counted():
    split, predictions = statements_split([-1] * 5), statement_predictions()
    assert STATEMENTS.summarize(predictions, split) == {}
    files = STATEMENTS.submission(predictions, split)
    assert files.keys() == {"labels.json"}
    assert json.loads(files["labels.json"]) == {"a": 0, "b": 0, "c": 1, "d": 0, "e": 1}
