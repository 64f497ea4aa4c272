"""Metrics of QVHighlights: by hand, and by an implementation step by step."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_jax.metrics.windows import THRESHOLDS, average_precision, metrics, submission
from tests.hero_jax.metrics.test_retrieval import make_moments, make_query

# Seconds between two frames.
STEP = 2.0


def count(rows, queries, size=12):
    """Metrics of spans of frames for each query."""
    moments = make_moments([[(0, *span) for span in spans] for spans in rows], size)
    return metrics(moments, queries, seconds_per_feature=STEP)


def precision(predicted, windows, threshold=0.5):
    return average_precision(np.array(predicted, float), np.array(windows, float), threshold)


# Predictions, windows, and the average precision at an overlap of 0.5.
BY_HAND = {
    "right": ([(0, 10)], [(0, 10)], 1),
    "wrong": ([(20, 30)], [(0, 10)], 0),
    # Half of the union, and a little less.
    "just right": ([(0, 5)], [(0, 10)], 1),
    "just wrong": ([(0, 4.9)], [(0, 10)], 0),
    "right at second place": ([(20, 30), (0, 10)], [(0, 10)], 1 / 2),
    # A window is found once: the second prediction is wrong, and comes after the right one.
    "twice the same": ([(0, 10), (0, 10)], [(0, 10)], 1),
    "one of two windows": ([(0, 10)], [(0, 10), (20, 30)], 1 / 2),
    "both windows": ([(20, 30), (0, 10)], [(0, 10), (20, 30)], 1),
    # Precisions 1/2 and 2/3 at recalls of 1/2 and 1: the better counts for both.
    "interpolated": ([(50, 60), (0, 10), (20, 30)], [(0, 10), (20, 30)], 2 / 3),
    "not interpolated": ([(0, 10), (50, 60), (20, 30)], [(0, 10), (20, 30)], (1 + 2 / 3) / 2),
    # The first takes the window that it overlaps most, the second the one that is left.
    "the best of two": ([(0, 10), (0, 9)], [(0, 8), (0, 10)], 1),
    # Of windows that it overlaps equally, the last, which the second prediction needs.
    "the last of two equals": ([(2, 8), (4, 10)], [(0, 8), (2, 10)], 1 / 2),
    "no predictions": (np.zeros((0, 2)), [(0, 10)], 0),
    "a window without length": ([(0, 10)], [(5, 5)], 0),
}


@pytest.mark.parametrize(("predicted", "windows", "expected"), BY_HAND.values(), ids=BY_HAND.keys())
def test_average_precision_by_hand(predicted, windows, expected):
    assert precision(predicted, windows) == pytest.approx(expected)


def test_metrics_by_hand():
    queries = [
        make_query("1", "a", [(0, 20), (40, 60)]),
        # Without windows, and without a known clip.
        make_query("2", "a"),
        make_query("3", "", [(0, 20)]),
        make_query("4", "a", [(0, 20)]),
    ]
    # In seconds: 40 to 54, which is 0.7 of the second window, and 0 to 20; then 2 to 14, 0.6.
    rows = [[(20, 26), (0, 9)], [(0, 9)], [(0, 9)], [(1, 6)]]
    expected = {
        "mr_r@1_iou0.5": 1.0,
        "mr_r@1_iou0.7": 0.5,
        "mr_map_iou0.5": 1.0,
        # Of the first query one of two windows, at the second place.
        "mr_map_iou0.75": (1 / 4 + 0) / 2,
        # Of the first query 1 up to 0.7, then 1/4; of the second 1 up to 0.6, then 0.
        "mr_map": (5 * 1 + 5 / 4 + 3 * 1) / 10 / 2,
    }
    # All windows last 20 s.
    expected["mr_map_middle"] = expected["mr_map"]
    assert count(rows, queries) == pytest.approx(expected)
    assert count(rows[1:3], queries[1:3]) == {}


def test_windows_of_each_length_are_scored_alone():
    windows = [(0, 10), (20, 30.5), (40, 70), (80, 111), (0, 151), (5, 5)]
    queries = [make_query("1", "a", windows), make_query("2", "a", [(0, 10)])]
    found = count([[(0, 4), (40, 54)], []], queries, size=60)
    # The right one of the short windows is first, and one of two queries has it; of those of more
    # than 10 and up to 30 s none is found; of the longer ones the only one, second.
    assert found["mr_map_short"] == pytest.approx(1 / 2)
    assert found["mr_map_middle"] == 0
    # 80 to 110 of 80 to 111.
    assert found["mr_map_long"] == pytest.approx(1 / 2)
    assert "mr_map_long" not in count([[(0, 4)]], queries[1:])


def test_a_query_without_predictions_is_wrong():
    queries = [make_query("1", "a", [(0, 20)]), make_query("2", "a", [(0, 20)])]
    found = count([[], [(0, 9)]], queries)
    assert set(found.values()) == {0.5}


def test_ten_predictions_count():
    queries = [make_query("1", "a", [(0, 20)])]
    wrong = [(30, 39)] * 9
    assert count([[*wrong, (0, 9)]], queries)["mr_map"] == pytest.approx(1 / 10)
    assert count([[*wrong, (30, 39), (0, 9)]], queries)["mr_map"] == 0


def overlap(first, second):
    shared = max(min(first[1], second[1]) - max(first[0], second[0]), 0)
    union = first[1] - first[0] + second[1] - second[0] - shared
    return shared / union if union else 0


def precision_step_by_step(predicted, windows, threshold):
    """As the benchmark: windows tried from the largest overlap, then the area under the curve."""
    taken, points, right = set(), [(0, 0)], 0
    for number, prediction in enumerate(predicted, 1):
        overlaps = [(overlap(prediction, window), n) for n, window in enumerate(windows)]
        for size, window in sorted(overlaps, reverse=True):
            if size < threshold:
                break
            if window not in taken:
                taken.add(window)
                right += 1
                break
        points.append((right / len(windows), right / number))
    area = 0
    for n, (recall, _) in enumerate(points[1:], 1):
        best = max(precision for _, precision in points[n:])
        area += (recall - points[n - 1][0]) * best
    return area


frames = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pair: tuple(sorted(pair)))
spans = st.lists(frames, max_size=14)
# Multiples of a second, so that overlaps are exact fractions.
several_windows = st.lists(frames.map(lambda pair: (pair[0], 4 * pair[1] + 1)), max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(spans, several_windows), min_size=1, max_size=4))
def test_metrics_are_those_of_a_naive_implementation(rows):
    queries = [make_query(str(n), "a", windows) for n, (_, windows) in enumerate(rows)]
    found = count([predicted for predicted, _ in rows], queries, size=14)
    scored = [
        ([(STEP * s, STEP * (e + 1)) for s, e in predicted[:10]], windows)
        for predicted, windows in rows
        if windows
    ]
    if not scored:
        assert found == {}
        return
    by_threshold = {
        threshold: np.mean([precision_step_by_step(*one, threshold) for one in scored])
        for threshold in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    }
    expected = {f"mr_map_iou{threshold}": by_threshold[threshold] for threshold in (0.5, 0.75)}
    expected["mr_map"] = np.mean([*by_threshold.values()])
    first = [
        max((overlap(predicted[0], window) for window in windows), default=0) if predicted else 0
        for predicted, windows in scored
    ]
    for threshold in (0.5, 0.7):
        expected[f"mr_r@1_iou{threshold}"] = np.mean([size >= threshold for size in first])
    for name, lengths in {"short": (0, 10), "middle": (10, 30), "long": (30, 150)}.items():
        of_length = [
            (predicted, [w for w in windows if lengths[0] < w[1] - w[0] <= lengths[1]])
            for predicted, windows in scored
        ]
        precisions = [
            precision_step_by_step(predicted, windows, threshold)
            for threshold in by_threshold
            for predicted, windows in of_length
            if windows
        ]
        if precisions:
            expected[f"mr_map_{name}"] = np.mean(precisions)
    assert found == pytest.approx(expected)


def test_thresholds_are_the_decimals_that_are_meant():
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_the_file_is_in_the_form_of_the_benchmark():
    queries = [
        make_query("8737", "bP5_660.0_810.0", [(0, 16)], text="People play “ball”."),
        make_query("b-2", "a", text="none"),
        make_query("3", ""),
        make_query("4", "a", text="many"),
    ]
    moments = make_moments([[(0, 0, 7), (0, 3, 3)], [], [(0, 1, 2)], [(0, 0, 0)] * 12], 12)
    text = submission(moments, queries, seconds_per_feature=STEP)
    assert text.endswith("\n")
    first, second, third = map(json.loads, text.splitlines())
    assert first == {
        "qid": 8737,
        "query": "People play “ball”.",
        "vid": "bP5_660.0_810.0",
        "pred_relevant_windows": [[0, 16, 12], [6, 8, 11]],
    }
    assert (second["qid"], second["pred_relevant_windows"]) == ("b-2", [[0, 0, 0]])
    assert (third["qid"], len(third["pred_relevant_windows"])) == (4, 10)
