"""Compares VALUE's variants of HERO with their golden vectors; see `report.py`."""

import numpy as np

from hero_jax.models.batch import by_clip
from hero_jax.models.fusion import place_mask
from hero_jax.tasks import matching
from tests.golden import downstream, pretraining
from tests.golden.vectors import OUTPUT_TOLERANCE


def report_encode(golden):
    expected = golden.load("encode")
    if expected is None:
        return
    fused, temporal = golden.compute(fused_and_temporal, golden.batch)
    places = np.asarray(place_mask(golden.batch))[0]
    for i in range(golden.num_clips):
        name = f"clip{i}/temporal"
        frames = temporal[0, i, : len(expected[name])]
        golden.report.add(f"encode {name}", expected[name], frames, OUTPUT_TOLERANCE)
        name = f"clip{i}/fused"
        golden.report.add(
            f"encode {name}", expected[name], fused[0, i, places[i]], OUTPUT_TOLERANCE
        )


def fused_and_temporal(module, batch):
    fused = module.fuse(batch, module.encode_rows(batch))
    if "subtitle_slot" not in batch:
        fused = by_clip(fused, batch)
    return fused, module.encode_clips(batch)


def report_retrieval(golden):
    """Reports VCMR, and the video retrieval that is the same without spans."""
    expected = golden.load("vcmr")
    if expected is None:
        return
    queries = pretraining.queries_of_clips(golden, expected, [()] * golden.num_clips)
    batch = golden.pack(queries)
    vectors, loss = golden.compute(vectors_and_loss, batch, video_retrieval(golden))
    for name, value in (("query_vectors", vectors[0]), ("vr/weighted_loss", loss)):
        golden.report.add(f"vcmr {name}", expected[name], value, OUTPUT_TOLERANCE)
    pretraining.report_matching(golden, "vcmr", expected, batch)


def report_video_captioning(golden):
    downstream.report_captioning(golden, "video_captioning")


def video_retrieval(golden):
    settings = {
        "context_weight": golden.meta["vr_lw_neg_ctx"],
        "query_weight": golden.meta["vr_lw_neg_q"],
        "margin": golden.meta["margin"],
        "hard_negatives_from": -1,
    }
    return golden.task("video_retrieval", settings)


def vectors_and_loss(module, batch, task):
    loss, _ = task.loss(module, batch, pretraining.CONTEXT)
    return matching.encode_queries(module, batch, None), loss
