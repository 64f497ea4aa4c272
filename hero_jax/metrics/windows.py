"""Metrics and submission file of QVHighlights, whose queries have several windows each.

All counts as in the benchmark's own evaluation (Lei et al., NeurIPS 2021): of the moments that are
predicted in the query's video, the first ten are read. The first is right if it overlaps any of the
windows. Average precision matches predictions with windows, best prediction first, each with the
window that it overlaps most of those that no better one has; it is interpolated, as ActivityNet's.
NumPy alone.
"""

import json
from collections.abc import Sequence

import numpy as np

from data.schema import Query
from data.times import temporal_iou
from hero_jax.retrieval.results import Moments

MAX_PREDICTIONS = 10
# Least intersection over union of a right moment: of the first one, and of those that are matched.
RECALL_THRESHOLDS = (0.5, 0.7)
THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
# Thresholds whose average precision is reported by itself.
REPORTED_THRESHOLDS = (0.5, 0.75)
# Lengths in seconds of the windows of which average precision is reported by itself: more than the
# first, and at most the second.
LENGTHS = {"short": (0, 10), "middle": (10, 30), "long": (30, 150)}
# A window in place of those of a query without predictions, which the evaluation cannot read.
_NO_PREDICTION = [0.0, 0.0, 0.0]


def metrics(
    moments: Moments, queries: Sequence[Query], seconds_per_feature: float
) -> dict[str, float]:
    """Returns recalls and mean average precisions over the queries that have windows.

    Args:
      moments: predictions for N queries in their own clips.
      queries: the N queries.
      seconds_per_feature: seconds between two frames.

    Returns:
      Fractions `mr_r@1_iouT`, `mr_map_iouT`, `mr_map`, the mean over `THRESHOLDS`, and `mr_map_L`,
      the same for each of `LENGTHS` over the queries with such windows, which are then the only
      ones that count; nothing without any query with windows.
    """
    predictions = _predictions(moments, seconds_per_feature)
    scored = [
        (np.array(predicted).reshape(-1, 3)[:, :2], np.asarray(query.moments))
        for predicted, query in zip(predictions, queries, strict=True)
        if query.clip_id and len(query.moments)
    ]
    if not scored:
        return {}
    best = np.array([_iou(predicted[:1], windows).max(initial=0) for predicted, windows in scored])
    recalls = {f"mr_r@1_iou{least}": float(np.mean(best >= least)) for least in RECALL_THRESHOLDS}
    precisions = _mean_precisions(scored)
    return {
        **recalls,
        **{f"mr_map_iou{threshold}": precisions[threshold] for threshold in REPORTED_THRESHOLDS},
        "mr_map": float(np.mean([*precisions.values()])),
        **{
            f"mr_map_{name}": float(np.mean([*_mean_precisions(of_length).values()]))
            for name, (above, most) in LENGTHS.items()
            if (of_length := _with_windows_of(scored, above, most))
        },
    }


def _mean_precisions(scored: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[float, float]:
    """Returns the mean average precision of predictions and windows, by threshold."""
    return {
        threshold: float(np.mean([average_precision(*one, threshold) for one in scored]))
        for threshold in THRESHOLDS
    }


def _with_windows_of(
    scored: Sequence[tuple[np.ndarray, np.ndarray]], above: float, most: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the queries that have windows of a length, with these windows alone."""
    kept = []
    for predicted, windows in scored:
        lengths = windows[:, 1] - windows[:, 0]
        of_length = windows[(above < lengths) & (lengths <= most)]
        if len(of_length):
            kept.append((predicted, of_length))
    return kept


def average_precision(predicted: np.ndarray, windows: np.ndarray, threshold: float) -> float:
    """Returns the interpolated average precision of a query's predictions.

    Args:
      predicted: `[P, 2]` start and end, best first.
      windows: `[M, 2]`, one or more.
      threshold: least intersection over union of a match.
    """
    overlaps = _iou(predicted, windows)
    right = np.zeros(len(predicted), bool)
    for place, overlap in enumerate(overlaps):
        # Of windows with the same overlap, the benchmark takes the last.
        window = len(windows) - 1 - overlap[::-1].argmax()
        if overlap[window] >= threshold:
            right[place] = True
            overlaps[:, window] = -1  # No other prediction has it.
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    # The best precision at this recall or a higher one.
    interpolated = np.maximum.accumulate(precision[::-1])[::-1]
    return float(interpolated[right].sum() / len(windows))


def _iou(predicted: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Returns the overlap of each prediction with each window, `[P, M]`."""
    return temporal_iou(predicted[:, None], windows)


def submission(moments: Moments, queries: Sequence[Query], seconds_per_feature: float) -> str:
    """Returns the predictions as JSON lines, in the form that the benchmark reads.

    A query without a prediction has a window without length, which counts as wrong. Queries whose
    video is not known are left out, because nothing is predicted for them.

    Args:
      moments, queries, seconds_per_feature: see `metrics`.
    """
    lines = [
        json.dumps(
            {
                "qid": int(query.query_id) if query.query_id.isdecimal() else query.query_id,
                "query": query.text,
                "vid": query.clip_id,
                "pred_relevant_windows": predicted or [_NO_PREDICTION],
            },
            allow_nan=False,
        )
        for query, predicted in zip(
            queries, _predictions(moments, seconds_per_feature), strict=True
        )
        if query.clip_id
    ]
    return "".join(f"{line}\n" for line in lines)


def _predictions(moments: Moments, seconds_per_feature: float) -> list[list[list[float]]]:
    """Returns start, end and score of the predictions that count, for each query, best first."""
    counts = np.minimum(moments.counts, MAX_PREDICTIONS)
    times = (np.asarray(moments.spans, np.float64) + np.array([0, 1])) * seconds_per_feature
    rows = np.concatenate([times, np.asarray(moments.scores, np.float64)[..., None]], axis=-1)
    return [row[:count].tolist() for row, count in zip(rows, counts, strict=True)]
