"""Video retrieval (MSR-VTT): which clip of a corpus a sentence tells of."""

import types

from hero_jax import retrieval, retrieval_metrics, searching
from hero_jax.matching import matching_losses, weigh_ranking
from hero_jax.task import Task


class VideoRetrieval(Task):
    """config: as `matching_losses` and `weigh_ranking` take it; `top_clips`, `temperature`."""

    layout = "retrieval"
    query_type = "query"
    passes = types.MappingProxyType({"corpus": "predict_clips", "texts": "predict_queries"})
    predict_clips = staticmethod(searching.predict_clips)
    predict_queries = staticmethod(searching.predict_queries)

    def loss(self, model, batch, context):
        losses, metrics = matching_losses(model, batch, context, self.config)
        return weigh_ranking(losses, metrics, self.config)

    def complete(self, model, predictions, split, mesh):
        del model, split
        queries, numbers, corpus, clips = searching.ordered(predictions, mesh)
        ranking = retrieval.rank_clips(
            queries,
            corpus,
            top_clips=self.config.top_clips,
            temperature=self.config.temperature,
        )
        return {"query_numbers": numbers, "clip_numbers": clips, "ranking": ranking}

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
        """TVR's form with `video2idx` and `VR` alone."""
        queries, clip_ids = searching.asked_and_searched(predictions, split)
        text = retrieval_metrics.submission(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
            suppressed=False,
        )
        return {"clips.json": text}
