"""The settings that downstream configs share."""

import dataclasses

from configs import finetune
from hero_jax.retrieval.moments import RankingSettings


def test_moments_are_ranked_with_the_published_defaults():
    fields = [field.name for field in dataclasses.fields(RankingSettings)]
    assert {name: finetune.MOMENTS[name] for name in fields} == vars(RankingSettings())


def test_retrieval_settings_agree_with_the_published_defaults():
    defaults = vars(RankingSettings())
    shared = finetune.RETRIEVAL.keys() & defaults.keys()
    assert shared == {"top_clips", "temperature"}
    assert {name: finetune.RETRIEVAL[name] for name in shared} == {
        name: defaults[name] for name in shared
    }
