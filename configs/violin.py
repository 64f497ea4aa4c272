"""VIOLIN: judge whether a statement about a clip is true.

python main.py --config=configs/violin.py --workdir=runs/violin --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("violin", "inference", {"head": ""}, "accuracy")
    finetune.recipe(
        config,
        batch=(8, 8, 1),
        learning_rate=3e-5,
        steps=6_000,
        eval_every=200,
        head_rate_multiplier=8.0,
    )
    config.batch.update(choices=2, max_query_tokens=120, context_subtitles=2)
    if preset == "shapes":
        finetune.shapes_statements(config)
    elif preset:
        finetune.unknown(preset, "violin")
    return config
