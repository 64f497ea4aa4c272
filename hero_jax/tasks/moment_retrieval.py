"""Moment retrieval in a corpus (TVR, How2R, DiDeMo): which clip, and which moment of it.

One ranking answers three questions: the moment in the corpus (VCMR), the moment in a known clip
(SVMR), the clip (VR).
"""

import types

from hero_jax import retrieval, retrieval_metrics, searching
from hero_jax.matching import matching_losses, weigh
from hero_jax.moments import RankingSettings
from hero_jax.task import Task


class MomentRetrieval(Task):
    """config: as `matching_losses` and `weigh` take it, and the fields of `RankingSettings`."""

    layout = "retrieval"
    query_type = "query"
    passes = types.MappingProxyType({"corpus": "predict_clips", "texts": "predict_queries"})
    predict_clips = staticmethod(searching.predict_clips)
    predict_queries = staticmethod(searching.predict_queries)

    def __init__(self, config, *rest):
        super().__init__(config, *rest)
        fields = RankingSettings.__dataclass_fields__
        self.settings = RankingSettings(**{name: config[name] for name in fields})

    def loss(self, model, batch, context):
        losses, metrics = matching_losses(model, batch, context, self.config)
        return weigh(losses, metrics, context, self.config)

    def complete(self, model, predictions, split, mesh):
        queries, numbers, corpus, clips = searching.ordered(predictions, mesh)
        found = {"query_numbers": numbers, "clip_numbers": clips}
        asked, clip_ids = searching.asked_and_searched(found, split)
        own = retrieval_metrics.own_clips(asked, clip_ids)
        ranking = retrieval.rank(model.span_head, queries, corpus, self.settings, own)
        return {**found, "ranking": ranking}

    def summarize(self, predictions, split):
        queries, clip_ids = searching.asked_and_searched(predictions, split)
        found = retrieval_metrics.metrics(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
        )
        return {**found, "clips": float(len(clip_ids))}

    def submission(self, predictions, split):
        """TVR's: `video2idx`, `VCMR`, `SVMR` and `VR`."""
        queries, clip_ids = searching.asked_and_searched(predictions, split)
        text = retrieval_metrics.submission(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
            suppressed=self.settings.nms_iou > 0,
        )
        return {"moments.json": text}
