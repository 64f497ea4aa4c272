"""Metrics and submission files of rankings of clips and moments, on the host.

The metrics are those of TVR's evaluation: the fraction of queries with a correct prediction among
the first k. NumPy alone; `hero_jax.retrieval` makes the rankings.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data.errors import InputError
from data.schema import Query
from data.times import temporal_iou
from hero_jax.retrieval.results import Moments, Ranking

RECALLS = (1, 5, 10, 100)
AVERAGED = (1, 5, 10)  # see `averages`
# Later predictions are neither evaluated nor submitted.
MAX_PREDICTIONS = max(RECALLS)
# Least temporal intersection over union of a correct moment.
IOU_THRESHOLDS = (0.5, 0.7)
# Meanings of several moments of one query: one of each annotator, who do not agree, of which a
# prediction has to be like most (DiDeMo), or all that fit the query (QVHighlights).
SEVERAL_MOMENTS = ("annotators", "windows")
# A query with at least this many annotated moments (DiDeMo) ...
MANY_ANNOTATORS = 4
# ... needs a prediction that overlaps at least this many of them.
AGREEING_ANNOTATORS = 2


def ground_truth_clips(queries: Sequence[Query], clip_ids: Sequence[str]) -> np.ndarray:
    """Returns the position in the corpus of the clip that each query is about.

    Args:
      queries: N queries.
      clip_ids: ids of the clips of the corpus.

    Returns:
      `[N]` int32, -1 for a query whose clip is not known.

    Raises:
      InputError: a query is about a clip that the corpus lacks.
    """
    positions = {clip_id: number for number, clip_id in enumerate(clip_ids)}
    for query in queries:
        if query.clip_id and query.clip_id not in positions:
            raise InputError(
                f"query {query.query_id!r} is about clip {query.clip_id!r}, which is not among the "
                f"{len(clip_ids)} clips of the corpus: add the clip to the split or leave the "
                "query out"
            )
    return np.array([positions[q.clip_id] if q.clip_id else -1 for q in queries], np.int32)


def metrics(
    ranking: Ranking,
    queries: Sequence[Query],
    clip_ids: Sequence[str],
    *,
    seconds_per_feature: float,
    several_moments: str,
) -> dict[str, float | int]:
    """Returns the recalls of a ranking, as fractions, and the numbers of queries evaluated.

    Args:
      ranking: predictions for N queries.
      queries: the N queries.
      clip_ids: ids of the clips of the corpus.
      seconds_per_feature: distance of two frames.
      several_moments: one of SEVERAL_MOMENTS, the meaning of several moments of one query.

    Returns:
      `vr_r@K` over queries whose clip is known; `vcmr_r@K_iouT` and `svmr_r@K_iouT` over those
      whose moment is known too; `vcmr_nms_...` and `svmr_nms_...` after non-maximum suppression;
      `..._KIND` over the queries of one kind. `vr_queries` and `moment_queries` are the numbers of
      queries; if one is zero, its recalls are left out.

    Raises:
      InputError: a query is about a clip that the corpus lacks.
    """
    truth = ground_truth_clips(queries, clip_ids)
    annotated = _annotated_moments(queries, several_moments)
    clip_known = truth >= 0
    moment_known = clip_known & np.array([len(query.moments) > 0 for query in queries], bool)
    results: dict[str, float | int] = {"vr_queries": int(clip_known.sum())}
    correct = np.asarray(ranking.clips) == truth[:, None]
    results |= _recalls("vr_r@{}", correct, clip_known, queries)
    if ranking.vcmr is None:
        return results
    results["moment_queries"] = int(moment_known.sum())
    for name in ("vcmr", "svmr", "vcmr_nms", "svmr_nms"):
        moments = getattr(ranking, name)
        if moments is None:
            continue
        for threshold, correct in _correct_moments(moments, annotated, truth, seconds_per_feature):
            name_at_k = f"{name}_r@{{}}_iou{threshold}"
            results |= _recalls(name_at_k, correct, moment_known, queries)
    return results


def averages(results: Mapping[str, float]) -> dict[str, float]:
    """Returns the means of R@1, R@5 and R@10 that VALUE takes for the scores of its tasks.

    Args:
      results: see `metrics`.

    Returns:
      `vr_aver` and `vcmr_aver_iou0.7`, of those that `results` have the recalls of.
    """
    found = {}
    for name, form in {"vr_aver": "vr_r@{}", "vcmr_aver_iou0.7": "vcmr_r@{}_iou0.7"}.items():
        recalls = [form.format(k) for k in AVERAGED]
        if recalls[0] in results:
            found[name] = float(np.mean([results[recall] for recall in recalls]))
    return found


def _recalls(
    name: str, correct: np.ndarray, evaluated: np.ndarray, queries: Sequence[Query]
) -> dict[str, float]:
    """Returns recalls over the evaluated queries, and over those of each kind.

    Args:
      name: format string of a recall's name, with a place for k.
      correct: `[N, P]` bool, predictions that are correct.
      evaluated: `[N]` bool.
      queries: the N queries.
    """
    if not evaluated.any():
        return {}
    first_correct = np.where(correct.any(axis=1), correct.argmax(axis=1), MAX_PREDICTIONS)
    kinds = np.array([query.kind for query in queries])
    groups = {"": evaluated} | {
        f"_{kind}": evaluated & (kinds == kind) for kind in np.unique(kinds[evaluated]) if kind
    }
    return {
        name.format(k) + suffix: float(np.mean(first_correct[group] < k))
        for suffix, group in groups.items()
        for k in RECALLS
    }


def _correct_moments(
    moments: Moments,
    annotated: tuple[np.ndarray, np.ndarray],
    truth: np.ndarray,
    seconds_per_feature: float,
) -> Iterator[tuple[float, np.ndarray]]:
    """Yields each IoU threshold and the predictions that are correct, `[N, <= MAX_PREDICTIONS]`.

    Args:
      moments: predictions for N queries.
      annotated: from `_annotated_moments`.
      truth: `[N]`, from `ground_truth_clips`.
      seconds_per_feature: distance of two frames.
    """
    clips = moments.clips[:, :MAX_PREDICTIONS]
    times = seconds(np.asarray(moments.spans[:, :MAX_PREDICTIONS]), seconds_per_feature)
    known, required = annotated
    iou = temporal_iou(times[:, :, None], known[:, None])
    # Absent predictions are -1, so an unknown clip is -2.
    clip_correct = clips == np.where(truth >= 0, truth, -2)[:, None]
    for threshold in IOU_THRESHOLDS:
        overlapping = np.sum(iou >= np.float32(threshold), axis=-1)
        yield threshold, clip_correct & (overlapping >= required[:, None])


def _annotated_moments(
    queries: Sequence[Query], several_moments: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the moments to evaluate with, and how many of them a prediction must overlap.

    Returns:
      `[N, M, 2]` float32 in seconds, NaN beyond a query's moments, and `[N]` int.
    """
    are_windows = several_moments == "windows"
    has_many = [not are_windows and len(query.moments) >= MANY_ANNOTATORS for query in queries]
    chosen = [
        query.moments if many or are_windows else np.reshape(query.moment or (), (-1, 2))
        for query, many in zip(queries, has_many, strict=True)
    ]
    shape = (len(queries), max(map(len, chosen), default=0), 2)
    annotated = np.full(shape, np.nan, np.float32)
    for row, moments in zip(annotated, chosen, strict=True):
        row[: len(moments)] = moments
    return annotated, np.where(has_many, AGREEING_ANNOTATORS, 1)


