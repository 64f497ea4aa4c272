"""Video retrieval (MSR-VTT): which clip of a corpus a sentence tells of."""

from hero_jax import retrieval
from hero_jax.matching import matching_losses, weigh_ranking
from hero_jax.searching import Search


class VideoRetrieval(Search):
    """config: as `matching_losses` and `weigh_ranking` take it; `top_clips`, `temperature`."""

    file = "clips.json"

    def loss(self, model, batch, context):
        losses, metrics = matching_losses(model, batch, context, self.config)
        return weigh_ranking(losses, metrics, self.config)

    def rank(self, model, queries, corpus, own_clip):
        del model, own_clip
        config = self.config
        return retrieval.rank_clips(
            queries, corpus, top_clips=config.top_clips, temperature=config.temperature
        )
