"""Compares ranked moments with `moment_ranking.json` and `.npz` of golden/host; see `report.py`."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np

from data.schema import Query
from hero_jax.metrics import retrieval
from hero_jax.retrieval import moments
from hero_jax.retrieval.results import Moments, Ranking

SCORE_TOLERANCE = 1e-4
# Metrics are given to two decimals.
METRIC_TOLERANCE = 1e-9


def report_ranking(directory, report):
    """Reports rankings before and after suppression, their scores, and their rounded metrics."""
    expected = json.loads((directory / "moment_ranking.json").read_text())
    arrays = dict(np.load(directory / "moment_ranking.npz"))
    ranked = golden_ranking(expected["settings"], arrays)
    queries = [golden_query(entry) for entry in expected["ground_truth"]]
    clip_ids = list(expected["predictions"]["video2idx"])
    frame = {"seconds_per_feature": expected["settings"]["seconds_per_feature"]}
    for suffix in ("", "_nms"):
        theirs = expected[f"predictions{suffix}"]
        text = retrieval.submission(ranked, queries, clip_ids, suppressed=bool(suffix), **frame)
        ours = json.loads(text)
        for task in sorted(theirs.keys() - {"video2idx"}):
            name = f"moment_ranking{suffix} {task}"
            rows, scores = predicted(theirs[task])
            our_rows, our_scores = predicted(ours[task])
            report.add(f"{name} order", rows, our_rows, 0.0)
            ratio = our_scores / np.resize(scores, our_scores.shape)
            report.add(f"{name} scores", np.ones_like(scores), ratio, SCORE_TOLERANCE)
        filled = filled_up(ranked, ours, theirs, suffix, frame["seconds_per_feature"])
        values = retrieval.metrics(filled, queries, clip_ids, several_moments="annotators", **frame)
        for task, metrics in expected[f"metrics{suffix}"].items():
            for key in sorted(metrics.keys() - {"desc_type_ratio"}):
                value = values[metric_name(task.removesuffix("_by_type") + suffix, key)]
                name = f"moment_ranking{suffix} {task} {key}"
                report.add(name, metrics[key], round(100 * value, 2), METRIC_TOLERANCE)


def golden_ranking(settings, arrays):
    """Returns our ranking by the golden scores and span logits."""
    settings = moments.RankingSettings(
        top_clips=settings["top_clips"],
        temperature=settings["score_temperature"],
        min_span=settings["min_span_frames"],
        max_span=settings["max_span_frames"],
        max_predictions=settings["max_before_nms"],
        nms_candidates=settings["max_before_nms"],
        nms_iou=settings["nms_iou"],
        max_after_nms=settings["max_after_nms"],
    )
    start, end = arrays["start_logits"], arrays["end_logits"]
    lengths, truth = jnp.asarray(arrays["clip_lengths"]), arrays["ground_truth_clip"][:, None]
    scores, best = jax.lax.top_k(arrays["query_clip_scores"], settings.top_clips)

    @jax.jit
    def rank(scores, clips):
        def take(x):
            return jnp.take_along_axis(x, clips[..., None], axis=1)

        ranked = moments.rank_moments(
            scores, take(start), take(end), lengths[clips], settings, clips
        )
        return ranked, moments.suppress(ranked, settings)

    vcmr, vcmr_nms = jax.device_get(rank(scores, best))
    svmr, svmr_nms = jax.device_get(rank(jnp.zeros(truth.shape), truth))
    vr_scores = np.exp(settings.temperature * scores)
    return Ranking(np.asarray(best), vr_scores, vcmr, svmr, vcmr_nms, svmr_nms)


def golden_query(entry):
    return Query(
        query_id=str(entry["desc_id"]),
        clip_id=entry["vid_name"],
        text=entry["desc"],
        token_ids=np.zeros(0, np.int32),
        moments=np.reshape(entry["ts"], (-1, 2)),
        kind=entry["type"],
        answers=(),
        answer_token_ids=np.zeros(0, np.int32),
        answer_token_counts=np.zeros(0, np.int32),
        label=-1,
        group="",
    )


def predicted(entries):
    """Returns predictions (number of the query, clip, start, end) of all queries, and their scores.

    Predictions with score 0 are left out: the original completes a list that has too few allowed
    spans with others, in the order of an unstable sort, and we predict none of them.
    """
    rows = [
        (entry["desc_id"], *row) for entry in entries for row in entry["predictions"] if row[3] > 0
    ]
    return np.array(rows)[:, :4], np.array(rows)[:, 4]


def filled_up(ranked, ours, theirs, suffix, seconds_per_feature):
    """Appends the original's predictions of score 0, which metrics count, to our ranking."""
    changed = {}
    for task in ("VCMR", "SVMR"):
        lists = [
            our["predictions"] + [row for row in their["predictions"] if row[3] == 0]
            for our, their in zip(ours[task], theirs[task], strict=True)
        ]
        clips = np.full((len(lists), max(map(len, lists))), -1)
        spans = np.zeros((*clips.shape, 2))
        for n, rows in enumerate(lists):
            rows = np.array(rows)
            clips[n, : len(rows)] = rows[:, 0]
            spans[n, : len(rows)] = rows[:, 1:3] / seconds_per_feature - [0, 1]
        name = f"{task.lower()}{suffix}"
        changed[name] = Moments(clips, np.rint(spans).astype(int), clips >= 0)
    return ranked._replace(**changed)


def metric_name(task, key):
    """Returns our name of a golden metric: vcmr_r@10_iou0.5 for 0.5-r10 of VCMR."""
    kind, overlap, k = re.fullmatch(r"(?:([vt]+)-)?(?:([.0-9]+)-)?r(\d+)", key).groups()
    parts = [task.lower(), f"r@{k}", overlap and f"iou{overlap}", kind]
    return "_".join(part for part in parts if part)
