"""Recalls of TVR's evaluation, and its submission file."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.schema import Query
from data.times import temporal_iou
from hero_jax.metrics.retrieval import IOU_THRESHOLDS, RECALLS, averages, metrics, submission
from hero_jax.retrieval.results import Moments, Ranking

CLIP_IDS = ["a", "b", "c"]
SECONDS = 1.5


def make_query(query_id="7", clip_id="a", moments=(), kind="", text="who"):
    return Query(
        query_id=query_id,
        clip_id=clip_id,
        text=text,
        token_ids=np.zeros(0, np.int32),
        moments=np.reshape(moments, (-1, 2)).astype(float),
        kind=kind,
        answers=(),
        answer_token_ids=np.zeros(0, np.int32),
        answer_token_counts=np.zeros(0, np.int32),
        label=-1,
        group="",
    )


def make_moments(rows, size=4):
    """From a list of (clip, first, last) for each query; scores fall by 1."""
    clips, spans = np.full((len(rows), size), -1), np.zeros((len(rows), size, 2), int)
    scores = np.zeros((len(rows), size), np.float32)
    for n, predictions in enumerate(rows):
        for p, (clip, first, last) in enumerate(predictions):
            clips[n, p], spans[n, p], scores[n, p] = clip, (first, last), size - p
    return Moments(clips, spans, scores)


def make_ranking(clips, vcmr, svmr=None):
    clips = np.array(clips)
    svmr = make_moments(vcmr if svmr is None else svmr)
    return Ranking(clips, np.ones(clips.shape, np.float32), make_moments(vcmr), svmr)


def count(ranking, queries, several_moments="annotators"):
    return metrics(
        ranking,
        queries,
        CLIP_IDS,
        seconds_per_feature=SECONDS,
        several_moments=several_moments,
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_overlap_is_that_of_the_seconds_both_have(ends):
    first, second = np.sort(ends[:2]).astype(float), np.sort(ends[2:]).astype(float)
    ours = temporal_iou(first, second)
    assert ours == temporal_iou(second, first)
    seconds = [set(range(int(a), int(b))) for a, b in (first, second)]
    together = seconds[0] | seconds[1]
    assert ours == (len(seconds[0] & seconds[1]) / len(together) if together else 0)


def recalls_by_loops(ranking, queries, name, counted):
    """One prediction after the other."""
    found = {(overlap, k): [] for overlap in IOU_THRESHOLDS for k in RECALLS}
    moments = getattr(ranking, name)
    for n in counted:
        own = CLIP_IDS.index(queries[n].clip_id)
        for overlap, k in found:
            right = False
            for clip, (s, e) in zip(moments.clips[n][:k], moments.spans[n][:k], strict=True):
                times = np.array([s * SECONDS, (e + 1) * SECONDS])
                agree = sum(temporal_iou(times, moment) >= overlap for moment in queries[n].moments)
                right |= clip == own and agree >= (2 if len(queries[n].moments) >= 4 else 1)
            found[overlap, k].append(right)
    return {f"{name}_r@{k}_iou{overlap}": np.mean(values) for (overlap, k), values in found.items()}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_recalls_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    queries, rows = [], []
    for n in range(5):
        first = rng.integers(0, 6, int(rng.choice([0, 1, 4, 5])))
        # Not on the edge of an overlap, where rounding decides.
        moments = [(1.1 * s, 1.1 * s + rng.uniform(3, 12)) for s in first]
        queries.append(make_query(str(n), rng.choice(["", *CLIP_IDS]), moments))
        spans = rng.integers(0, 8, (rng.integers(0, 5), 2))
        rows.append([(rng.integers(0, 3), *np.sort(span)) for span in spans])
    clips = [rng.permutation(3) for _ in queries]
    ranking = make_ranking(clips, rows)
    result = count(ranking, queries)
    counted = [n for n, query in enumerate(queries) if query.clip_id and len(query.moments)]
    assert result["moment_queries"] == len(counted)
    known = [n for n, query in enumerate(queries) if query.clip_id]
    assert result["vr_queries"] == len(known)
    if known:
        ranks = np.array(
            [clips[n].tolist().index(CLIP_IDS.index(queries[n].clip_id)) for n in known]
        )
        assert [result[f"vr_r@{k}"] for k in RECALLS] == [np.mean(ranks < k) for k in RECALLS]
    if counted:
        for name in ("vcmr", "svmr"):
            expected = recalls_by_loops(ranking, queries, name, counted)
            assert {key: result[key] for key in expected} == expected
    else:
        assert not any("iou" in key for key in result)


def test_averages_are_of_three_recalls():
    recalls = {f"vr_r@{k}": value for k, value in ((1, 0.1), (5, 0.3), (10, 0.8), (100, 1.0))}
    assert averages(recalls) == pytest.approx({"vr_aver": 0.4})
    moments = {f"vcmr_r@{k}_iou0.7": 0.3 for k in (1, 5, 10)}
    found = averages(recalls | moments | {"vcmr_r@1_iou0.5": 1})
    assert found == pytest.approx({"vr_aver": 0.4, "vcmr_aver_iou0.7": 0.3})
    assert averages({"vr_queries": 0}) == {}


def test_the_moment_that_annotators_share_and_the_agreement_of_many():
    """Two of four moments have to be overlapped; of two, the one that overlaps the other most."""
    ranking = make_ranking([[0]], [[(0, 0, 3)]])

    def recall(*moments):
        return count(ranking, [make_query(moments=moments)])["vcmr_r@1_iou0.7"]

    hit, miss = (0, 6), (30, 36)
    assert recall(hit) == 1
    assert recall(hit, miss, miss, miss) == 0
    assert recall(hit, miss, hit, miss) == 1
    assert recall(miss, hit, miss) == 0


def test_a_moment_that_overlaps_any_of_the_windows_is_right():
    """However many there are, and whichever window the other windows overlap most."""
    ranking = make_ranking([[0]], [[(0, 0, 3)]])

    def recall(*moments):
        query = make_query(moments=moments)
        return count(ranking, [query], "windows")["svmr_r@1_iou0.7"]

    hit, miss = (0, 6), (30, 36)
    assert recall(hit, miss, miss, miss) == 1
    assert recall(miss, miss, hit) == 1
    assert recall((0, 4), (2, 6), miss) == 0


def test_recalls_of_each_kind():
    queries = [
        make_query("1", "a", [(0, 6)], "v"),
        make_query("2", "b", [(0, 6)], "vt"),
        make_query("3", "b", [(0, 6)], "v"),
        make_query("4", "", (), "t"),
    ]
    right, wrong = [(1, 9, 9), (0, 0, 3)], [(0, 0, 3), (1, 9, 9)]
    ranking = make_ranking([[0, 1], [0, 1], [1, 2], [0, 1]], [right, wrong, wrong, wrong])
    result = count(ranking._replace(vcmr_nms=make_moments([right, right, wrong, wrong])), queries)
    assert (result["vr_queries"], result["moment_queries"]) == (3, 3)
    assert result["vr_r@1"] == pytest.approx(2 / 3)
    assert (result["vr_r@1_v"], result["vr_r@1_vt"], result["vr_r@5_vt"]) == (1, 0, 1)
    assert result["vcmr_r@1_iou0.5"] == 0
    assert result["vcmr_r@5_iou0.5"] == pytest.approx(1 / 3)
    assert result["vcmr_r@5_iou0.5_v"] == 1 / 2
    assert result["vcmr_nms_r@5_iou0.7_vt"] == 0
    assert not any(key.endswith("_t") for key in result)


def test_clips_alone():
    clips = np.array([[2, 0], [1, -1]])
    ranking = Ranking(clips, np.array([[9.0, 8.0], [7.0, 0.0]], np.float32))
    queries = [make_query("video12_3", "a", text="a dog"), make_query("12", "")]
    assert count(ranking, queries) == {
        "vr_queries": 1,
        "vr_r@1": 0,
        "vr_r@5": 1,
        "vr_r@10": 1,
        "vr_r@100": 1,
    }
    text = submission(ranking, queries, CLIP_IDS, seconds_per_feature=SECONDS, suppressed=False)
    assert json.loads(text) == {
        "video2idx": {"a": 0, "b": 1, "c": 2},
        "VR": [
            {
                "desc_id": "video12_3",
                "desc": "a dog",
                "predictions": [[2, 0, 0, 9], [0, 0, 0, 8]],
            },
            {"desc_id": 12, "desc": "who", "predictions": [[1, 0, 0, 7]]},
        ],
    }


@pytest.mark.parametrize("suppressed", [False, True])
def test_moments_of_a_submission(suppressed):
    """SVMR lacks queries whose clip is not known; absent predictions are left out."""
    rows = [[(1, 2, 5), (0, 0, 1)], [(2, 1, 1)]]
    ranking = make_ranking([[1], [2]], [[], []] if suppressed else rows)
    if suppressed:
        ranking = ranking._replace(vcmr_nms=make_moments(rows), svmr_nms=make_moments(rows))
    queries = [make_query("1", "b"), make_query("2", "")]
    text = submission(
        ranking, queries, CLIP_IDS, seconds_per_feature=SECONDS, suppressed=suppressed
    )
    content = json.loads(text)
    predictions = {
        task: {entry["desc_id"]: entry["predictions"] for entry in content[task]}
        for task in ("VCMR", "SVMR")
    }
    first = [[1, 3, 9, 4], [0, 0, 3, 3]]
    assert predictions == {"VCMR": {1: first, 2: [[2, 1.5, 3, 4]]}, "SVMR": {1: first}}


def test_at_most_a_hundred_predictions_are_evaluated_or_submitted():
    rows = [[(0, 9, 9)] * 100 + [(1, 0, 3)]]
    ranking = Ranking(
        np.array([[0]]), np.ones((1, 1)), make_moments(rows, 101), make_moments(rows, 101)
    )
    queries = [make_query(clip_id="b", moments=[(0, 6)])]
    assert count(ranking, queries)["vcmr_r@100_iou0.5"] == 0
    text = submission(ranking, queries, CLIP_IDS, seconds_per_feature=SECONDS, suppressed=False)
    assert len(json.loads(text)["VCMR"][0]["predictions"]) == 100


def test_a_query_about_a_clip_outside_the_corpus_is_refused():
    with pytest.raises(InputError, match=r"^query '7' is about clip 'zz', .* the 3 clips of"):
        count(make_ranking([[0]], [[]]), [make_query(clip_id="zz")])
