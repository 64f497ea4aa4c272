"""The part of the report about ranked moments: `moment_ranking.json` and `.npz` of golden/host."""

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
    """Rankings and scores before and after suppression, and their metrics to two decimals."""
    expected = json.loads((directory / "moment_ranking.json").read_text())
    arrays = dict(np.load(directory / "moment_ranking.npz"))
    found = golden_ranking(expected["settings"], arrays)
    queries = [golden_query(entry) for entry in expected["ground_truth"]]
    clip_ids = list(expected["predictions"]["video2idx"])
    frame = {"seconds_per_feature": expected["settings"]["seconds_per_feature"]}
    for suffix in ("", "_nms"):
        wanted = expected[f"predictions{suffix}"]
        text = retrieval.submission(found, queries, clip_ids, suppressed=bool(suffix), **frame)
        mine = json.loads(text)
        for task in sorted(wanted.keys() - {"video2idx"}):
            name = f"moment_ranking{suffix} {task}"
            rows, scores = predicted(wanted[task])
            my_rows, my_scores = predicted(mine[task])
            report.add(f"{name} order", rows, my_rows, 0.0)
            ratio = my_scores / np.resize(scores, my_scores.shape)
            report.add(f"{name} scores", np.ones_like(scores), ratio, SCORE_TOLERANCE)
        filled = filled_up(found, mine, wanted, suffix, frame["seconds_per_feature"])
        values = retrieval.metrics(filled, queries, clip_ids, **frame)
        for task, metrics in expected[f"metrics{suffix}"].items():
            for key in sorted(metrics.keys() - {"desc_type_ratio"}):
                mine = values[metric_name(task.removesuffix("_by_type") + suffix, key)]
                name = f"moment_ranking{suffix} {task} {key}"
                report.add(name, metrics[key], round(100 * mine, 2), METRIC_TOLERANCE)


def golden_ranking(settings, arrays):
    """Our ranking of the golden scores and span logits."""
    settings = moments.RankingSettings(
        top_clips=settings["top_clips"],
        temperature=settings["score_temperature"],
        min_span=settings["min_span_frames"],
        max_span=settings["max_span_frames"],
        max_predictions=settings["max_before_nms"],
        nms_iou=settings["nms_iou"],
        max_after_nms=settings["max_after_nms"],
    )
    start, end = arrays["start_logits"], arrays["end_logits"]
    lengths, own = jnp.asarray(arrays["clip_lengths"]), arrays["ground_truth_clip"][:, None]
    scores, best = jax.lax.top_k(arrays["query_clip_scores"], settings.top_clips)

    @jax.jit
    def find(scores, clips):
        def of(x):
            return jnp.take_along_axis(x, clips[..., None], axis=1)

        found = moments.rank_moments(scores, of(start), of(end), lengths[clips], settings, clips)
        return found, moments.suppress(found, settings)

    vcmr, vcmr_nms = jax.device_get(find(scores, best))
    svmr, svmr_nms = jax.device_get(find(jnp.zeros(own.shape), own))
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
    """Predictions of all queries, (number of the query, clip, start, end) and their scores.

    Without those of score 0: the original fills up a list that has too few allowed spans with
    others, in the order in which an unstable sort left them. We predict none of them.
    """
    rows = [
        (entry["desc_id"], *row) for entry in entries for row in entry["predictions"] if row[3] > 0
    ]
    return np.array(rows)[:, :4], np.array(rows)[:, 4]


def filled_up(found, mine, wanted, suffix, seconds_per_feature):
    """Our ranking with the original's predictions of score 0 after it: metrics count them."""
    changed = {}
    for task in ("VCMR", "SVMR"):
        lists = [
            ours["predictions"] + [row for row in theirs["predictions"] if row[3] == 0]
            for ours, theirs in zip(mine[task], wanted[task], strict=True)
        ]
        clips = np.full((len(lists), max(map(len, lists))), -1)
        spans = np.zeros((*clips.shape, 2))
        for n, rows in enumerate(lists):
            rows = np.array(rows)
            clips[n, : len(rows)] = rows[:, 0]
            spans[n, : len(rows)] = rows[:, 1:3] / seconds_per_feature - [0, 1]
        name = f"{task.lower()}{suffix}"
        changed[name] = Moments(clips, np.rint(spans).astype(int), clips >= 0)
    return found._replace(**changed)


def metric_name(task, key):
    """Our name of a golden metric: 0.5-r10 of VCMR is vcmr_r@10_iou0.5, v-r1 of VR vr_r@1_v."""
    kind, overlap, k = re.fullmatch(r"(?:([vt]+)-)?(?:([.0-9]+)-)?r(\d+)", key).groups()
    parts = [task.lower(), f"r@{k}", overlap and f"iou{overlap}", kind]
    return "_".join(part for part in parts if part)
