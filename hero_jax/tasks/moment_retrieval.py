"""Moment retrieval in a corpus (TVR, How2R, DiDeMo): which clip, and which moment of it.

One ranking answers three questions: the moment in the corpus (VCMR), the moment in a known clip
(SVMR), the clip (VR).
"""

import dataclasses

from hero_jax import retrieval
from hero_jax.matching import matching_losses, weigh
from hero_jax.moments import RankingSettings
from hero_jax.searching import Search


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
        return retrieval.rank(model.span_head, queries, corpus, self.settings, own_clip)
