"""Rankings of clips and moments on the host: their metrics, and the form they are handed in.

Metrics are those of TVR's evaluation: the share of queries that have a right prediction among the
first k. NumPy alone; `hero_jax.retrieval` makes the rankings.
"""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from data.errors import InputError
from data.schema import Query
from data.times import temporal_iou
from hero_jax.retrieval.results import Moments, Ranking

RECALLS = (1, 5, 10, 100)
# Later predictions are neither counted nor handed in.
MOST_PREDICTIONS = max(RECALLS)
OVERLAPS = (0.5, 0.7)
# From so many annotators on (DiDeMo), a moment has to overlap those of so many.
MANY_ANNOTATORS = 4
ANNOTATORS_TO_AGREE = 2


def own_clips(queries: Sequence[Query], clip_ids: Sequence[str]) -> np.ndarray:
    """The clip that each query is about, by its place in the corpus: `[N]` int32, -1 if not known.

    Raises:
      InputError: a query is about a clip that the corpus lacks.
    """
    places = {clip_id: number for number, clip_id in enumerate(clip_ids)}
    for query in queries:
        if query.clip_id and query.clip_id not in places:
            raise InputError(
                f"Query {query.query_id!r} is about clip {query.clip_id!r}, which is not among the "
                f"{len(clip_ids)} clips to be searched; add the clip to the split or leave the "
                "query out."
            )
    return np.array([places[q.clip_id] if q.clip_id else -1 for q in queries], np.int32)


def metrics(
    ranking: Ranking,
    queries: Sequence[Query],
    clip_ids: Sequence[str],
    *,
    seconds_per_feature: float,
) -> dict[str, float]:
    """Recalls of a ranking, as fractions.

    `vr_r@K` of queries whose clip is known, `vcmr_r@K_iouT` and `svmr_r@K_iouT` of those whose
    moment is known as well, `vcmr_nms_...` and `svmr_nms_...` after suppression; `..._KIND` of the
    queries of one kind. `vr_queries` and `moment_queries` are how many were counted; where none
    were, there are no recalls.

    Args:
      queries: the ranking's N queries.
      clip_ids: of the corpus.
    """
    own = own_clips(queries, clip_ids)
    known = own >= 0
    timed = known & np.array([len(query.moments) > 0 for query in queries], bool)
    results = {"vr_queries": float(known.sum())}
    right = ranking.clips == own[:, None]
    results |= _recalls("vr_r@{}", right, known, queries)
    if ranking.vcmr is None:
        return results
    results["moment_queries"] = float(timed.sum())
    for name in ("vcmr", "svmr", "vcmr_nms", "svmr_nms"):
        moments = getattr(ranking, name)
        if moments is not None:
            for overlap, right in _right(moments, queries, own, seconds_per_feature):
                results |= _recalls(f"{name}_r@{{}}_iou{overlap}", right, timed, queries)
    return results


def _recalls(name, right, counted, queries):
    """Recalls by name of k, over the queries that count, and over those of each kind."""
    if not counted.any():
        return {}
    first = np.where(right.any(axis=1), right.argmax(axis=1), MOST_PREDICTIONS)
    kinds = np.array([query.kind for query in queries])
    groups = {"": counted} | {
        f"_{kind}": counted & (kinds == kind) for kind in np.unique(kinds[counted]) if kind
    }
    return {
        name.format(k) + suffix: float(np.mean(first[group] < k))
        for suffix, group in groups.items()
        for k in RECALLS
    }


def _right(moments, queries, own, seconds_per_feature) -> Iterator[tuple[float, np.ndarray]]:
    """(least overlap, which predictions are right `[N, <= MOST_PREDICTIONS]`)."""
    clips = moments.clips[:, :MOST_PREDICTIONS]
    times = seconds(moments.spans[:, :MOST_PREDICTIONS], seconds_per_feature)
    truth, needed = _annotated(queries)
    overlaps = temporal_iou(times[:, :, None], truth[:, None])
    here = clips == np.where(own >= 0, own, -2)[:, None]
    for least in OVERLAPS:
        enough = np.sum(overlaps >= np.float32(least), axis=-1) >= needed[:, None]
        yield least, here & enough


def _annotated(queries):
    """Moments to overlap `[N, M, 2]` in seconds, NaN beyond a query's, and how many `[N]`."""
    many = [len(query.moments) >= MANY_ANNOTATORS for query in queries]
    chosen = [
        query.moments if all_of_them else np.reshape(query.moment or (), (-1, 2))
        for query, all_of_them in zip(queries, many, strict=True)
    ]
    truth = np.full((len(queries), max(map(len, chosen), default=0), 2), np.nan, np.float32)
    for row, moments in zip(truth, chosen, strict=True):
        row[: len(moments)] = moments
    return truth, np.where(many, ANNOTATORS_TO_AGREE, 1)


def seconds(spans, seconds_per_feature) -> np.ndarray:
    """First and last second of spans of frames, `[..., 2]` float32."""
    return ((spans + np.array([0, 1])) * seconds_per_feature).astype(np.float32)


def submission(
    ranking: Ranking,
    queries: Sequence[Query],
    clip_ids: Sequence[str],
    *,
    seconds_per_feature: float,
    suppressed: bool,
) -> str:
    """A ranking as TVR's evaluation reads it: JSON of `video2idx`, `VCMR`, `SVMR` and `VR`.

    A prediction is (number of the clip, first second, last second, score). SVMR has the queries
    whose clip is known; VR alone is there where only clips were ranked.

    Args:
      suppressed: moments after non-maximum suppression.
    """
    vcmr = ranking.vcmr_nms if suppressed else ranking.vcmr
    svmr = ranking.svmr_nms if suppressed else ranking.svmr
    content: dict = {"video2idx": {clip_id: number for number, clip_id in enumerate(clip_ids)}}
    everyone = np.ones(len(queries), bool)
    if vcmr is not None:
        known = own_clips(queries, clip_ids) >= 0
        content["VCMR"] = _handed_in(vcmr, queries, everyone, seconds_per_feature)
        content["SVMR"] = _handed_in(svmr, queries, known, seconds_per_feature)
    whole = np.broadcast_to(np.array([0, -1]), (*ranking.clips.shape, 2))
    clips = Moments(ranking.clips, whole, ranking.clip_scores)
    content["VR"] = _handed_in(clips, queries, everyone, 0)
    return json.dumps(content, allow_nan=False)


def _handed_in(moments, queries, chosen, seconds_per_feature):
    counts = np.minimum(moments.counts, MOST_PREDICTIONS)
    times = seconds(moments.spans, seconds_per_feature)
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
