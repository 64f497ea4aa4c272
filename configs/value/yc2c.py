"""YC2C of VALUE: describe a step of a recipe in YouCook2 in a sentence.

python main.py --config=configs/value/yc2c.py --workdir=runs/yc2c --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune
from configs.value import common


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, changed by the words of `configs.value.common`."""
    words = common.Preset(preset, "yc2c")
    config = common.captions("yc2c", clips_per_group=16)
    words.apply(config)
    if "shapes" in words:
        finetune.shapes_captions(config, "film", captions_per_clip=1)
    return config