def seconds(spans: np.ndarray, seconds_per_feature: float) -> np.ndarray:
    """Returns start and end in seconds of spans of frames: `[..., 2]` -> `[..., 2]` float32."""
    return ((spans + np.array([0, 1])) * seconds_per_feature).astype(np.float32)


def submission(
    ranking: Ranking,
    queries: Sequence[Query],
    clip_ids: Sequence[str],
    *,
    seconds_per_feature: float,
    suppressed: bool,
) -> str:
    """Returns a ranking in the format of TVR's evaluation.

    Args:
      ranking: predictions for N queries.
      queries: the N queries.
      clip_ids: ids of the clips of the corpus.
      seconds_per_feature: distance of two frames.
      suppressed: writes moments after non-maximum suppression.

    Returns:
      JSON of `video2idx`, `VCMR`, `SVMR` and `VR`. A prediction is (number of the clip, start, end,
      score), in seconds. SVMR has the queries whose clip is known; if only clips were ranked, VR
      is the only list.
    """
    vcmr = ranking.vcmr_nms if suppressed else ranking.vcmr
    svmr = ranking.svmr_nms if suppressed else ranking.svmr
    content: dict = {"video2idx": {clip_id: number for number, clip_id in enumerate(clip_ids)}}
    all_queries = np.ones(len(queries), bool)
    if vcmr is not None and svmr is not None:
        clip_known = ground_truth_clips(queries, clip_ids) >= 0
        content["VCMR"] = _entries(vcmr, queries, all_queries, seconds_per_feature)
        content["SVMR"] = _entries(svmr, queries, clip_known, seconds_per_feature)
    # Ranked clips have no moment, which the format writes as 0 to 0 seconds.
    no_spans = np.broadcast_to(np.array([0, -1]), (*ranking.clips.shape, 2))
    clips = Moments(ranking.clips, no_spans, ranking.clip_scores)
    content["VR"] = _entries(clips, queries, all_queries, 0)
    return json.dumps(content, allow_nan=False)


def _entries(
    moments: Moments, queries: Sequence[Query], chosen: np.ndarray, seconds_per_feature: float
) -> list[dict]:
    """Returns the JSON entries of the chosen queries, `[N]` bool."""
    counts = np.minimum(moments.counts, MAX_PREDICTIONS)
    times = seconds(np.asarray(moments.spans), seconds_per_feature)
    return [
        {
            "desc_id": int(query.query_id) if query.query_id.isdecimal() else query.query_id,
            "desc": query.text,
            "predictions": [
                [clip, *time, score]
                for clip, time, score in zip(
                    moments.clips[n, :count].tolist(),
                    times[n, :count].tolist(),
                    moments.scores[n, :count].tolist(),
                    strict=True,
                )
            ],
        }
        for n, (query, count) in enumerate(zip(queries, counts, strict=True))
        if chosen[n]
    ]
