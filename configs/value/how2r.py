"""How2R as in VALUE: find the moment that a sentence describes, in instructional videos.

    python main.py --config=configs/value/how2r.py --workdir=runs/how2r --config.init_from=hero.pt

The published runs never train with hard negatives, because the key of their step is misspelt, but
for the run that reads the video alone. The preset `hard_negatives` has them from the step that was
meant.
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "how2r", "hard_negatives")
    config = common.moments("how2r")
    steps = 6_000 if words.ft_only and words.channels != "subtitle" else 3_000
    has_hard_negatives = "hard_negatives" in words or words.channels == "video"
    finetune.recipe(config, batch=(8, 32, 2), learning_rate=1e-4, steps=steps, eval_every=200)
    config.moment_retrieval.update(
        span_drop_probability=0.9,
        hard_negatives_from=steps // 3 if has_hard_negatives else -1,
        min_span=3,
        max_span=20,
    )
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_moments(config)
    return config
