"""VIOLIN as in VALUE: judge whether a statement about a clip is true.

    python main.py --config=configs/value/violin.py --workdir=runs/violin --config.init_from=hero.pt

A batch has single statements. VALUE's validation score is that of the split `test`.
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "violin")
    config = finetune.base("violin", "inference", {"head": common.QA_HEAD}, "accuracy")
    finetune.recipe(
        config,
        batch=(8, 4, 2),
        learning_rate=3e-5,
        steps=6_000,
        eval_every=200,
        head_rate_multiplier=8.0,
    )
    config.batch.update(choices=1, max_query_tokens=120, context_subtitles=2)
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_statements(config)
    return config
