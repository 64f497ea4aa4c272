"""Validation: a dataset with each error and no other fault."""

import re

import numpy as np
import pytest

from data.records.reader import Split
from tests.data.validate.validation_samples import change, check, rows_of, shard_of


def test_damaged_records(films, capsys):
    shard = shard_of(films, "clips", "test")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 16
    shard.write_bytes(content)
    shard = shard_of(films, "queries", "train")
    shard.write_bytes(shard.read_bytes()[:-1])
    output = check(films, capsys, {"damaged records": 2})
    assert f"record 0 of {shard_of(films, 'clips', 'test')} cannot be read" in output
    assert f"record 1 of {shard} cannot be read" in output
    rows = rows_of(output)
    assert rows["clips"] == ["2", "1", "0", "3"]  # what can be read is counted
    assert rows["queries"] == ["1", "1", "1", "3"]


def test_clips_without_frames(films, capsys):
    nothing = {"token_ids": np.empty(0, np.int32), "token_counts": np.empty(0, np.int32)}
    times = dict.fromkeys(("subtitle_starts", "subtitle_ends"), np.empty(0, np.float32))
    change(
        films,
        "clip3",
        frame_features=np.empty((0, 5), np.float16),
        frame_subtitle=np.empty(0, np.int32),
        subtitle_texts=(),
        **nothing,
        **times,
    )
    output = check(films, capsys, {"clips without frames": 1}, {"clips without subtitles": 1})
    assert "clip clip3 (test, record 0)" in output


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_features(films, capsys, value):
    def spoil(clip):
        spoilt = clip.frame_features.copy()
        spoilt[2:4, 3] = value
        return spoilt

    change(films, "clip0", frame_features=spoil)
    output = check(films, capsys, {"clips with NaN or infinite features": 1})
    assert "clip0 (train, record " in output
    assert "): 2 of 8 frames, the first is 2\n" in output


@pytest.mark.parametrize(("changed", "split"), [("clip1", "train"), ("clip2", "validation")])
def test_clip_ids_that_come_twice(films, capsys, changed, split):
    change(films, changed, clip_id="clip0")
    change(films, f"q{changed[-1]}", clip_id="clip0", moments=np.empty((0, 2)))
    output = check(films, capsys, {"clip ids that come twice": 1})
    assert re.search(rf"clip clip0 \({split}, record \d\): before in train", output)


@pytest.mark.parametrize("duration", [13.6, 10.4, np.nan, np.inf, -12.0])
def test_durations_that_do_not_fit_the_frames(films, capsys, duration):
    change(films, "clip3", duration=duration)
    fault = "clips whose duration and number of frames disagree"
    output = check(films, capsys, {fault: 1})
    assert f"clip clip3 (test, record 0): {duration:g} s, but 8 frames of 1.5 s" in output


@pytest.mark.parametrize("duration", [13.5, 10.5])
def test_durations_may_differ_by_a_frame(films, capsys, duration):
    change(films, "clip3", duration=duration)
    check(films, capsys)


@pytest.mark.parametrize(
    ("identifier", "field"),
    [("clip2", "token_ids"), ("q2", "token_ids"), ("q2", "answer_token_ids")],
)
@pytest.mark.parametrize("wrong", [-1, None])
def test_token_ids_that_are_not_in_the_vocabulary(films, capsys, identifier, field, wrong):
    size = Split(films, "train").metadata.vocab_size
    wrong = size if wrong is None else wrong

    def spoil(record):
        ids = getattr(record, field).copy()
        ids[0] = wrong
        return ids

    change(films, identifier, **{field: spoil})
    output = check(films, capsys, {"token ids that are not in the vocabulary": 1})
    assert f"{identifier} (validation, record 0): {wrong} of a vocabulary of {size}" in output


@pytest.mark.parametrize(("changed", "split"), [("q1", "train"), ("q2", "validation")])
def test_query_ids_that_come_twice(films, capsys, changed, split):
    change(films, changed, query_id="q0")
    output = check(films, capsys, {"query ids that come twice": 1})
    assert re.search(rf"query q0 \({split}, record \d\)", output)


def test_queries_about_clips_of_no_split_or_another(films, capsys):
    change(films, "q0", clip_id="absent")
    change(films, "q1", clip_id="clip2")
    change(films, "q3", clip_id="clip3")  # is right
    faults = {
        "queries about a clip that is in no split": 1,
        "queries about a clip that is in another split": 1,
    }
    output = check(films, capsys, faults)
    assert re.search(r"query q0 \(train, record \d\): clip absent\n", output)
    assert re.search(r"query q1 \(train, record \d\): clip clip2 of validation\n", output)


@pytest.mark.parametrize(
    "moment",
    [(12.0, 12.5), (1.0, 13.6), (-0.1, 3.0), (5.0, 3.0), (np.nan, 3.0), (1.0, np.nan), (0, np.inf)],
)
def test_moments_outside_their_clip(films, capsys, moment):
    change(films, "q0", moments=np.array([(1.0, 2.0), moment]))
    output = check(films, capsys, {"moments outside their clip": 1})
    example = f"{moment[0]:g} to {moment[1]:g} s of 12 s"
    assert re.search(rf"query q0 \(train, record \d\): {example}\n", output)


@pytest.mark.parametrize("moment", [(-1.0, 2.0), (3.0, 2.0), (0.0, np.inf), (np.nan, np.nan)])
def test_impossible_moments_of_queries_without_a_clip(films, capsys, moment):
    change(films, "q3", moments=np.array([moment], np.float64))
    check(films, capsys, {"moments outside their clip": 1})


@pytest.mark.parametrize("label", [-2, 2])
def test_labels_of_questions_that_are_no_answers(films, capsys, label):
    change(films, "q0", label=label)
    output = check(films, capsys, {"labels that are none of the answers": 1})
    assert re.search(rf"query q0 \(train, record \d\): {label} of 2\n", output)


def test_labels_of_queries_without_answers(films, capsys):
    nothing = {"answers": (), "answer_token_ids": np.empty(0, np.int32)}
    nothing["answer_token_counts"] = np.empty(0, np.int32)
    change(films, "q0", label=0, **nothing)
    change(films, "q2", label=-1, **nothing)  # is right
    output = check(films, capsys, {"labels that are none of the answers": 1})
    assert "query q0" in output


def test_labels_of_statements_that_are_neither_true_nor_false(pairs, capsys):
    change(pairs, "s2", label=2)
    output = check(pairs, capsys, {"labels that are none of the answers": 1})
    assert re.search(r"query s2 \(test, record \d\): 2 of 2\n", output)
