"""Tasks that search a corpus: a split's clips and queries are encoded, then ranked.

Moment retrieval (TVR, How2R, DiDeMo) answers three questions with one ranking: the moment in the
corpus (VCMR), the moment in a known clip (SVMR), the clip (VR). Video retrieval (MSR-VTT) answers
the last.
"""

import dataclasses
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np

from data.report import Report
from hero_jax.metrics import retrieval
from hero_jax.retrieval import ranking
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.ranking import Corpus
from hero_jax.tasks.base import Task
from hero_jax.tasks.matching import encode_queries, matching_losses, weigh, weigh_ranking


class Search(Task):
    """What tasks of retrieval have in common: all but the loss and the ranking.

    Attributes:
      file: name of the file of predictions.
      suppressed: whether that file has moments after non-maximum suppression.
    """

    layout = "retrieval"
    query_type = "query"
    passes = types.MappingProxyType({"corpus": "predict_clips", "texts": "predict_queries"})
    file = ""
    suppressed = False

    def predict_clips(self, model, batch):
        """Encoded clips of a batch, in the model's own precision."""
        frames = model.encode_clips(batch)
        return {
            "frames": frames.astype(model.temporal.dtype),
            "num_frames": batch["num_frames"],
            "clip_numbers": batch["clip_numbers"],
        }

    def predict_queries(self, model, batch):
        """Query vectors of a batch."""
        return {
            "queries": encode_queries(model, batch, None).astype(jnp.float32),
            "query_numbers": batch["query_numbers"],
            "query_mask": batch["query_mask"],
        }

    def complete(self, model, predictions, split, mesh):
        """The ranking, and the numbers of the records it is about.

        Where damaged clips are skipped, queries about them are left out, and counted.
        """
        queries, numbers, corpus, clips = ordered(predictions, mesh)
        if len(clips) < len(split.clip_ids):
            there = _whose_clip_is_there(numbers, clips, split)
            queries, numbers = queries[there], numbers[there]
        found = {"query_numbers": numbers, "clip_numbers": clips}
        asked, clip_ids = asked_and_searched(found, split)
        own = retrieval.ground_truth_clips(asked, clip_ids)
        return {**found, "ranking": self.rank(model, queries, corpus, own)}

    def rank(self, model, queries, corpus, own_clip):
        """`hero_jax.retrieval.results.Ranking` of queries; see `hero_jax.retrieval`."""
        raise NotImplementedError

    def summarize(self, predictions, split):
        queries, clip_ids = asked_and_searched(predictions, split)
        found = retrieval.metrics(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
        )
        return {**found, "clips": float(len(clip_ids))}

    def submission(self, predictions, split):
        """TVR's form: `video2idx`, `VR`, and where moments were ranked `VCMR` and `SVMR`."""
        queries, clip_ids = asked_and_searched(predictions, split)
        text = retrieval.submission(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
            suppressed=self.suppressed,
        )
        return {self.file: text}


def ordered(predictions, mesh):
    """Queries and clips of a whole split in the order of their records.

    Returns:
      query vectors `[N, H]`, numbers of the queries `[N]`, `Corpus` of C clips, numbers of the
      clips `[C]`.
    """
    asked, there = predictions["query_mask"], predictions["num_frames"] > 0
    query_numbers = predictions["query_numbers"][asked]
    clip_numbers = predictions["clip_numbers"][there]
    by_query, by_clip = np.argsort(query_numbers), np.argsort(clip_numbers)
    corpus = Corpus(
        predictions["frames"][there][by_clip], predictions["num_frames"][there][by_clip], mesh
    )
    queries = predictions["queries"][asked][by_query]
    return queries, query_numbers[by_query], corpus, clip_numbers[by_clip]


def _whose_clip_is_there(query_numbers, clip_numbers, split):
    """`[N]` bool, False for queries about a clip that could not be read; tells of them."""
    ids, lost = {split.clip_ids[number] for number in clip_numbers.tolist()}, Report()
    queries = [split.queries[number] for number in query_numbers.tolist()]
    there = np.array([not query.clip_id or query.clip_id in ids for query in queries])
    for query in itertools.compress(queries, ~there):
        lost.add("queries about damaged clips", query.query_id)
    if jax.process_index() == 0:
        lost.tell("not predicted")
    return there


def asked_and_searched(found, split):
    """The queries that were asked, and the ids of the clips that were searched, in order."""
    queries = [split.queries[number] for number in found["query_numbers"].tolist()]
    return queries, [split.clip_ids[number] for number in found["clip_numbers"].tolist()]


class MomentRetrieval(Search):
    """config: as `matching_losses` and `weigh` take it, and the fields of `RankingSettings`."""

    file = "moments.json"

    def __init__(self, config, *rest):
        super().__init__(config, *rest)
        names = [field.name for field in dataclasses.fields(RankingSettings)]
        self.settings = RankingSettings(**{name: config[name] for name in names})
        self.suppressed = self.settings.nms_iou > 0

    def loss(self, model, batch, context):
        losses, metrics = matching_losses(model, batch, context, self.config)
        return weigh(losses, metrics, context, self.config)

    def rank(self, model, queries, corpus, own_clip):
        return ranking.rank(model.span_head, queries, corpus, self.settings, own_clip)


class VideoRetrieval(Search):
    """config: as `matching_losses` and `weigh_ranking` take it; `top_clips`, `temperature`."""

    file = "clips.json"

    def loss(self, model, batch, context):
        losses, metrics = matching_losses(model, batch, context, self.config)
        return weigh_ranking(losses, metrics, self.config)

    def rank(self, model, queries, corpus, own_clip):
        del model, own_clip
        config = self.config
        return ranking.rank_clips(
            queries, corpus, top_clips=config.top_clips, temperature=config.temperature
        )
