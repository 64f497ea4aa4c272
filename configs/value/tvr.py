"""TVR as in VALUE: find the moment that a sentence describes, in a corpus of television clips.

python main.py --config=configs/value/tvr.py --workdir=runs/tvr --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "tvr")
    config = common.moments("tvr")
    steps, eval_every, hard_from = (10_000, 400, 4_000) if words.ft_only else (5_000, 200, 2_000)
    finetune.recipe(
        config, batch=(8, 32, 2), learning_rate=1e-4, steps=steps, eval_every=eval_every
    )
    config.moment_retrieval.hard_negatives_from = hard_from
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_moments(config)
    return config
