"""VLEP of VALUE: which of two events comes after a clip.

python main.py --config=configs/value/vlep.py --workdir=runs/vlep --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "vlep")
    steps = 2_000 if words.ft_only else 1_000
    config = common.questions("vlep", choices=2, steps=steps, eval_every=100)
    config.save_every = 200
    words.apply(config)
    if "shapes" in words:
        finetune.shapes(config, "event", clips=16, steps=1_500, learning_rate=5e-4)
        config.batch.row_length = 64
    return config
